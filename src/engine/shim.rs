//! Calls of libtorch that tch has no binding for: oneDNN's convolutions with packed weights, fused with what follows.
//!
//! One file of C++, `shim.cpp`, reaches them through libtorch's dispatcher; this one makes its calls safe.

use std::ffi::{CStr, c_char, c_void};

use tch::{TchError, Tensor};

const ERROR_BYTES: usize = 1024;

/// How a square kernel goes over a map, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Geometry {
    pub padding: i64,
    pub stride: i64,
    pub groups: i64,
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

#[expect(unsafe_code, reason = "calls into C++")]
unsafe extern "C" {
    fn csflowd_has_fused_convolutions() -> bool;
    fn csflowd_pack(weight: *const c_void, by: Geometry, size: *const i64, error: *mut c_char)
    -> *mut c_void;
    fn csflowd_convolve(
        x: *const c_void,
        weight: *const c_void,
        bias: *const c_void,
        by: Geometry,
        activation: *const c_char,
        numbers: *const f64,
        n: usize,
        error: *mut c_char,
    ) -> *mut c_void;
    fn csflowd_convolve_onto(
        onto: *mut c_void,
        x: *const c_void,
        weight: *const c_void,
        bias: *const c_void,
        by: Geometry,
        error: *mut c_char,
    ) -> bool;
}

/// Whether this libtorch can do it.
#[expect(unsafe_code, reason = "a call into C++")]
pub fn is_available() -> bool {
    // SAFETY: the function takes nothing and looks into tables that libtorch fills when it is loaded.
    cfg!(target_arch = "x86_64") && unsafe { csflowd_has_fused_convolutions() }
}

/// `[O, I, k, k]` in the order that suits inputs of `size`, `[B, C, H, W]`.
#[expect(unsafe_code, reason = "a call into C++")]
pub fn pack(weight: &Tensor, by: Geometry, size: [i64; 4]) -> Result<Tensor, TchError> {
    // SAFETY: the tensor and `size` live through the call; the function changes neither and catches its exceptions.
    let packed = with_error(|error| unsafe { csflowd_pack(pointer(weight), by, size.as_ptr(), error) });
    owned(packed)
}

/// `weight` is packed; `bias` is f32.
///
/// # Shapes
/// `[B, I, H, W]`, channels last, to `[B, O, H', W']`, channels last.
#[expect(unsafe_code, reason = "a call into C++")]
pub fn convolve(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    by: Geometry,
    activation: Activation,
) -> Result<Tensor, TchError> {
    let (name, numbers) = activation.spelled();
    let (x, weight, bias) = (pointer(x), pointer(weight), pointer(bias));
    // SAFETY: the tensors, the text and the numbers live through the call; the function changes none of them and
    // catches its exceptions.
    let made = with_error(|error| unsafe {
        csflowd_convolve(x, weight, bias, by, name.as_ptr(), numbers.as_ptr(), numbers.len(), error)
    });
    owned(made)
}

/// Adds a convolution to `onto`.
#[expect(unsafe_code, reason = "a call into C++")]
pub fn convolve_onto(
    onto: &mut Tensor,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    by: Geometry,
) -> Result<(), TchError> {
    let onto = onto.as_mut_ptr().cast();
    // SAFETY: the tensors live through the call; `onto` alone is changed, and exceptions are caught.
    let result = with_error(|error| unsafe {
        csflowd_convolve_onto(onto, pointer(x), pointer(weight), pointer(bias), by, error)
    });
    match result {
        (true, _) => Ok(()),
        (false, error) => Err(TchError::Torch(error)),
    }
}

impl Activation {
    /// As libtorch knows it, with its numbers.
    fn spelled(self) -> (&'static CStr, Vec<f64>) {
        match self {
            Self::None => (c"none", vec![]),
            Self::Relu6 => (c"hardtanh", vec![0.0, 6.0]),
            Self::Silu => (c"swish", vec![]),
            Self::Sigmoid => (c"sigmoid", vec![]),
            Self::LeakyRelu(slope) => (c"leaky_relu", vec![slope]),
        }
    }
}

fn pointer(tensor: &Tensor) -> *const c_void {
    tensor.as_ptr().cast()
}

/// What `call` returns, and the reason that it left behind.
fn with_error<T>(call: impl FnOnce(*mut c_char) -> T) -> (T, String) {
    let mut error = [0_u8; ERROR_BYTES];
    let result = call(error.as_mut_ptr().cast());
    let text = CStr::from_bytes_until_nul(&error).unwrap_or_default();
    (result, text.to_string_lossy().lines().next().unwrap_or_default().to_owned())
}

#[expect(unsafe_code, reason = "a tensor made in C++")]
fn owned((made, error): (*mut c_void, String)) -> Result<Tensor, TchError> {
    if made.is_null() {
        return Err(TchError::Torch(error));
    }
    // SAFETY: the pointer is not null, so it is a tensor that the function made with `new` for its caller, which
    // tch frees with `delete` as it does with its own.
    Ok(unsafe { Tensor::from_ptr(made.cast()) })
}
