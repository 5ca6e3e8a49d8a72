//! EfficientNet-B: squeeze-and-excitation, SiLU, symmetric padding.
//!
//! Parameter names and padding are torchvision's (`torchvision/models/efficientnet.py`, version 0.26), whose
//! trained weights they go with.

use tch::{Kind, Tensor, nn};

use crate::model::backbone::stages::{BlockShape, ConvShape, Scaling, batch_norm};

#[derive(Debug)]
pub struct Wide {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
}

#[derive(Debug)]
struct Block {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    excitation: Excitation,
    project: ConvNorm,
    has_skip: bool,
}

impl Wide {
    /// Stages 1 to `last`.
    pub fn new(path: &nn::Path<'_>, scaling: Scaling, last: usize) -> Self {
        let features = path / "features";
        let stem = ConvShape::full(3, scaling.stem_channels(), 3, 2);
        let block =
            |shape: BlockShape| Block::new(&(&features / shape.stage / shape.repeat / "block"), shape);
        let stages = scaling.stages(last).into_iter();
        Self {
            stem: ConvNorm::new(&(&features / 0), stem),
            stages: stages.map(|shapes| shapes.into_iter().map(block).collect()).collect(),
        }
    }

    /// # Shapes
    /// `[B, 3, H, W]` to `[B, C, ceil(H / 2), ceil(W / 2)]`.
    pub fn stem(&self, image: &Tensor) -> Tensor {
        self.stem.forward(image).silu()
    }

    /// `number` is from 1.
    pub fn stage(&self, number: usize, x: Tensor) -> Tensor {
        self.stages[number - 1].iter().fold(x, |x, block| block.forward(&x))
    }
}

impl Block {
    fn new(path: &nn::Path<'_>, shape: BlockShape) -> Self {
        let BlockShape { input, output, expansion, kernel, stride, .. } = shape;
        let wide = shape.wide();
        // torchvision leaves the expansion out where it changes nothing, and numbers on from there.
        let first = i64::from(expansion > 1);
        Self {
            expand: (expansion > 1).then(|| ConvNorm::new(&(path / 0), ConvShape::pointwise(input, wide))),
            depthwise: ConvNorm::new(&(path / first), ConvShape::depthwise(wide, kernel, stride)),
            excitation: Excitation::new(&(path / (first + 1)), wide, (input / 4).max(1)),
            project: ConvNorm::new(&(path / (first + 2)), ConvShape::pointwise(wide, output)),
            has_skip: shape.has_skip(),
        }
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let x = match &self.expand {
            Some(expand) => expand.forward(input).silu(),
            None => input.shallow_clone(),
        };
        let x = self.depthwise.forward(&x).silu();
        let x = self.project.forward(&self.excitation.forward(&x));
        if self.has_skip { x + input } else { x }
    }
}

/// Squeeze-and-excitation: Hu et al., 2018, <https://arxiv.org/abs/1709.01507>.
#[derive(Debug)]
struct Excitation {
    squeeze: nn::Conv2D,
    excite: nn::Conv2D,
}

impl Excitation {
    fn new(path: &nn::Path<'_>, channels: i64, squeezed: i64) -> Self {
        Self {
            squeeze: nn::conv2d(path / "fc1", channels, squeezed, 1, nn::ConvConfig::default()),
            excite: nn::conv2d(path / "fc2", squeezed, channels, 1, nn::ConvConfig::default()),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mean = x.mean_dim([2, 3].as_slice(), true, None::<Kind>);
        x * mean.apply(&self.squeeze).silu().apply(&self.excite).sigmoid()
    }
}

/// Convolution without bias, then batch norm.
#[derive(Debug)]
struct ConvNorm {
    conv: nn::Conv2D,
    norm: nn::BatchNorm,
}

impl ConvNorm {
    fn new(path: &nn::Path<'_>, shape: ConvShape) -> Self {
        let config = nn::ConvConfig {
            stride: shape.stride,
            padding: shape.kernel / 2,
            groups: shape.groups,
            bias: false,
            ..Default::default()
        };
        Self {
            conv: nn::conv2d(path / 0, shape.input, shape.output, shape.kernel, config),
            norm: batch_norm(&(path / 1), shape.output),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.apply(&self.conv).apply_t(&self.norm, false)
    }
}
