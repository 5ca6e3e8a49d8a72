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

/// Stride of the stem.
const STEM_STRIDE: i64 = 2;

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

/// Pixels of the image to one cell of the output of `stage`, from 1, in each direction.
pub fn stride(stage: usize) -> i64 {
    STAGES[..stage].iter().fold(STEM_STRIDE, |stride, row| stride * row.stride)
}

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
    /// Its place among all blocks, from 0.
    pub index: usize,
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

    /// The blocks of each stage up to `last`, in order.
    pub fn stages(self, last: usize) -> Vec<Vec<BlockShape>> {
        let mut stages = Vec::with_capacity(last);
        let mut input = self.stem_channels();
        let mut indices = 0..;
        for (stage, row) in (1..).zip(&STAGES[..last]) {
            let output = self.channels(row.channels);
            let is_fixed = self.is_lite && stage == 1;
            let repeats = if is_fixed { row.repeats } else { self.repeats(row.repeats) };
            let blocks = (0..repeats).zip(indices.by_ref()).map(|(repeat, index)| BlockShape {
                stage,
                repeat,
                index,
                input: if repeat == 0 { input } else { output },
                output,
                expansion: row.expansion,
                kernel: row.kernel,
                stride: if repeat == 0 { row.stride } else { 1 },
            });
            stages.push(blocks.collect());
            input = output;
        }
        stages
    }

    /// How many blocks the stages up to `last` have together.
    pub fn blocks(self, last: usize) -> usize {
        self.stages(last).iter().map(Vec::len).sum()
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

/// What batch norm adds to variances.
pub const NORM_EPSILON: f64 = 1e-3;

/// Batch norm as all EfficientNets have it.
pub fn batch_norm(path: &nn::Path<'_>, channels: i64) -> nn::BatchNorm {
    nn::batch_norm2d(path, channels, nn::BatchNormConfig { eps: NORM_EPSILON, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_grow_to_thirty_two() {
        assert_eq!([1, 2, 3, 4, 5, 6].map(stride), [2, 4, 8, 16, 16, 32]);
    }

    #[test]
    fn blocks_are_numbered_through_and_each_takes_what_the_one_before_gives() {
        let scaling = Scaling { width: 1.1, depth: 1.2, is_lite: true };
        let blocks: Vec<BlockShape> = scaling.stages(STAGES_USED).concat();
        assert_eq!(blocks.len(), scaling.blocks(STAGES_USED));
        assert_eq!((blocks[0].input, scaling.blocks(0)), (32, 0));
        for (index, pair) in blocks.windows(2).enumerate() {
            assert_eq!((pair[0].index, pair[1].index), (index, index + 1));
            assert_eq!(pair[0].output, pair[1].input, "{pair:?}");
        }
    }

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
