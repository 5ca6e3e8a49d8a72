//! The layers of a network, one after another, with all that follows a convolution folded into it.

use tch::{Kind, TchError, Tensor};

use crate::engine::fused::folded::{Folded, Geometry};
use crate::engine::fused::parameters::{Layer, Parameters};
use crate::model::architecture::Architecture;
use crate::model::backbone::stages::{BlockShape, ConvShape};
use crate::model::flow::FlowConfig;
use crate::model::network::Network;

/// Of a backbone.
#[derive(Debug)]
pub(super) struct TrunkLayers<'a> {
    parameters: &'a Parameters,
    pub(super) is_lite: bool,
}

/// Inverted bottleneck: expand, depthwise, excite, project.
#[derive(Debug)]
pub(super) struct BlockLayers {
    pub(super) expand: Option<Folded>,
    pub(super) depthwise: Folded,
    pub(super) excitation: Option<ExcitationLayers>,
    pub(super) project: Folded,
}

#[derive(Debug)]
pub(super) struct ExcitationLayers {
    pub(super) squeeze: Folded,
    pub(super) excite: Folded,
}

/// Of one scale of a subnet, with gamma and the clamp's divisor folded in.
#[derive(Debug)]
pub(super) struct ScaleLayers {
    pub(super) hidden: Folded,
    pub(super) same: Folded,
    /// Of the next coarser scale's hidden layer, enlarged.
    pub(super) up: Option<Folded>,
    /// Of the next finer scale's hidden layer, with stride 2.
    pub(super) down: Option<Folded>,
    /// Of its input and of what it changes.
    pub(super) input: i64,
    pub(super) changed: i64,
}

/// Which subnet of which block.
#[derive(Clone, Copy, Debug)]
pub(super) struct WhichSubnet {
    pub(super) block: usize,
    /// `s1`, which reads the first halves and changes the second; the other way round it is `s2`.
    pub(super) reads_first: bool,
}

impl<'a> TrunkLayers<'a> {
    pub(super) fn new(parameters: &'a Parameters, is_lite: bool) -> Self {
        Self { parameters, is_lite }
    }

    pub(super) fn stem(&self) -> Result<Folded, TchError> {
        let (convolution, norm) =
            if self.is_lite { ("_conv_stem", "_bn0") } else { ("features.0.0", "features.0.1") };
        self.parameters.normalised(&Layer { convolution: convolution.to_owned(), norm: norm.to_owned() })
    }

    pub(super) fn block(&self, shape: BlockShape) -> Result<BlockLayers, TchError> {
        let block = if self.is_lite {
            format!("_blocks.{}", shape.index)
        } else {
            format!("features.{}.{}.block", shape.stage, shape.repeat)
        };
        // Without an expansion torchvision's numbers begin with the depthwise convolution.
        let first = usize::from(shape.expansion > 1);
        let layer = |lite: (&str, &str), number: usize| {
            let (convolution, norm) = if self.is_lite {
                (format!("{block}.{}", lite.0), format!("{block}.{}", lite.1))
            } else {
                (format!("{block}.{number}.0"), format!("{block}.{number}.1"))
            };
            self.parameters.normalised(&Layer { convolution, norm })
        };
        let expand = (shape.expansion > 1).then(|| layer(("_expand_conv", "_bn0"), 0)).transpose()?;
        let excitation = |path: String| {
            Ok::<_, TchError>(ExcitationLayers {
                squeeze: self.parameters.convolution(&format!("{path}.fc1"))?,
                excite: self.parameters.convolution(&format!("{path}.fc2"))?,
            })
        };
        let of_excitation = (!self.is_lite).then(|| format!("{block}.{}", first + 1));
        Ok(BlockLayers {
            expand,
            depthwise: layer(("_depthwise_conv", "_bn1"), first)?,
            excitation: of_excitation.map(excitation).transpose()?,
            project: layer(("_project_conv", "_bn2"), first + 2)?,
        })
    }

    /// How the stem or a depthwise convolution goes over a map of `side`.
    pub(super) fn geometry(&self, shape: ConvShape, side: i64) -> Result<Geometry, TchError> {
        let ConvShape { kernel, stride, groups, .. } = shape;
        let mut padding = Geometry::centred(kernel, stride).padding;
        // torchvision pads alike on all sides, TensorFlow so that the output is the input's side by the stride, with the
        // odd pixel behind.
        if self.is_lite && stride == 2 {
            if side % 2 == 1 {
                return Err(TchError::Shape(format!("a map of odd side {side} is halved")));
            }
            padding = ((kernel - 2) / 2, (kernel - 1) / 2);
        }
        Ok(Geometry { padding, stride, groups })
    }
}

/// The scales of one subnet.
pub(super) fn subnet(
    parameters: &Parameters,
    architecture: &Architecture,
    WhichSubnet { block, reads_first }: WhichSubnet,
) -> Result<Vec<ScaleLayers>, TchError> {
    let path = format!("block.{block}.{}", if reads_first { "s1" } else { "s2" });
    let FlowConfig { cross_scale, clamp, .. } = architecture.flow;
    let shapes = architecture.shapes();
    let scale = |s: usize| {
        let [channels, ..] = shapes[s];
        let (first, second) = (channels / 2, channels - channels / 2);
        let (input, changed) = if reads_first { (first, second) } else { (second, first) };
        let factor = factor(parameters.get(&format!("{path}.gamma{s}"))?, clamp, changed)?;
        let last = |name: String| parameters.convolution(&format!("{path}.{name}"))?.times(&factor);
        let hears_coarser = cross_scale && s + 1 < shapes.len();
        let hears_finer = cross_scale && s > 0;
        Ok(ScaleLayers {
            hidden: parameters.convolution(&format!("{path}.conv_scale{s}_0"))?,
            same: last(format!("conv_scale{s}_1"))?,
            up: hears_coarser.then(|| last(format!("up_conv{}{s}", s + 1))).transpose()?,
            down: hears_finer.then(|| last(format!("down_conv{}{s}", s - 1))).transpose()?,
            input,
            changed,
        })
    };
    (0..shapes.len()).map(scale).collect()
}

/// What each output channel is multiplied by: the scale's gamma, and one by the clamp in the half that becomes the logarithm of
/// the factor.
fn factor(gamma: &Tensor, clamp: f64, changed: i64) -> Result<Tensor, TchError> {
    let gamma = gamma.f_detach()?.f_to_kind(Kind::Double)?;
    let ones = Tensor::f_ones([changed], (Kind::Double, gamma.device()))?;
    Tensor::f_cat(&[&ones.f_div_scalar(clamp)?, &ones], 0)?.f_mul(&gamma)
}

/// Whitening of one scale, with its outputs in the order that the first block takes; None if features are not whitened.
pub(super) fn whitening(network: &Network, scale: usize) -> Result<Option<Folded>, TchError> {
    let Some(whitening) = &network.whitening else { return Ok(None) };
    let matrix = whitening.matrix[scale].f_to_kind(Kind::Double)?;
    let mean = whitening.mean[scale].f_to_kind(Kind::Double)?;
    let bias = matrix.f_matmul(&mean)?.f_neg()?;
    let order = Tensor::f_from_slice(&network.permutations[0][scale])?.f_to_device(network.device())?;
    let weight = matrix.f_unsqueeze(2)?.f_unsqueeze(3)?;
    Folded { weight, bias }.reordered(&order).map(Some)
}
