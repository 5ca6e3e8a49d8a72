//! Calls of C++ that say by a null pointer or by false that they failed, and leave the reason behind.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

use tch::TchError;

/// Of the array for the reason, on both sides.
const ERROR_BYTES: usize = 1024;

/// What `call` makes.
pub fn make(call: impl FnOnce(*mut c_char) -> *mut c_void) -> Result<NonNull<c_void>, TchError> {
    let (made, error) = with_error(call);
    NonNull::new(made).ok_or(TchError::Torch(error))
}

/// Whether `call` did what it does.
pub fn run(call: impl FnOnce(*mut c_char) -> bool) -> Result<(), TchError> {
    let (is_done, error) = with_error(call);
    if is_done { Ok(()) } else { Err(TchError::Torch(error)) }
}

/// What `call` returns, and the first line of the reason that it left behind.
fn with_error<T>(call: impl FnOnce(*mut c_char) -> T) -> (T, String) {
    let mut error = [0_u8; ERROR_BYTES];
    let result = call(error.as_mut_ptr().cast());
    let text = CStr::from_bytes_until_nul(&error).unwrap_or_default();
    (result, text.to_string_lossy().lines().next().unwrap_or_default().to_owned())
}
