//! The subnet of a coupling: the scales side by side, each hearing its neighbours.
//!
//! Paper, figure 4; research code, `freia_funcs.py`, `CrossConvolutions`. Parameter names are its own.

use tch::nn::{self, Init, Module};
use tch::{Kind, Tensor};

use crate::model::Scales;

/// Slope of LeakyReLU below zero.
pub const SLOPE: f64 = 0.1;

/// Channels of a subnet and what connects them.
#[derive(Clone, Debug)]
pub struct Size {
    /// Of each scale.
    pub input: Vec<i64>,
    /// Of each scale.
    pub output: Vec<i64>,
    pub hidden: i64,
    pub kernel: i64,
    /// Whether scales hear their neighbours.
    pub cross_scale: bool,
}

#[derive(Debug)]
pub struct CrossScale {
    /// Input to hidden, one a scale.
    hidden: Vec<nn::Conv2D>,
    /// Hidden to output at the same scale.
    same: Vec<nn::Conv2D>,
    /// From scale s + 1 to s, after up-sampling. Empty if the scales do not hear one another.
    up: Vec<nn::Conv2D>,
    /// From scale s to s + 1, with stride 2. Empty likewise.
    down: Vec<nn::Conv2D>,
    /// One factor a scale, 0 at the start: an untrained flow is the identity.
    gamma: Scales,
    slope: Tensor,
}

impl Size {
    /// Pairs of scales that hear one another.
    fn neighbours(&self) -> usize {
        if self.cross_scale { self.input.len() - 1 } else { 0 }
    }

    /// How many numbers [`CrossScale::new`] makes.
    pub fn values(&self) -> i64 {
        let convolution = |from: i64, to: i64| from * to * self.kernel * self.kernel + to;
        let hidden = self.input.iter().map(|&input| convolution(input, self.hidden));
        let to = |outputs: &[i64]| outputs.iter().map(|&to| convolution(self.hidden, to)).sum::<i64>();
        let pairs = self.neighbours();
        let (up, down) = (&self.output[..pairs], &self.output[self.output.len() - pairs..]);
        let gamma = self.input.iter().map(|_| 1);
        hidden.sum::<i64>() + to(&self.output) + to(up) + to(down) + gamma.sum::<i64>()
    }
}

impl CrossScale {
    pub fn new(path: &nn::Path<'_>, size: &Size) -> Self {
        let Size { input, output, hidden, kernel, .. } = size;
        let (scales, pairs) = (0..input.len(), 0..size.neighbours());
        let conv = |name: String, from: i64, to: i64, stride: i64| {
            convolution(&(path / name), from, to, *kernel, stride)
        };
        let into_hidden = |s: usize| conv(format!("conv_scale{s}_0"), input[s], *hidden, 1);
        let same = |s: usize| conv(format!("conv_scale{s}_1"), *hidden, output[s], 1);
        let up = |s: usize| conv(format!("up_conv{}{s}", s + 1), *hidden, output[s], 1);
        let down = |s: usize| conv(format!("down_conv{s}{}", s + 1), *hidden, output[s + 1], 2);
        // In this order, in which libtorch's generator gives the values at the start.
        Self {
            hidden: scales.clone().map(into_hidden).collect(),
            same: scales.clone().map(same).collect(),
            up: pairs.clone().map(up).collect(),
            down: pairs.map(down).collect(),
            gamma: scales.map(|s| path.var(&format!("gamma{s}"), &[1], Init::Const(0.0))).collect(),
            slope: Tensor::from_slice(&[SLOPE]).to_kind(Kind::Float).to_device(path.device()),
        }
    }

    /// # Shapes
    /// `[B, input_s, H_s, W_s]` to `[B, output_s, H_s, W_s]`.
    pub fn forward(&self, x: &[Tensor]) -> Scales {
        let hidden = self.hidden.iter().zip(x);
        let y: Scales = hidden.map(|(conv, x)| conv.forward(x).prelu(&self.slope)).collect();
        let output = |s: usize| {
            let mut out = self.same[s].forward(&y[s]);
            if let Some(up) = self.up.get(s) {
                out += up.forward(&twice_as_large(&y[s + 1]));
            }
            if let Some(above) = s.checked_sub(1)
                && let Some(down) = self.down.get(above)
            {
                out += down.forward(&y[above]);
            }
            out * &self.gamma[s]
        };
        (0..y.len()).map(output).collect()
    }
}

fn twice_as_large(x: &Tensor) -> Tensor {
    let (height, width) = (x.size()[2], x.size()[3]);
    x.upsample_bilinear2d([height * 2, width * 2], false, None, None)
}

/// A convolution that keeps the size (at stride 1), started as PyTorch starts it: uniform within
/// 1 / sqrt(fan in).
fn convolution(path: &nn::Path<'_>, from: i64, to: i64, kernel: i64, stride: i64) -> nn::Conv2D {
    #[expect(clippy::cast_precision_loss, reason = "a fan in of a few thousand")]
    let bound = 1.0 / ((from * kernel * kernel) as f64).sqrt();
    let init = Init::Uniform { lo: -bound, up: bound };
    let config =
        nn::ConvConfig { stride, padding: kernel / 2, ws_init: init, bs_init: init, ..Default::default() };
    nn::conv2d(path, from, to, kernel, config)
}
