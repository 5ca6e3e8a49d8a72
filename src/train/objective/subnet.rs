//! A subnet of a coupling, forward and back. See [`crate::model::flow::cross_scale`], whose names these are.

use std::collections::BTreeMap;

use tch::{Kind, TchError, Tensor};

use crate::cpu::training::{Convolution, Weights};
use crate::cpu::{Activation, Shape, map};
use crate::model::Scales;
use crate::model::flow::cross_scale::{SLOPE, Size};
use crate::train::objective::Learned;

#[derive(Debug)]
pub(super) struct Subnet {
    scales: Vec<Scale>,
}

#[derive(Debug)]
struct Scale {
    hidden: Layer,
    same: Layer,
    /// From the next coarser scale to this one.
    up: Option<Layer>,
    /// From the next finer scale to this one.
    down: Option<Layer>,
    /// Its place among the parameters.
    gamma: usize,
}

/// What a convolution does. Into an output the one from the same scale writes, and its neighbours add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Hidden,
    Same,
    /// From the next coarser scale.
    Up,
    /// From the next finer scale.
    Down,
}

/// A convolution, and where its weights are among the parameters.
#[derive(Debug)]
struct Layer {
    made: Convolution,
    shape: Shape,
    weight: usize,
    bias: usize,
}

/// What the way back needs of the way there, at one scale.
#[derive(Debug)]
struct Passed {
    x: Tensor,
    hidden: Tensor,
    /// The next coarser scale's hidden layer, twice as large.
    coarser: Option<Tensor>,
    /// Before gamma.
    output: Tensor,
}

#[derive(Debug)]
pub(super) struct Trace(Vec<Passed>);

/// Parameters by name.
pub(super) type Places = BTreeMap<String, usize>;

impl Subnet {
    /// For batches of `batch` maps that are `sides` high and wide at each scale. `path` is where its parameters are.
    pub(super) fn new(
        size: &Size,
        (batch, sides): (i64, &[[i64; 2]]),
        path: &str,
        places: &Places,
    ) -> Result<Self, TchError> {
        let (hidden, output) = (size.hidden, &size.output);
        let layer = |role: Role, scale: usize, from: usize| {
            let (name, input, output) = match role {
                Role::Hidden => (format!("conv_scale{scale}_0"), size.input[scale], hidden),
                Role::Same => (format!("conv_scale{scale}_1"), hidden, output[scale]),
                Role::Up => (format!("up_conv{from}{scale}"), hidden, output[scale]),
                Role::Down => (format!("down_conv{from}{scale}"), hidden, output[scale]),
            };
            // What comes from a coarser scale is enlarged before.
            let [height, width] = if role == Role::Down { sides[from] } else { sides[scale] };
            let shape = Shape {
                batch,
                input,
                height,
                width,
                output,
                kernel: size.kernel,
                stride: if role == Role::Down { 2 } else { 1 },
                groups: 1,
                pad_before: size.kernel / 2,
                pad_after: size.kernel / 2,
                bf16_in: false,
                bf16_out: false,
                adds: matches!(role, Role::Up | Role::Down),
            };
            let activation =
                if role == Role::Hidden { Activation::LeakyRelu(SLOPE) } else { Activation::None };
            let place = |kind: &str| places[&format!("{path}.{name}.{kind}")];
            let (weight, bias) = (place("weight"), place("bias"));
            Ok::<Layer, TchError>(Layer { made: Convolution::new(shape, activation)?, shape, weight, bias })
        };
        let scale = |s: usize| {
            let coarser = Some(s + 1).filter(|&coarser| size.cross_scale && coarser < size.input.len());
            let finer = s.checked_sub(1).filter(|_| size.cross_scale);
            Ok(Scale {
                hidden: layer(Role::Hidden, s, s)?,
                same: layer(Role::Same, s, s)?,
                up: coarser.map(|coarser| layer(Role::Up, s, coarser)).transpose()?,
                down: finer.map(|finer| layer(Role::Down, s, finer)).transpose()?,
                gamma: places[&format!("{path}.gamma{s}")],
            })
        };
        Ok(Self { scales: (0..size.input.len()).map(scale).collect::<Result<_, TchError>>()? })
    }

