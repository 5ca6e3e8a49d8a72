//! oneDNN's convolutions: weights packed once, activations and sums fused.
//!
//! libtorch has them too, but looks each one up anew at every call, which for small maps costs more than it computes. One
//! file of C++, `onednn.cpp`, holds what is made of the library's own interface; this one makes its calls safe.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

use tch::{Kind, TchError, Tensor};

const ERROR_BYTES: usize = 1024;

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

/// A convolution with packed weights.
#[derive(Debug)]
pub struct Convolution {
    made: NonNull<c_void>,
    shape: Shape,
}

#[expect(unsafe_code, reason = "calls into C++")]
unsafe extern "C" {
    fn csflowd_convolution(
        shape: *const Shape,
        activation: i32,
        number: f64,
        weight: *const f32,
        bias: *const f32,
        error: *mut c_char,
    ) -> *mut c_void;
    fn csflowd_convolve(
        convolution: *mut c_void,
        x: *const c_void,
        y: *mut c_void,
        error: *mut c_char,
    ) -> bool;
    fn csflowd_free(convolution: *mut c_void);
}

// SAFETY: nothing in it hangs on the thread that made it. It is not `Sync`: a run changes it.
#[expect(unsafe_code, reason = "a pointer into C++ goes to the thread that runs it")]
unsafe impl Send for Convolution {}

/// Whether it is fast on this CPU: elsewhere it has little but its plain loops.
pub fn is_available() -> bool {
    cfg!(target_arch = "x86_64")
}

impl Convolution {
    /// For as many threads as the caller has now.
    ///
    /// # Shapes
    /// `weight` is `[O, I / groups, k, k]` and `bias` `[O]`, both on the CPU.
    #[expect(unsafe_code, reason = "a call into C++")]
    pub fn new(
        shape: Shape,
        activation: Activation,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Self, TchError> {
        let Shape { input, output, kernel, groups, .. } = shape;
        let given = (weight.size(), bias.size());
        if given != (vec![output, input / groups, kernel, kernel], vec![output]) {
            return Err(TchError::Shape(format!("weights and bias of {given:?} for {shape:?}")));
        }
        let dense = |tensor: &Tensor| tensor.f_to_kind(Kind::Float)?.f_contiguous();
        let (weight, bias) = (dense(weight)?, dense(bias)?);
        let (code, number) = activation.code();
        let (weights, biases) = (weight.data_ptr().cast(), bias.data_ptr().cast());
        // SAFETY: the tensors live through the call and have the sizes that the shape says; the function copies them and
        // catches its exceptions.
        let (made, error) = with_error(|error| unsafe {
            csflowd_convolution(&raw const shape, code, number, weights, biases, error)
        });
        match NonNull::new(made) {
            Some(made) => Ok(Self { made, shape }),
            None => Err(TchError::Torch(error)),
        }
    }

    /// Writes, or adds, to `y`, whose values change for whoever shares them.
    ///
    /// # Shapes
    /// `x` is `[B, I, H, W]` and `y` `[B, O, H', W']`, both channels last and dense.
    #[expect(unsafe_code, reason = "a call into C++")]
    pub fn run(&self, x: &Tensor, y: &Tensor) -> Result<(), TchError> {
        fits(x, self.shape.of_input(), self.shape.bf16_in)?;
        fits(y, self.shape.of_output(), self.shape.bf16_out)?;
        // SAFETY: both tensors live through the call, and have the size, kind and layout that the convolution was made for.
        // Tensors may change under whoever shares them, as everywhere in libtorch. One thread is in here, since `self` is not `Sync`; exceptions are caught.
        let (done, error) = with_error(|error| unsafe {
            csflowd_convolve(self.made.as_ptr(), x.data_ptr(), y.data_ptr(), error)
        });
        if done { Ok(()) } else { Err(TchError::Torch(error)) }
    }
}

impl Drop for Convolution {
    #[expect(unsafe_code, reason = "a call into C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart, and is freed once.
        unsafe { csflowd_free(self.made.as_ptr()) }
    }
}

impl Shape {
    /// `[B, C, H, W]`.
    pub fn of_input(&self) -> [i64; 4] {
        [self.batch, self.input, self.height, self.width]
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

/// What `call` returns, and the reason that it left behind.
fn with_error<T>(call: impl FnOnce(*mut c_char) -> T) -> (T, String) {
    let mut error = [0_u8; ERROR_BYTES];
    let result = call(error.as_mut_ptr().cast());
    let text = CStr::from_bytes_until_nul(&error).unwrap_or_default();
    (result, text.to_string_lossy().lines().next().unwrap_or_default().to_owned())
}
