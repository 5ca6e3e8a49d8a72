//! The backbone: pointwise convolutions are matrix products, and what lies between two of them is one kernel, which also does what
//! the first leaves to do.
//!
//! Biases of projections are added to nothing: the constant that a map lacks by it is carried along, and what reads the map has it
//! in its own bias.

use tch::{Kind, TchError, Tensor};

use crate::cuda::Target;
use crate::cuda::kernels::trunk::{Depthwise, Excitation, Stem, TrunkActivation, TrunkKernels};
use crate::engine::fused::folded::Folded;
use crate::engine::fused::layers::{BlockLayers, ExcitationLayers, TrunkLayers};
use crate::engine::fused::parameters::Parameters;
use crate::model::Scales;
use crate::model::backbone::stages::{BlockShape, ConvShape};
use crate::model::network::Network;

#[derive(Debug)]
pub(super) struct Trunk {
    kernels: TrunkKernels,
    stem: Stem,
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    blocks: Vec<Block>,
    /// If the stage's output is a tap, what it lacks, `[C]`, f32.
    tap: Option<Tensor>,
}

/// Inverted bottleneck: expand, depthwise, excite, project.
#[derive(Debug)]
struct Block {
    /// `[wide, input]`.
    expand: Option<Tensor>,
    depthwise: Depthwise,
    excitation: Option<Excitation>,
    /// `[output, wide]`.
    project: Tensor,
    has_skip: bool,
}

impl Trunk {
    /// With maps and weights of `element`.
    pub(super) fn new(network: &Network, element: Kind, target: &Target) -> Result<Self, TchError> {
        let architecture = &network.architecture;
        let (scaling, taps) = (architecture.backbone.scaling(), architecture.taps());
        let parameters = Parameters::of(&network.backbone_store);
        let layers = TrunkLayers::new(&parameters, scaling.is_lite);
        let mut builder = Builder { layers, side: architecture.input_px, element, carried: None };
        let stem = builder.stem(ConvShape::full(3, scaling.stem_channels(), 3, 2))?;
        let mut stages = Vec::new();
        for (number, shapes) in (1..).zip(scaling.stages(taps.last().copied().unwrap_or(0))) {
            let blocks = shapes.into_iter().map(|shape| builder.block(shape)).collect::<Result<_, _>>()?;
            let carried = builder.carried.as_ref().filter(|_| taps.contains(&number));
            let tap = carried.map(|carried| carried.f_to_kind(Kind::Float)).transpose()?;
            stages.push(Stage { blocks, tap });
        }
        let activation = if scaling.is_lite { TrunkActivation::Relu6 } else { TrunkActivation::Silu };
        Ok(Self { kernels: TrunkKernels::new(element, activation, target)?, stem, stages })
    }

    /// Of every `step`-th pixel in both directions.
    ///
    /// # Shapes
    /// `[B, S, S, 3]`, f32, to `[B, H, W, C]`, f32, for each tap.
    pub(super) fn forward(&self, pixels: &Tensor, step: i64) -> Result<Scales, TchError> {
        let mut x = self.kernels.stem(pixels, step, &self.stem)?;
        let mut outputs = Vec::new();
        for Stage { blocks, tap } in &self.stages {
            for block in blocks {
                x = block.forward(&self.kernels, x)?;
            }
            if let Some(lacking) = tap {
                outputs.push(x.f_to_kind(Kind::Float)?.f_add(lacking)?);
            }
        }
        Ok(outputs)
    }
}