    /// # Shapes
    /// `[B, input_s, H_s, W_s]` to `[B, output_s, H_s, W_s]`, channels last.
    pub(super) fn forward(&self, values: &[Tensor], x: Scales) -> Result<(Scales, Trace), TchError> {
        let hidden = self.scales.iter().zip(&x).map(|(scale, x)| scale.hidden.forward(values, x));
        let hidden: Scales = hidden.collect::<Result<_, _>>()?;
        let (mut said, mut passed) = (Vec::new(), Vec::new());
        for (s, (scale, x)) in self.scales.iter().zip(x).enumerate() {
            let output = scale.same.forward(values, &hidden[s])?;
            let mut coarser = None;
            if let Some(up) = &scale.up {
                let [_, _, height, width] = up.shape.of_input();
                let large = hidden[s + 1].f_upsample_bilinear2d([height, width], false, None, None)?;
                up.add(values, &large, &output)?;
                coarser = Some(large);
            }
            if let Some(down) = &scale.down {
                down.add(values, &hidden[s - 1], &output)?;
            }
            said.push(output.f_mul(&values[scale.gamma])?);
            passed.push(Passed { x, hidden: hidden[s].shallow_clone(), coarser, output });
        }
        Ok((said, Trace(passed)))
    }

    /// Writes the gradients of the parameters, and gives that of the input if `is_asked`.
    pub(super) fn backward(
        &self,
        learned: Learned<'_>,
        Trace(passed): &Trace,
        said: &[Tensor],
        is_asked: bool,
    ) -> Result<Option<Scales>, TchError> {
        let mut outputs: Scales = Vec::with_capacity(said.len());
        for ((scale, passed), said) in self.scales.iter().zip(passed).zip(said) {
            let mut gamma = learned.gradient[scale.gamma].shallow_clone();
            gamma.f_copy_(&said.f_mul(&passed.output)?.f_sum(Kind::Float)?.f_view([1])?)?;
            outputs.push(said.f_mul(&learned.values[scale.gamma])?);
        }
        let mut inputs = Vec::with_capacity(said.len());
        for (s, scale) in self.scales.iter().enumerate() {
            let (output, hidden) = (&outputs[s], &passed[s].hidden);
            scale.same.backward_weights(learned, hidden, output)?;
            let mut into_hidden = scale.same.backward_data(learned, output)?;
            if let Some((up, coarser)) = scale.up.as_ref().zip(passed[s].coarser.as_ref()) {
                up.backward_weights(learned, coarser, output)?;
            }
            if let Some(down) = &scale.down {
                let finer = s - 1;
                down.backward_weights(learned, &passed[finer].hidden, output)?;
                if let Some(up) = &self.scales[finer].up {
                    let large = up.backward_data(learned, &outputs[finer])?;
                    let (large_size, size) = (up.shape.of_input(), scale.same.shape.of_input());
                    into_hidden = into_hidden.f_add_(&Tensor::f_upsample_bilinear2d_backward(
                        &large,
                        [large_size[2], large_size[3]],
                        size,
                        false,
                        None,
                        None,
                    )?)?;
                }
            }
            if let Some(down) = self.scales.get(s + 1).and_then(|coarser| coarser.down.as_ref()) {
                into_hidden = into_hidden.f_add_(&down.backward_data(learned, &outputs[s + 1])?)?;
            }
            let before = hidden.f_leaky_relu_backward(&into_hidden, SLOPE, true)?;
            scale.hidden.backward_weights(learned, &passed[s].x, &before)?;
            if is_asked {
                inputs.push(scale.hidden.backward_data(learned, &before)?);
            }
        }
        Ok(is_asked.then_some(inputs))
    }
}

impl Layer {
    fn forward(&self, values: &[Tensor], x: &Tensor) -> Result<Tensor, TchError> {
        let y = map::empty(self.shape.of_output(), Kind::Float)?;
        self.add(values, x, &y)?;
        Ok(y)
    }

    /// Writes to `y` or adds to it, as it was made.
    fn add(&self, values: &[Tensor], x: &Tensor, y: &Tensor) -> Result<(), TchError> {
        self.made.forward(self.weights(values), x, y)
    }

    fn backward_data(&self, learned: Learned<'_>, dy: &Tensor) -> Result<Tensor, TchError> {
        let dx = map::empty(self.shape.of_input(), Kind::Float)?;
        self.made.backward_data(self.weights(learned.values), dy, &dx)?;
        Ok(dx)
    }

    fn backward_weights(&self, learned: Learned<'_>, x: &Tensor, dy: &Tensor) -> Result<(), TchError> {
        self.made.backward_weights(x, dy, self.weights(learned.gradient))
    }

    fn weights<'a>(&self, values: &'a [Tensor]) -> Weights<'a> {
        Weights { weight: &values[self.weight], bias: &values[self.bias] }
    }
}
