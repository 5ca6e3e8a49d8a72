//! What a CPU does faster than by libtorch: convolutions by oneDNN, Adam in one pass, and the resize of a picture.
//!
//! libtorch has oneDNN's convolutions too, but looks each one up anew at every call, which for small maps costs more than it
//! computes, and re-orders maps and weights around each. Here they are made once for maps of one size, with activations and
//! sums fused. Each file of C++ beside is called by the module of its name alone, which makes that safe.

pub mod adam;
pub mod channels;
pub mod enlarged;
pub mod inference;
pub mod map;
pub mod resize;
pub mod training;

use tch::{Kind, TchError, Tensor};

/// What a convolution is made for. Kernels are square, and go over a map the same way in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Shape {
    /// Of the input.
    pub batch: i64,
    pub input: i64,
    pub height: i64,
    pub width: i64,
    /// Channels.
    pub output: i64,
    pub kernel: i64,
    pub stride: i64,
    pub groups: i64,
    /// Zeros before the first row and column, and after the last.
    pub pad_before: i64,
    pub pad_after: i64,
    /// Whether inputs and weights are bf16, and not f32.
    pub bf16_in: bool,
    /// Whether outputs are.
    pub bf16_out: bool,
    /// Whether the output is added to what is there.
    pub adds: bool,
}

/// What each value goes through after a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    None,
    Relu6,
    Silu,
    Sigmoid,
    /// With the slope below zero.
    LeakyRelu(f64),
}

/// Whether it is fast on this CPU: elsewhere it has little but its plain loops.
pub fn is_available() -> bool {
    cfg!(target_arch = "x86_64")
}

impl Shape {
    /// `[B, C, H, W]`.
    pub fn of_input(&self) -> [i64; 4] {
        [self.batch, self.input, self.height, self.width]
    }

    /// `[O, I / groups, k, k]` and `[O]`.
    fn of_weights(&self) -> (Vec<i64>, Vec<i64>) {
        (vec![self.output, self.input / self.groups, self.kernel, self.kernel], vec![self.output])
    }

    /// `[B, C, H, W]`.
    pub fn of_output(&self) -> [i64; 4] {
        let side = |length: i64| (length + self.pad_before + self.pad_after - self.kernel) / self.stride + 1;
        [self.batch, self.output, side(self.height), side(self.width)]
    }
}

impl Activation {
    /// As the C++ knows it, with its number.
    fn code(self) -> (i32, f64) {
        match self {
            Self::None => (0, 0.0),
            Self::Relu6 => (1, 6.0),
            Self::Silu => (2, 0.0),
            Self::Sigmoid => (3, 0.0),
            Self::LeakyRelu(slope) => (4, slope),
        }
    }
}

/// Whether a map is what a convolution was made for.
fn fits(map: &Tensor, size: [i64; 4], is_bf16: bool) -> Result<(), TchError> {
    let [_, channels, height, width] = size;
    let kind = if is_bf16 { Kind::BFloat16 } else { Kind::Float };
    let dense = [height * width * channels, 1, width * channels, channels];
    // A stride of a dimension of one says nothing.
    let is_dense = || map.stride().iter().zip(dense).zip(size).all(|((s, d), n)| n == 1 || *s == d);
    if map.size() == size && map.kind() == kind && map.device() == tch::Device::Cpu && is_dense() {
        return Ok(());
    }
    let (came, stride) = (map.size(), map.stride());
    Err(TchError::Shape(format!(
        "a map of {came:?} {:?}, strides {stride:?}, for {size:?} {kind:?}",
        map.kind()
    )))
}
