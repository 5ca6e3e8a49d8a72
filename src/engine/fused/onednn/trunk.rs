//! The backbone over pictures of one size: batch norm folded, activations and the sums of skips fused.

use tch::{Kind, TchError, Tensor};

use crate::cpu::{Activation, channels, map};
use crate::engine::fused::folded::{Folded, POINTWISE};
use crate::engine::fused::layers::{BlockLayers, ExcitationLayers, TrunkLayers};
use crate::engine::fused::onednn::convolution::{Convolution, Output};
use crate::engine::fused::onednn::scratch::{Role, Scratch};
use crate::engine::fused::parameters::Parameters;
use crate::model::Scales;
use crate::model::backbone::BackboneKind;
use crate::model::backbone::stages::{BlockShape, ConvShape};

#[derive(Debug)]
pub(super) struct Trunk {
    stem: Convolution,
    /// Of the stages up to the last tap.
    stages: Vec<Vec<Block>>,
    taps: Vec<usize>,
}

/// Inverted bottleneck: expand, depthwise, excite, project.
#[derive(Debug)]
struct Block {
    expand: Option<Convolution>,
    depthwise: Convolution,
    excitation: Option<Excitation>,
    /// Where there is a skip, onto the block's input.
    project: Convolution,
    has_skip: bool,
}

#[derive(Debug)]
struct Excitation {
    /// Of each channel, `[1, C, 1, 1]`.
    mean: Tensor,
    squeeze: Convolution,
    excite: Convolution,
}

impl Trunk {
    /// Of `kind`, for pictures of `side` pixels, with the outputs of the stages `taps`; maps and weights are of `element`.
    pub(super) fn new(
        parameters: &Parameters,
        kind: BackboneKind,
        taps: &[usize],
        side: i64,
        element: Kind,
    ) -> Result<Self, TchError> {
        let scaling = kind.scaling();
        let shapes = scaling.stages(taps.last().copied().unwrap_or(0));
        let stem = ConvShape::full(3, scaling.stem_channels(), 3, 2);
        let scratch = Scratch::new(&stem, &shapes, side, element)?;
        let layers = TrunkLayers::new(parameters, scaling.is_lite);
        let mut builder = Builder { layers, side, element, scratch };
        let stem = builder.activated(&builder.layers.stem()?, stem, Role::Between)?;
        let mut stages = Vec::with_capacity(shapes.len());
        for (number, stage) in (1..).zip(shapes) {
            stages.push(stage.into_iter().map(|shape| builder.block(shape)).collect::<Result<_, _>>()?);
            if taps.contains(&number) {
                builder.scratch.keep(Role::Between)?;
            }
        }
        Ok(Self { stem, stages, taps: taps.to_vec() })
    }

    /// The maps stay until the next picture.
    ///
    /// # Shapes
    /// `[1, 3, side, side]` to `[1, C, H, W]` for each tap, all channels last.
    pub(super) fn forward(&self, picture: &Tensor) -> Result<Scales, TchError> {
        let mut x = self.stem.forward(picture)?;
        let mut outputs = Vec::with_capacity(self.taps.len());
        for (number, stage) in (1..).zip(&self.stages) {
            for block in stage {
                x = block.forward(&x)?;
            }
            if self.taps.contains(&number) {
                outputs.push(x.shallow_clone());
            }
        }
        Ok(outputs)
    }
}

impl Block {
    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let expanded = self.expand.as_ref().map(|expand| expand.forward(input)).transpose()?;
        let x = self.depthwise.forward(expanded.as_ref().unwrap_or(input))?;
        if let Some(excitation) = &self.excitation {
            excitation.apply(&x)?;
        }
        if self.has_skip { self.project.forward_onto(&x, input) } else { self.project.forward(&x) }
    }
}

impl Excitation {
    /// Changes `x` in place.
    fn apply(&self, x: &Tensor) -> Result<(), TchError> {
        channels::means(x, &self.mean)?;
        channels::scale(x, &self.excite.forward(&self.squeeze.forward(&self.mean)?)?)
    }
}

/// Goes through the layers in their order, and knows the side of the map before the next.
struct Builder<'a> {
    layers: TrunkLayers<'a>,
    side: i64,
    element: Kind,
    scratch: Scratch,
}

impl Builder<'_> {
    fn block(&mut self, shape: BlockShape) -> Result<Block, TchError> {
        let BlockShape { input, output, kernel, stride, .. } = shape;
        let (BlockLayers { expand, depthwise, excitation, project }, wide) =
            (self.layers.block(shape)?, shape.wide());
        debug_assert!(!shape.has_skip() || shape.repeat > 0, "the first block of a stage has no skip");
        let pointwise = ConvShape::pointwise(input, wide);
        let expand = expand.map(|expand| self.activated(&expand, pointwise, Role::Expanded)).transpose()?;
        let of_each = ConvShape::depthwise(wide, kernel, stride);
        let depthwise = self.activated(&depthwise, of_each, Role::Filtered)?;
        let excitation = excitation.map(|layers| self.excitation(&layers, wide)).transpose()?;
        let project = self.project(&project, ConvShape::pointwise(wide, output), shape.has_skip())?;
        Ok(Block { expand, depthwise, excitation, project, has_skip: shape.has_skip() })
    }

    /// A convolution with the backbone's activation.
    fn activated(&mut self, folded: &Folded, shape: ConvShape, role: Role) -> Result<Convolution, TchError> {
        let by = self.layers.geometry(shape, self.side)?;
        let activation = if self.layers.is_lite { Activation::Relu6 } else { Activation::Silu };
        let x = ([1, shape.input, self.side, self.side], self.element);
        self.side = (self.side + shape.stride - 1) / shape.stride;
        let y = self.scratch.map(role, shape.output, self.side)?;
        Convolution::new(folded, by, activation, x, Output::To(y))
    }

    fn project(&self, folded: &Folded, shape: ConvShape, has_skip: bool) -> Result<Convolution, TchError> {
        let x = ([1, shape.input, self.side, self.side], self.element);
        // What is not skipped has been read by the first layer of the block.
        let y = self.scratch.map(Role::Between, shape.output, self.side)?;
        let output = if has_skip { Output::Onto(y) } else { Output::To(y) };
        Convolution::new(folded, POINTWISE, Activation::None, x, output)
    }

    fn excitation(&self, layers: &ExcitationLayers, wide: i64) -> Result<Excitation, TchError> {
        let ExcitationLayers { squeeze, excite } = layers;
        let squeezed = squeeze.bias.size()[0];
        let pack = |folded: &Folded, activation, input: i64, output: i64| {
            let y = Output::To(map::zeros([1, output, 1, 1], self.element)?);
            Convolution::new(folded, POINTWISE, activation, ([1, input, 1, 1], self.element), y)
        };
        Ok(Excitation {
            mean: map::zeros([1, wide, 1, 1], self.element)?,
            squeeze: pack(squeeze, Activation::Silu, wide, squeezed)?,
            excite: pack(excite, Activation::Sigmoid, squeezed, wide)?,
        })
    }
}
