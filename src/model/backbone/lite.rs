//! `EfficientNet`-Lite: no squeeze-and-excitation, ReLU6, stem and depth of the first stage not scaled.
//!
//! Parameter names are those of the PyPI package `efficientnet_lite_pytorch`. Padding is `TensorFlow`'s SAME, for
//! which the weights were trained.
//! <https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite>

use tch::{Tensor, nn};

use crate::model::backbone::stages::{BlockShape, ConvShape, Scaling, batch_norm};

#[derive(Debug)]
pub struct Lite {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
}

/// Inverted bottleneck: expand, depthwise, project.
#[derive(Debug)]
struct Block {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    project: ConvNorm,
    has_skip: bool,
}

impl Lite {
    /// Stages 1 to `last`.
    pub fn new(path: &nn::Path<'_>, scaling: Scaling, last: usize) -> Self {
        let stem = ConvShape::full(3, scaling.stem_channels(), 3, 2);
        let block = |shape: BlockShape| Block::new(&(path / "_blocks" / shape.index), shape);
        let stages = scaling.stages(last).into_iter();
        Self {
            stem: ConvNorm::new(path, "_conv_stem", "_bn0", stem),
            stages: stages.map(|shapes| shapes.into_iter().map(block).collect()).collect(),
        }
    }

    /// # Shapes
    /// `[B, 3, H, W]` to `[B, C, ceil(H / 2), ceil(W / 2)]`.
    pub fn stem(&self, image: &Tensor) -> Tensor {
        self.stem.forward(image).relu6()
    }

    /// `number` is from 1.
    pub fn stage(&self, number: usize, x: Tensor) -> Tensor {
        self.stages[number - 1].iter().fold(x, |x, block| block.forward(&x))
    }
}

impl Block {
    fn new(path: &nn::Path<'_>, shape: BlockShape) -> Self {
        let wide = shape.wide();
        let expand = ConvShape::pointwise(shape.input, wide);
        let depthwise = ConvShape::depthwise(wide, shape.kernel, shape.stride);
        let project = ConvShape::pointwise(wide, shape.output);
        Self {
            expand: (shape.expansion > 1).then(|| ConvNorm::new(path, "_expand_conv", "_bn0", expand)),
            depthwise: ConvNorm::new(path, "_depthwise_conv", "_bn1", depthwise),
            project: ConvNorm::new(path, "_project_conv", "_bn2", project),
            has_skip: shape.has_skip(),
        }
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let x = match &self.expand {
            Some(expand) => expand.forward(input).relu6(),
            None => input.shallow_clone(),
        };
        let x = self.depthwise.forward(&x).relu6();
        let x = self.project.forward(&x);
        if self.has_skip { x + input } else { x }
    }
}

/// Convolution without bias, padded by `TensorFlow`'s SAME, then batch norm. SAME: output = ceil(input / stride),
/// and an odd pixel of padding goes to the right and the bottom.
#[derive(Debug)]
struct ConvNorm {
    weight: Tensor,
    shape: ConvShape,
    norm: nn::BatchNorm,
}

impl ConvNorm {
    fn new(path: &nn::Path<'_>, conv: &str, norm: &str, shape: ConvShape) -> Self {
        let ConvShape { input, output, kernel, groups, .. } = shape;
        let dimensions = [output, input / groups, kernel, kernel];
        Self {
            weight: (path / conv).var("weight", &dimensions, nn::Init::Const(0.0)),
            shape,
            norm: batch_norm(&(path / norm), output),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let ConvShape { stride, groups, .. } = self.shape;
        let [top, bottom] = self.padding(x.size()[2]);
        let [left, right] = self.padding(x.size()[3]);
        let convolve = |x: &Tensor, padding: [i64; 2]| {
            x.conv2d(&self.weight, None::<&Tensor>, [stride, stride], padding, [1, 1], groups)
        };
        let x = if top == bottom && left == right {
            convolve(x, [top, left])
        } else {
            convolve(&x.constant_pad_nd([left, right, top, bottom]), [0, 0])
        };
        x.apply_t(&self.norm, false)
    }

    /// Pixels before and after, for a side of `length` pixels.
    fn padding(&self, length: i64) -> [i64; 2] {
        let ConvShape { kernel, stride, .. } = self.shape;
        let output = (length + stride - 1) / stride;
        let total = ((output - 1) * stride + kernel - length).max(0);
        [total / 2, total - total / 2]
    }
}