impl Block {
    fn forward(&self, kernels: &TrunkKernels, input: Tensor) -> Result<Tensor, TchError> {
        let size = input.size();
        let expanded = match &self.expand {
            None => None,
            Some(weight) => {
                let product = input.f_view([-1, size[3]])?.f_mm(&weight.f_transpose(0, 1)?)?;
                Some(product.f_view([size[0], size[1], size[2], weight.size()[0]])?)
            }
        };
        let x = expanded.as_ref().unwrap_or(&input);
        let (x, sums) = kernels.depthwise(x, &self.depthwise, self.excitation.is_some())?;
        drop(expanded);
        let [batch, side, wide] = [0, 1, 3].map(|dimension: usize| x.size()[dimension]);
        let outputs = self.project.size()[0];
        let (Some(excitation), Some(sums)) = (&self.excitation, sums) else {
            let (x, weight) = (x.f_view([-1, wide])?, self.project.f_transpose(0, 1)?);
            if self.has_skip {
                drop(input.f_view([-1, outputs])?.f_addmm_(&x, &weight)?);
                return Ok(input);
            }
            return x.f_mm(&weight)?.f_view([batch, side, side, outputs]);
        };
        let weight = kernels.excited(&sums, side * side, excitation, &self.project)?.f_transpose(1, 2)?;
        let x = x.f_view([batch, -1, wide])?;
        if self.has_skip {
            drop(input.f_view([batch, -1, outputs])?.f_baddbmm_(&x, &weight)?);
            return Ok(input);
        }
        x.f_bmm(&weight)?.f_view([batch, side, side, outputs])
    }
}

/// Goes through the layers in their order.
struct Builder<'a> {
    layers: TrunkLayers<'a>,
    /// Of the map before the next layer.
    side: i64,
    element: Kind,
    /// What that map lacks, `[C]`, f64.
    carried: Option<Tensor>,
}

impl Builder<'_> {
    fn stem(&mut self, shape: ConvShape) -> Result<Stem, TchError> {
        let folded = self.layers.stem()?;
        let pad = self.halved(shape)?;
        self.carried = Some(folded.bias.f_zeros_like()?);
        Ok(Stem {
            weight: folded.weight.f_permute([2, 3, 1, 0])?.f_contiguous()?.f_to_kind(Kind::Float)?,
            bias: folded.bias.f_to_kind(Kind::Float)?,
            pad,
        })
    }

    fn block(&mut self, shape: BlockShape) -> Result<Block, TchError> {
        let BlockLayers { expand, depthwise, excitation, project } = self.layers.block(shape)?;
        let carried = self.carried.take().ok_or_else(|| TchError::Shape("the stem comes first".into()))?;
        let expand = expand.map(|expand| expand.after(&carried)).transpose()?;
        let before = expand.as_ref().map_or(&carried, |expand| &expand.bias);
        let pad = self.halved(ConvShape::depthwise(shape.wide(), shape.kernel, shape.stride))?;
        let depthwise = Depthwise {
            before: before.f_to_kind(Kind::Float)?,
            is_activated: expand.is_some(),
            weight: depthwise
                .weight
                .f_squeeze_dim(1)?
                .f_permute([1, 2, 0])?
                .f_contiguous()?
                .f_to_kind(Kind::Float)?,
            after: depthwise.bias.f_to_kind(Kind::Float)?,
            pad,
            stride: shape.stride,
        };
        let bias = &project.bias;
        self.carried = Some(if shape.has_skip() { bias.f_add(&carried)? } else { bias.shallow_clone() });
        Ok(Block {
            expand: expand.map(|expand| self.matrix(&expand)).transpose()?,
            depthwise,
            excitation: excitation.map(|layers| self.excitation(&layers)).transpose()?,
            project: self.matrix(&project)?,
            has_skip: shape.has_skip(),
        })
    }

    fn excitation(&self, layers: &ExcitationLayers) -> Result<Excitation, TchError> {
        let ExcitationLayers { squeeze, excite } = layers;
        Ok(Excitation {
            squeeze: self.matrix(squeeze)?,
            squeeze_bias: squeeze.bias.f_to_kind(Kind::Float)?,
            excite: self.matrix(excite)?.f_transpose(0, 1)?.f_contiguous()?,
            excite_bias: excite.bias.f_to_kind(Kind::Float)?,
        })
    }

    fn matrix(&self, folded: &Folded) -> Result<Tensor, TchError> {
        folded.matrix()?.f_contiguous()?.f_to_kind(self.element)
    }

    /// Zeros before the first row of a map that this layer makes smaller or not.
    fn halved(&mut self, shape: ConvShape) -> Result<i64, TchError> {
        let (pad, _) = self.layers.geometry(shape, self.side)?.padding;
        self.side = (self.side + shape.stride - 1) / shape.stride;
        Ok(pad)
    }
}
