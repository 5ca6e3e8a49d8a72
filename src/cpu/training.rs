//! A convolution with its gradients, whose weights come anew at each call.

use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

use tch::{Kind, TchError, Tensor};

use crate::cpu::{Activation, Shape, fits};
use crate::cxx::{make, run};

/// A convolution for maps of one size, forward and backward. Maps are channels last and dense, `[B, C, H, W]`;
/// all is f32.
#[derive(Debug)]
pub struct Convolution {
    made: NonNull<c_void>,
    shape: Shape,
}

#[expect(unsafe_code, reason = "calls into C++")]
unsafe extern "C" {
    fn csflowd_trained(shape: *const Shape, activation: i32, number: f64, error: *mut c_char) -> *mut c_void;
    fn csflowd_trained_forward(
        trained: *mut c_void,
        weight: *const f32,
        bias: *const f32,
        x: *const f32,
        y: *mut f32,
        error: *mut c_char,
    ) -> bool;
    fn csflowd_trained_backward_data(
        trained: *mut c_void,
        weight: *const f32,
        dy: *const f32,
        dx: *mut f32,
        error: *mut c_char,
    ) -> bool;
    fn csflowd_trained_backward_weights(
        trained: *mut c_void,
        x: *const f32,
        dy: *const f32,
        dw: *mut f32,
        db: *mut f32,
        error: *mut c_char,
    ) -> bool;
    fn csflowd_trained_free(trained: *mut c_void);
}

/// Weights and biases of a convolution, or their gradients: `[O, I / groups, k, k]` and `[O]`.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    pub weight: &'a Tensor,
    pub bias: &'a Tensor,
}

impl Convolution {
    /// For as many threads as the caller has now. The shape must be of f32. An activation belongs to the way
    /// forward alone: who goes back undoes it first.
    pub fn new(shape: Shape, activation: Activation) -> Result<Self, TchError> {
        if shape.bf16_in || shape.bf16_out {
            return Err(TchError::Shape(format!("gradients in bf16 for {shape:?}")));
        }
        let (code, number) = activation.code();
        // SAFETY: the function reads the shape, and catches its exceptions.
        #[expect(unsafe_code, reason = "a call into C++")]
        let made = make(|error| unsafe { csflowd_trained(&raw const shape, code, number, error) });
        Ok(Self { made: made?, shape })
    }

    /// Writes, or adds, to `y`.
    pub fn forward(&self, weights: Weights<'_>, x: &Tensor, y: &Tensor) -> Result<(), TchError> {
        self.fits_weights(weights)?;
        fits(x, self.shape.of_input(), false)?;
        fits(y, self.shape.of_output(), false)?;
        let (weight, bias) = (weights.weight.data_ptr().cast(), weights.bias.data_ptr().cast());
        // SAFETY: all tensors live through the call, and have the size, kind and layout that the convolution was made for.
        // Tensors may change under whoever shares them, as everywhere in libtorch. One thread is in here, since `self` is not `Sync`;
        // exceptions are caught.
        #[expect(unsafe_code, reason = "a call into C++")]
        run(|error| unsafe {
            csflowd_trained_forward(
                self.made.as_ptr(),
                weight,
                bias,
                x.data_ptr().cast(),
                y.data_ptr().cast(),
                error,
            )
        })
    }

    /// Writes the gradient of the input to `dx`, from that of the output, `dy`.
    pub fn backward_data(&self, weights: Weights<'_>, dy: &Tensor, dx: &Tensor) -> Result<(), TchError> {
        self.fits_weights(weights)?;
        fits(dy, self.shape.of_output(), false)?;
        fits(dx, self.shape.of_input(), false)?;
        let weight = weights.weight.data_ptr().cast();
        // SAFETY: as in `forward`.
        #[expect(unsafe_code, reason = "a call into C++")]
        run(|error| unsafe {
            csflowd_trained_backward_data(
                self.made.as_ptr(),
                weight,
                dy.data_ptr().cast(),
                dx.data_ptr().cast(),
                error,
            )
        })
    }

    /// Writes the gradients of weights and biases to `gradients`, from the input and the output's gradient.
    pub fn backward_weights(&self, x: &Tensor, dy: &Tensor, gradients: Weights<'_>) -> Result<(), TchError> {
        self.fits_weights(gradients)?;
        fits(x, self.shape.of_input(), false)?;
        fits(dy, self.shape.of_output(), false)?;
        let (dw, db) = (gradients.weight.data_ptr().cast(), gradients.bias.data_ptr().cast());
        // SAFETY: as in `forward`.
        #[expect(unsafe_code, reason = "a call into C++")]
        run(|error| unsafe {
            csflowd_trained_backward_weights(
                self.made.as_ptr(),
                x.data_ptr().cast(),
                dy.data_ptr().cast(),
                dw,
                db,
                error,
            )
        })
    }

    fn fits_weights(&self, Weights { weight, bias }: Weights<'_>) -> Result<(), TchError> {
        let is_plain = |tensor: &Tensor| {
            tensor.kind() == Kind::Float && tensor.device() == tch::Device::Cpu && tensor.is_contiguous()
        };
        if (weight.size(), bias.size()) == self.shape.of_weights() && is_plain(weight) && is_plain(bias) {
            return Ok(());
        }
        let came = (weight.size(), bias.size());
        Err(TchError::Shape(format!("weights and biases of {came:?} for {:?}", self.shape)))
    }
}

impl Drop for Convolution {
    #[expect(unsafe_code, reason = "a call into C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart, and is freed once.
        unsafe { csflowd_trained_free(self.made.as_ptr()) }
    }
}
