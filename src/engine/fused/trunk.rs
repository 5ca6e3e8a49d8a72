//! The backbone over pictures of one size: batch norm folded, activations and the sums of skips fused.

use tch::{Kind, TchError, Tensor};

use crate::cpu::Activation;
use crate::engine::fused::convolution::{Computing, Convolution, Folded, Geometry, Output, POINTWISE};
use crate::engine::fused::parameters::{Layer, Parameters};
use crate::engine::fused::scratch::{Role, Scratch};
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
    squeeze: Convolution,
    excite: Convolution,
}

/// Where the parameters of one block are.
struct Paths {
    expand: Layer,
    depthwise: Layer,
    excitation: Option<String>,
    project: Layer,
}

impl Trunk {
    /// Of `kind`, for pictures of `side` pixels, with the outputs of the stages `taps`.
    pub(super) fn new(
        parameters: &Parameters,
        kind: BackboneKind,
        taps: &[usize],
        side: i64,
        computing: Computing,
    ) -> Result<Self, TchError> {
        let scaling = kind.scaling();
        let shapes = scaling.stages(taps.last().copied().unwrap_or(0));
        let stem = ConvShape::full(3, scaling.stem_channels(), 3, 2);
        let scratch = Scratch::new(&stem, &shapes, side, computing)?;
        let mut builder = Builder { parameters, is_lite: scaling.is_lite, side, computing, scratch };
        let stem = builder.activated(&builder.stem(), stem, Role::Between)?;
        let mut stages = Vec::with_capacity(shapes.len());
        for (number, stage) in (1..).zip(shapes) {
            stages.push(stage.into_iter().map(|shape| builder.block(shape)).collect::<Result<_, _>>()?);
            if taps.contains(&number) {
                builder.scratch.keep(Role::Between)?;
            }
        }
        Ok(Self { stem, stages, taps: taps.to_vec() })
    }

    /// By oneDNN one picture, whose maps stay until the next.
    ///
    /// # Shapes
    /// `[B, 3, side, side]` to `[B, C, H, W]` for each tap, all channels last.
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
        let mut x = self.depthwise.forward(expanded.as_ref().unwrap_or(input))?;
        if let Some(excitation) = &self.excitation {
            excitation.apply(&mut x)?;
        }
        if self.has_skip { self.project.forward_onto(&x, input) } else { self.project.forward(&x) }
    }
}

impl Excitation {
    /// Changes `x` in place.
    fn apply(&self, x: &mut Tensor) -> Result<(), TchError> {
        let mean = x.f_mean_dim([2, 3].as_slice(), true, None::<Kind>)?;
        let factor = self.excite.forward(&self.squeeze.forward(&mean)?)?;
        x.f_mul_(&factor).map(drop)
    }
}

/// Goes through the layers in their order, and knows the side of the map before the next.
struct Builder<'a> {
    parameters: &'a Parameters,
    is_lite: bool,
    side: i64,
    computing: Computing,
    scratch: Scratch,
}

impl Builder<'_> {
    fn block(&mut self, shape: BlockShape) -> Result<Block, TchError> {
        let BlockShape { input, output, expansion, kernel, stride, .. } = shape;
        let (paths, wide) = (self.paths(shape), shape.wide());
        debug_assert!(!shape.has_skip() || shape.repeat > 0, "the first block of a stage has no skip");
        let expand = if expansion > 1 {
            Some(self.activated(&paths.expand, ConvShape::pointwise(input, wide), Role::Expanded)?)
        } else {
            None
        };
        let depthwise = ConvShape::depthwise(wide, kernel, stride);
        let depthwise = self.activated(&paths.depthwise, depthwise, Role::Filtered)?;
        let excitation = paths.excitation.map(|path| self.excitation(&path, wide)).transpose()?;
        let project = self.project(&paths.project, ConvShape::pointwise(wide, output), shape.has_skip())?;
        Ok(Block { expand, depthwise, excitation, project, has_skip: shape.has_skip() })
    }

    /// A convolution with its batch norm and the backbone's activation.
    fn activated(&mut self, layer: &Layer, shape: ConvShape, role: Role) -> Result<Convolution, TchError> {
        let ConvShape { input, output, kernel, stride, groups } = shape;
        let folded = self.parameters.normalised(layer)?;
        let mut padding = Geometry::centred(kernel, stride).padding;
        // torchvision pads alike on all sides, TensorFlow so that the output is the input's side by the stride, with the
        // odd pixel behind.
        if self.is_lite && stride == 2 {
            if self.side % 2 == 1 {
                return Err(TchError::Shape(format!("a map of odd side {} is halved", self.side)));
            }
            padding = ((kernel - 2) / 2, (kernel - 1) / 2);
        }
        let activation = if self.is_lite { Activation::Relu6 } else { Activation::Silu };
        let x = ([1, input, self.side, self.side], self.computing);
        self.side = (self.side + stride - 1) / stride;
        let y = self.scratch.map(role, output, self.side)?;
        folded.pack(Geometry { padding, stride, groups }, activation, x, Output::To(y))
    }

    fn project(&self, layer: &Layer, shape: ConvShape, has_skip: bool) -> Result<Convolution, TchError> {
        let folded = self.parameters.normalised(layer)?;
        let x = ([1, shape.input, self.side, self.side], self.computing);
        // What is not skipped has been read by the first layer of the block.
        let y = self.scratch.map(Role::Between, shape.output, self.side)?;
        let output = if has_skip { Output::Onto(y) } else { Output::To(y) };
        folded.pack(POINTWISE, Activation::None, x, output)
    }

    fn excitation(&self, path: &str, wide: i64) -> Result<Excitation, TchError> {
        let squeeze = self.parameters.convolution(&format!("{path}.fc1"))?;
        let squeezed = squeeze.bias.size()[0];
        let excite = self.parameters.convolution(&format!("{path}.fc2"))?;
        let pack = |folded: &Folded, activation, input: i64, output: i64| {
            let y = self.computing.map([1, output, 1, 1], self.computing.kind)?;
            folded.pack(POINTWISE, activation, ([1, input, 1, 1], self.computing), Output::To(y))
        };
        Ok(Excitation {
            squeeze: pack(&squeeze, Activation::Silu, wide, squeezed)?,
            excite: pack(&excite, Activation::Sigmoid, squeezed, wide)?,
        })
    }

    fn stem(&self) -> Layer {
        let (convolution, norm) =
            if self.is_lite { ("_conv_stem", "_bn0") } else { ("features.0.0", "features.0.1") };
        Layer { convolution: convolution.to_owned(), norm: norm.to_owned() }
    }

    fn paths(&self, shape: BlockShape) -> Paths {
        if self.is_lite {
            let block = format!("_blocks.{}", shape.index);
            let layer = |convolution: &str, norm: &str| Layer {
                convolution: format!("{block}.{convolution}"),
                norm: format!("{block}.{norm}"),
            };
            return Paths {
                expand: layer("_expand_conv", "_bn0"),
                depthwise: layer("_depthwise_conv", "_bn1"),
                excitation: None,
                project: layer("_project_conv", "_bn2"),
            };
        }
        let block = format!("features.{}.{}.block", shape.stage, shape.repeat);
        let layer = |number: usize| Layer {
            convolution: format!("{block}.{number}.0"),
            norm: format!("{block}.{number}.1"),
        };
        // Without an expansion the numbers begin with the depthwise convolution.
        let first = usize::from(shape.expansion > 1);
        Paths {
            expand: layer(0),
            depthwise: layer(first),
            excitation: Some(format!("{block}.{}", first + 1)),
            project: layer(first + 2),
        }
    }
}
