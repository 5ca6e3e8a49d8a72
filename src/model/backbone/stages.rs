//! The table that all EfficientNets share, and how a member scales it.

use tch::nn;

/// One row of the EfficientNet-B0 table (paper, table 1): blocks of the same shape.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    pub expansion: i64,
    pub kernel: i64,
    /// Of the first block; the others have 1.
    pub stride: i64,
    pub channels: i64,
    pub repeats: i64,
}

/// Channels of the stem in the same table.
const STEM_CHANNELS: i64 = 32;

/// CS-Flow takes the output of the sixth stage; the seventh is never built.
pub const STAGES_USED: usize = 6;

/// Stages 1 to 6.
pub const STAGES: [Stage; STAGES_USED] = [
    Stage { expansion: 1, kernel: 3, stride: 1, channels: 16, repeats: 1 },
    Stage { expansion: 6, kernel: 3, stride: 2, channels: 24, repeats: 2 },
    Stage { expansion: 6, kernel: 5, stride: 2, channels: 40, repeats: 2 },
    Stage { expansion: 6, kernel: 3, stride: 2, channels: 80, repeats: 3 },
    Stage { expansion: 6, kernel: 5, stride: 1, channels: 112, repeats: 3 },
    Stage { expansion: 6, kernel: 5, stride: 2, channels: 192, repeats: 4 },
];

/// The compound scaling of a member.
#[derive(Clone, Copy, Debug)]
pub struct Scaling {
    pub width: f64,
    pub depth: f64,
    /// The Lite members scale neither the stem nor the depth of the first stage.
    pub is_lite: bool,
}

/// One inverted bottleneck of a member: expand, depthwise, project.
#[derive(Clone, Copy, Debug)]
pub struct BlockShape {
    /// Its stage, from 1, and its place there, from 0.
    pub stage: usize,
    pub repeat: i64,
    pub input: i64,
    pub output: i64,
    pub expansion: i64,
    pub kernel: i64,
    pub stride: i64,
}

impl Scaling {
    /// Channels times width, to a multiple of 8, never more than 10 % down (TensorFlow's `round_filters`).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a few hundred channels"
    )]
    pub fn channels(self, channels: i64) -> i64 {
        let scaled = channels as f64 * self.width;
        let rounded = ((scaled + 4.0) as i64 / 8 * 8).max(8);
        if (rounded as f64) < 0.9 * scaled { rounded + 8 } else { rounded }
    }

    /// Repeats times depth, rounded up (TensorFlow's `round_repeats`).
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a few repeats")]
    fn repeats(self, repeats: i64) -> i64 {
        (repeats as f64 * self.depth).ceil() as i64
    }

    /// Channels of the stem's output.
    pub fn stem_channels(self) -> i64 {
        if self.is_lite { STEM_CHANNELS } else { self.channels(STEM_CHANNELS) }
    }

    /// The blocks of the stages used, in order.
    pub fn blocks(self) -> Vec<BlockShape> {
        let mut blocks = Vec::new();
        let mut input = self.stem_channels();
        for (index, stage) in STAGES.iter().enumerate() {
            let output = self.channels(stage.channels);
            let is_fixed = self.is_lite && index == 0;
            for repeat in 0..if is_fixed { stage.repeats } else { self.repeats(stage.repeats) } {
                blocks.push(BlockShape {
                    stage: index + 1,
                    repeat,
                    input,
                    output,
                    expansion: stage.expansion,
                    kernel: stage.kernel,
                    stride: if repeat == 0 { stage.stride } else { 1 },
                });
                input = output;
            }
        }
        blocks
    }
}

impl BlockShape {
    /// Channels between expansion and projection.
    pub fn wide(self) -> i64 {
        self.input * self.expansion
    }

    pub fn has_skip(self) -> bool {
        self.stride == 1 && self.input == self.output
    }
}

/// The shape of one convolution.
#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    pub input: i64,
    pub output: i64,
    pub kernel: i64,
    pub stride: i64,
    pub groups: i64,
}

impl ConvShape {
    pub fn full(input: i64, output: i64, kernel: i64, stride: i64) -> Self {
        Self { input, output, kernel, stride, groups: 1 }
    }

    pub fn pointwise(input: i64, output: i64) -> Self {
        Self::full(input, output, 1, 1)
    }

    pub fn depthwise(channels: i64, kernel: i64, stride: i64) -> Self {
        Self { groups: channels, ..Self::full(channels, channels, kernel, stride) }
    }
}

/// Batch norm as all EfficientNets have it.
pub fn batch_norm(path: &nn::Path<'_>, channels: i64) -> nn::BatchNorm {
    nn::batch_norm2d(path, channels, nn::BatchNormConfig { eps: 1e-3, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_round_to_eights_and_never_lose_a_tenth() {
        for (channels, width, expected) in
            [(32, 1.6, 48), (16, 1.6, 24), (40, 1.1, 48), (112, 1.1, 120), (192, 1.6, 304), (192, 1.1, 208)]
        {
            let scaling = Scaling { width, depth: 1.0, is_lite: false };
            assert_eq!(scaling.channels(channels), expected, "{channels} x {width}");
        }
    }
}
