//! The subnet of a coupling: three scales side by side, each hearing its neighbours.
//!
//! Paper, figure 4; research code, `freia_funcs.py`, `CrossConvolutions`. Parameter names are its own.

use tch::nn::{self, Init, Module};
use tch::{Kind, Tensor};

use crate::model::{SCALES, Scales};

/// Slope of LeakyReLU below zero.
const SLOPE: f64 = 0.1;

#[derive(Debug)]
pub struct CrossScale {
    /// Input to hidden, one a scale.
    hidden: [nn::Conv2D; SCALES],
    /// Hidden to output at the same scale.
    same: [nn::Conv2D; SCALES],
    /// From scale 1 to 0 and from 2 to 1, after up-sampling.
    up: [nn::Conv2D; SCALES - 1],
    /// From scale 0 to 1 and from 1 to 2, with stride 2.
    down: [nn::Conv2D; SCALES - 1],
    /// One factor a scale, 0 at the start: an untrained flow is the identity.
    gamma: [Tensor; SCALES],
    slope: Tensor,
}

impl CrossScale {
    pub fn new(path: &nn::Path<'_>, input: i64, output: i64, hidden: i64, kernel: i64) -> Self {
        let conv = |name: String, from: i64, to: i64, stride: i64| {
            convolution(&(path / name), from, to, kernel, stride)
        };
        Self {
            hidden: std::array::from_fn(|s| conv(format!("conv_scale{s}_0"), input, hidden, 1)),
            same: std::array::from_fn(|s| conv(format!("conv_scale{s}_1"), hidden, output, 1)),
            up: std::array::from_fn(|s| conv(format!("up_conv{}{s}", s + 1), hidden, output, 1)),
            down: std::array::from_fn(|s| conv(format!("down_conv{s}{}", s + 1), hidden, output, 2)),
            gamma: std::array::from_fn(|s| path.var(&format!("gamma{s}"), &[1], Init::Const(0.0))),
            slope: Tensor::from_slice(&[SLOPE]).to_kind(Kind::Float).to_device(path.device()),
        }
    }

    /// How many numbers [`CrossScale::new`] makes for these sizes.
    pub fn values(input: i64, output: i64, hidden: i64, kernel: i64) -> i64 {
        let convolution = |from: i64, to: i64| from * to * kernel * kernel + to;
        let (scales, neighbours) = (3, 2 * 2);
        scales * convolution(input, hidden) + (scales + neighbours) * convolution(hidden, output) + scales
    }

    /// # Shapes
    /// `[B, input, H_s, W_s]` to `[B, output, H_s, W_s]`.
    pub fn forward(&self, x: &Scales) -> Scales {
        let y: Scales = std::array::from_fn(|s| self.hidden[s].forward(&x[s]).prelu(&self.slope));
        std::array::from_fn(|s| {
            let mut out = self.same[s].forward(&y[s]);
            if s + 1 < SCALES {
                out += self.up[s].forward(&twice_as_large(&y[s + 1]));
            }
            if s > 0 {
                out += self.down[s - 1].forward(&y[s - 1]);
            }
            out * &self.gamma[s]
        })
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
