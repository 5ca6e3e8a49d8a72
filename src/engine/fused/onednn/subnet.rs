//! The subnet of a coupling. What comes from the coarser scale is computed there, and enlarged where it is added.

use tch::{Kind, TchError, Tensor};

use crate::cpu::enlarged::Enlarged;
use crate::cpu::{Activation, map};
use crate::engine::fused::folded::{Folded, Geometry, POINTWISE};
use crate::engine::fused::layers::ScaleLayers;
use crate::engine::fused::onednn::convolution::{Convolution, Output};
use crate::model::Scales;
use crate::model::flow::cross_scale::SLOPE;

#[derive(Debug)]
pub(super) struct Subnet {
    scales: Vec<Scale>,
    element: Kind,
}

#[derive(Debug)]
struct Scale {
    hidden: Convolution,
    /// Of this scale's hidden layer.
    output: Convolution,
    /// What each tap says of the next coarser scale's hidden layer, added to the output.
    coarser: Option<Taps>,
    /// Of the next finer scale's hidden layer, added to the output.
    down: Option<Convolution>,
}

#[derive(Debug)]
struct Taps {
    each: Convolution,
    enlarged: Enlarged,
}

impl Subnet {
    /// With maps and weights of `element`; `shapes` are `[C, H, W]` of each scale.
    pub(super) fn new(
        layers: Vec<ScaleLayers>,
        shapes: &[[i64; 3]],
        element: Kind,
    ) -> Result<Self, TchError> {
        let scale = |(s, layers)| Scale::new(layers, s, shapes, element);
        Ok(Self { scales: layers.into_iter().enumerate().map(scale).collect::<Result<_, _>>()?, element })
    }

    /// # Shapes
    /// `[1, H_s, W_s, input_s]`, contiguous f32, to `[1, H_s, W_s, output_s]` f32.
    pub(super) fn forward(&self, x: &[&Tensor]) -> Result<Scales, TchError> {
        let mut hidden = Vec::with_capacity(x.len());
        for (scale, x) in self.scales.iter().zip(x) {
            let x = x.f_permute([0, 3, 1, 2])?.f_to_kind(self.element)?;
            hidden.push(scale.hidden.forward(&x)?);
        }
        let mut outputs = Vec::with_capacity(x.len());
        for (s, scale) in self.scales.iter().enumerate() {
            let mut output = scale.output.forward(&hidden[s])?;
            if let Some(Taps { each, enlarged }) = &scale.coarser {
                enlarged.add(&each.forward(&hidden[s + 1])?, &output)?;
            }
            if let Some(down) = &scale.down {
                output = down.forward_onto(&hidden[s - 1], &output)?;
            }
            outputs.push(output.f_permute([0, 2, 3, 1])?);
        }
        Ok(outputs)
    }
}

impl Scale {
    fn new(layers: ScaleLayers, s: usize, shapes: &[[i64; 3]], element: Kind) -> Result<Self, TchError> {
        let ScaleLayers { hidden: into_hidden, mut same, up, down, input, changed } = layers;
        let [_, height, width] = shapes[s];
        let (hidden, kernel) = (into_hidden.bias.size()[0], into_hidden.weight.size()[3]);
        let by = |stride| Geometry::centred(kernel, stride);
        let pack = |folded: &Folded, by, activation, size, y| {
            Convolution::new(folded, by, activation, (size, element), y)
        };

        let y = map::zeros([1, hidden, height, width], element)?;
        let activation = Activation::LeakyRelu(SLOPE);
        let into_hidden = pack(&into_hidden, by(1), activation, [1, input, height, width], Output::To(y))?;

        // Biases are added in f32, and once.
        for folded in [&up, &down].into_iter().flatten() {
            same.bias = same.bias.f_add(&folded.bias)?;
        }
        let coarser = up.map(|up| Taps::new(&up, shapes[s + 1], element)).transpose()?;
        let y = map::zeros([1, 2 * changed, height, width], Kind::Float)?;
        let down = down.map(|down| {
            let [_, height, width] = shapes[s - 1];
            let onto = Output::Onto(y.shallow_clone());
            pack(&down.unbiased()?, by(2), Activation::None, [1, hidden, height, width], onto)
        });
        let down = down.transpose()?;
        let output = pack(&same, by(1), Activation::None, [1, hidden, height, width], Output::To(y))?;
        Ok(Self { hidden: into_hidden, output, coarser, down })
    }
}

impl Taps {
    /// What the taps of `up`, but for its bias, say of a hidden layer of this shape.
    fn new(up: &Folded, [_, height, width]: [i64; 3], element: Kind) -> Result<Self, TchError> {
        let [channels, hidden, kernel] = [0, 1, 3].map(|dimension: usize| up.weight.size()[dimension]);
        let weight = Enlarged::taps(&up.weight)?;
        let each =
            Folded { bias: Tensor::f_zeros([weight.size()[0]], (Kind::Double, weight.device()))?, weight };
        let y = Output::To(map::zeros([1, kernel * kernel * channels, height, width], Kind::Float)?);
        let size = ([1, hidden, height, width], element);
        let each = Convolution::new(&each, POINTWISE, Activation::None, size, y)?;
        Ok(Self { each, enlarged: Enlarged { height, width, channels, kernel } })
    }
}
