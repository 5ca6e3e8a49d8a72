//! A step of Adam in one pass over the memory. What it is made of is [`crate::train::adam`]'s.

use std::ptr;

use tch::{Device, Kind, Tensor};

/// A tensor of parameters, its gradient, both moments and its average: all of one size, dense, f32 and on the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Variable<'a> {
    pub value: &'a Tensor,
    pub gradient: &'a Tensor,
    pub first: &'a Tensor,
    pub second: &'a Tensor,
    pub average: Option<&'a Tensor>,
}

/// What all parameters have in common. The order of the fields is that of `CsflowdAdam` in `adam.cpp`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Numbers {
    /// What the gradient is multiplied by.
    pub cut: f64,
    /// Share of the value that is then added to it.
    pub weight_decay: f64,
    /// Shares of the moments that are replaced.
    pub first: f64,
    pub second: f64,
    /// Of the first moment, without bias.
    pub learning_rate: f64,
    /// What the root of the second moment is multiplied by.
    pub spread: f64,
    pub epsilon: f64,
    /// Share of the average that is replaced by the new value.
    pub average: f64,
}

/// The order of the fields is that of `CsflowdVariable` in `adam.cpp`.
#[repr(C)]
struct Places {
    value: *mut f32,
    gradient: *const f32,
    first: *mut f32,
    second: *mut f32,
    average: *mut f32,
    length: i64,
}

#[expect(unsafe_code, reason = "calls into C++")]
unsafe extern "C" {
    fn csflowd_squares(variables: *const Places, count: i64) -> f64;
    fn csflowd_adam(numbers: *const Numbers, variables: *const Places, count: i64);
}

/// The norm of all gradients together.
pub fn norm(variables: &[Variable<'_>]) -> f64 {
    let (places, count) = places(variables);
    // SAFETY: all arrays have the length that stands beside them, and are those of tensors that live through the call.
    #[expect(unsafe_code, reason = "a call into C++")]
    let squares = unsafe { csflowd_squares(places.as_ptr(), count) };
    squares.sqrt()
}

/// Moves all values, whoever shares them, and what follows them.
pub fn step(numbers: &Numbers, variables: &[Variable<'_>]) {
    let (places, count) = places(variables);
    // SAFETY: as in `norm`; they are written to as tensors may be, everywhere in libtorch.
    #[expect(unsafe_code, reason = "a call into C++")]
    unsafe {
        csflowd_adam(ptr::from_ref(numbers), places.as_ptr(), count);
    }
}

/// Panics on tensors that are not what a [`Variable`] holds.
fn places(variables: &[Variable<'_>]) -> (Vec<Places>, i64) {
    let one = |variable: &Variable<'_>| {
        let Variable { value, gradient, first, second, average } = variable;
        for tensor in [value, gradient, first, second].into_iter().chain(average) {
            assert_eq!(tensor.size(), value.size(), "one value for each parameter");
            assert!(tensor.is_contiguous() && tensor.device() == Device::Cpu && tensor.kind() == Kind::Float);
        }
        let place = |tensor: &Tensor| tensor.data_ptr().cast::<f32>();
        Places {
            value: place(value),
            gradient: place(gradient),
            first: place(first),
            second: place(second),
            average: average.map_or(ptr::null_mut(), place),
            length: i64::try_from(value.numel()).expect("a size"),
        }
    };
    (variables.iter().map(one).collect(), i64::try_from(variables.len()).expect("a number of tensors"))
}
