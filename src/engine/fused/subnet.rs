//! The subnet of a coupling: gamma and the clamp's divisor folded. What comes from the coarser scale is computed there, by oneDNN,
//! or in one convolution with what comes from the same scale, by libtorch.

use tch::{Kind, TchError, Tensor};

use crate::cpu::Activation;
use crate::cpu::enlarged::Enlarged;
use crate::engine::fused::convolution::{
    Computing, Convolution, Folded, Geometry, Kernels, Output, POINTWISE,
};
use crate::engine::fused::parameters::Parameters;
use crate::model::Scales;
use crate::model::flow::FlowConfig;
use crate::model::flow::cross_scale::SLOPE;

#[derive(Debug)]
pub(super) struct Subnet {
    scales: Vec<Scale>,
    kind: Kind,
}

#[derive(Debug)]
struct Scale {
    hidden: Convolution,
    /// Of this scale's hidden layer.
    output: Convolution,
    /// What is heard of the next coarser scale.
    coarser: Coarser,
    /// Of the next finer scale's hidden layer, added to the output.
    down: Option<Convolution>,
}

#[derive(Debug)]
enum Coarser {
    Nothing,
    /// Its hidden layer, enlarged, stands behind this scale's, and the output is of both.
    Behind,
    /// What each tap says of its hidden layer, added to the output.
    Taps {
        each: Convolution,
        enlarged: Enlarged,
    },
}

/// A subnet as it is told to [`Subnet::new`].
pub(super) struct Plan<'a> {
    pub(super) parameters: &'a Parameters,
    /// Where it is among the parameters.
    pub(super) path: String,
    pub(super) flow: &'a FlowConfig,
    pub(super) kernel: i64,
    /// `[C, H, W]` of each scale.
    pub(super) shapes: &'a [[i64; 3]],
    /// Whether it reads the first halves and changes the second.
    pub(super) reads_first: bool,
    pub(super) computing: Computing,
}

impl Subnet {
    pub(super) fn new(plan: &Plan<'_>) -> Result<Self, TchError> {
        let scales = (0..plan.shapes.len()).map(|s| plan.scale(s)).collect::<Result<_, _>>()?;
        Ok(Self { scales, kind: plan.computing.kind })
    }

    /// # Shapes
    /// `[B, H_s, W_s, input_s]`, contiguous f32, to `[B, H_s, W_s, output_s]` f32.
    pub(super) fn forward(&self, x: &[&Tensor]) -> Result<Scales, TchError> {
        let mut hidden = Vec::with_capacity(x.len());
        for (scale, x) in self.scales.iter().zip(x) {
            let x = x.f_permute([0, 3, 1, 2])?.f_to_kind(self.kind)?;
            hidden.push(scale.hidden.forward(&x)?);
        }
        let mut outputs = Vec::with_capacity(x.len());
        for (s, scale) in self.scales.iter().enumerate() {
            let mut output = match &scale.coarser {
                Coarser::Nothing => scale.output.forward(&hidden[s])?,
                Coarser::Behind => {
                    let coarser = twice_as_large(&hidden[s + 1])?;
                    scale.output.forward(&Tensor::f_cat(&[&hidden[s], &coarser], 1)?)?
                }
                Coarser::Taps { each, enlarged } => {
                    let output = scale.output.forward(&hidden[s])?;
                    enlarged.add(&each.forward(&hidden[s + 1])?, &output)?;
                    output
                }
            };
            if let Some(down) = &scale.down {
                output = down.forward_onto(&hidden[s - 1], &output)?;
            }
            outputs.push(output.f_permute([0, 2, 3, 1])?);
        }
        Ok(outputs)
    }
}

