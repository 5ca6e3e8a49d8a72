//! Memory that a CUDA device reads by itself, without a copy of the system's in between.

use std::ffi::c_void;
use std::ptr::NonNull;

use tch::{Device, Kind, TchError, Tensor};

use crate::cuda::{Gpu, Target};
use crate::cxx::make;

/// So many bytes, locked in memory for a GPU; for the CPU it is memory like any other.
#[derive(Debug)]
pub struct Pinned {
    /// Lies in `_memory` if there is any.
    bytes: Tensor,
    _memory: Option<Memory>,
}

#[derive(Debug)]
struct Memory {
    made: NonNull<c_void>,
    gpu: Gpu,
}

// SAFETY: nothing in it hangs on the thread that made it.
#[expect(unsafe_code, reason = "a pointer goes to the thread that uses it")]
unsafe impl Send for Memory {}

impl Pinned {
    #[expect(unsafe_code, reason = "a tensor in memory of our own")]
    pub fn new(bytes: usize, target: &Target) -> Result<Self, TchError> {
        let size = i64::try_from(bytes).map_err(|_| TchError::Shape(format!("{bytes} bytes")))?;
        let Target::Gpu(gpu) = target else {
            return Ok(Self { bytes: Tensor::f_zeros([size], (Kind::Uint8, Device::Cpu))?, _memory: None });
        };
        // SAFETY: it writes to the error alone, and catches its exceptions.
        let made = make(|error| unsafe { (gpu.functions.pinned)(bytes as u64, error) })?;
        let memory = Memory { made, gpu: gpu.clone() };
        // SAFETY: so many bytes lie there, for as long as the tensor, which stays beside them.
        let bytes =
            unsafe { Tensor::f_from_blob(made.as_ptr().cast(), &[size], &[1], Kind::Uint8, Device::Cpu)? };
        Ok(Self { bytes, _memory: Some(memory) })
    }

    /// How many there is room for.
    pub fn bytes(&self) -> usize {
        self.bytes.numel()
    }

    /// The bytes in place of what was there, copied by all threads of the engine. The device has to be done with what was there.
    ///
    /// # Shapes
    /// `[n]` u8, on the CPU.
    #[expect(unsafe_code, reason = "a tensor in memory of somebody else's")]
    pub fn fill(&mut self, bytes: &[u8]) -> Result<Tensor, TchError> {
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let mut place = self.bytes.f_narrow(0, 0, size)?;
        // SAFETY: the bytes outlive the tensor, which is read from alone.
        let from = unsafe { Tensor::f_from_blob(bytes.as_ptr(), &[size], &[1], Kind::Uint8, Device::Cpu)? };
        place.f_copy_(&from)?;
        Ok(place)
    }
}

impl Drop for Memory {
    #[expect(unsafe_code, reason = "a call into C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart, and is freed once.
        unsafe { (self.gpu.functions.pinned_free)(self.made.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda;

    #[test]
    fn what_is_filled_in_is_there_and_no_more_than_there_is_room_for() {
        for &device in cuda::devices::devices().iter() {
            let mut pinned = Pinned::new(4, &Target::of(device).unwrap()).unwrap();
            for bytes in [&[1, 2, 3, 250][..], &[5, 6, 7, 8], &[9, 10]] {
                assert_eq!(Vec::<u8>::try_from(pinned.fill(bytes).unwrap()).unwrap(), bytes);
            }
            assert!(pinned.fill(&[1, 2, 3, 4, 5]).is_err());
        }
    }
}
