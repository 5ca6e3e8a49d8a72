//! A convolution whose weights are packed once.

use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

use tch::{Kind, TchError, Tensor};

use crate::cpu::{Activation, Shape, fits};
use crate::cxx::{make, run};

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
        let given = (weight.size(), bias.size());
        if given != shape.of_weights() {
            return Err(TchError::Shape(format!("weights and bias of {given:?} for {shape:?}")));
        }
        let dense = |tensor: &Tensor| tensor.f_to_kind(Kind::Float)?.f_contiguous();
        let (weight, bias) = (dense(weight)?, dense(bias)?);
        let (code, number) = activation.code();
        let (weights, biases) = (weight.data_ptr().cast(), bias.data_ptr().cast());
        // SAFETY: the tensors live through the call and have the sizes that the shape says; the function copies them and
        // catches its exceptions.
        let made = make(|error| unsafe {
            csflowd_convolution(&raw const shape, code, number, weights, biases, error)
        });
        Ok(Self { made: made?, shape })
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
        run(|error| unsafe { csflowd_convolve(self.made.as_ptr(), x.data_ptr(), y.data_ptr(), error) })
    }
}

impl Drop for Convolution {
    #[expect(unsafe_code, reason = "a call into C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart, and is freed once.
        unsafe { csflowd_free(self.made.as_ptr()) }
    }
}