impl Plan<'_> {
    fn scale(&self, s: usize) -> Result<Scale, TchError> {
        let Self { parameters, path, flow, kernel, shapes, computing, .. } = self;
        let FlowConfig { hidden, cross_scale, .. } = **flow;
        let [channels, height, width] = shapes[s];
        let (first, second) = (channels / 2, channels - channels / 2);
        let (input, changed) = if self.reads_first { (first, second) } else { (second, first) };
        let factor = self.factor(s, changed)?;
        let zero = zeros(&factor)?;
        let last = |name: String| parameters.convolution(&format!("{path}.{name}"))?.then(&factor, &zero);
        let by = |stride| Geometry::centred(*kernel, stride);

        let into_hidden = parameters.convolution(&format!("{path}.conv_scale{s}_0"))?;
        let y = computing.map([1, hidden, height, width], computing.kind)?;
        let size = ([1, input, height, width], *computing);
        let into_hidden = into_hidden.pack(by(1), Activation::LeakyRelu(SLOPE), size, Output::To(y))?;

        let mut output: Folded = last(format!("conv_scale{s}_1"))?;
        let mut coarser = Coarser::Nothing;
        if cross_scale && s + 1 < shapes.len() {
            let up = last(format!("up_conv{}{s}", s + 1))?;
            if computing.kernels == Kernels::OneDnn {
                // In f32, and once.
                output.bias = output.bias.f_add(&up.bias)?;
                coarser = self.taps(&up, shapes[s + 1])?;
            } else {
                output = output.plus(&up)?;
                coarser = Coarser::Behind;
            }
        }
        let inputs = if matches!(coarser, Coarser::Behind) { 2 * hidden } else { hidden };
        let y = computing.map([1, 2 * changed, height, width], Kind::Float)?;
        let mut down = None;
        if cross_scale && s > 0 {
            let [_, height, width] = shapes[s - 1];
            let folded = last(format!("down_conv{}{s}", s - 1))?;
            output.bias = output.bias.f_add(&folded.bias)?;
            let folded = Folded { bias: zeros(&folded.bias)?, ..folded };
            let size = ([1, hidden, height, width], *computing);
            down = Some(folded.pack(by(2), Activation::None, size, Output::Onto(y.share()))?);
        }
        let size = ([1, inputs, height, width], *computing);
        let output = output.pack(by(1), Activation::None, size, Output::To(y))?;
        Ok(Scale { hidden: into_hidden, output, coarser, down })
    }

    /// What the taps of `up`, but for its bias, say of a hidden layer of this shape.
    fn taps(&self, up: &Folded, [_, height, width]: [i64; 3]) -> Result<Coarser, TchError> {
        let (channels, kernel) = (up.bias.size()[0], self.kernel);
        let weight = Enlarged::taps(&up.weight)?;
        let each =
            Folded { bias: Tensor::f_zeros([weight.size()[0]], (Kind::Double, weight.device()))?, weight };
        let y = self.computing.map([1, kernel * kernel * channels, height, width], Kind::Float)?;
        let size = ([1, self.flow.hidden, height, width], self.computing);
        let each = each.pack(POINTWISE, Activation::None, size, Output::To(y))?;
        Ok(Coarser::Taps { each, enlarged: Enlarged { height, width, channels, kernel } })
    }

    /// What each output channel is multiplied by: the scale's gamma, and one by the clamp in the half that becomes the
    /// logarithm of the factor.
    fn factor(&self, s: usize, changed: i64) -> Result<Tensor, TchError> {
        let gamma =
            self.parameters.get(&format!("{}.gamma{s}", self.path))?.f_detach()?.f_to_kind(Kind::Double)?;
        let ones = Tensor::f_ones([changed], (Kind::Double, gamma.device()))?;
        Tensor::f_cat(&[&ones.f_div_scalar(self.flow.clamp)?, &ones], 0)?.f_mul(&gamma)
    }
}

fn zeros(like: &Tensor) -> Result<Tensor, TchError> {
    like.f_zeros_like()
}

fn twice_as_large(x: &Tensor) -> Result<Tensor, TchError> {
    let (height, width) = (x.size()[2], x.size()[3]);
    x.f_upsample_bilinear2d([height * 2, width * 2], false, None, None)
}
