//! Memory that a CUDA device reads by itself, without a copy of the system's in between.

use tch::{Device, Kind, TchError, Tensor};

/// So many bytes, locked in memory.
#[derive(Debug)]
pub struct Pinned(Tensor);

impl Pinned {
    /// For `device`; for the CPU it is memory like any other.
    pub fn new(bytes: usize, device: Device) -> Result<Self, TchError> {
        let bytes = i64::try_from(bytes).map_err(|_| TchError::Shape(format!("{bytes} bytes")))?;
        let plain = Tensor::f_zeros([bytes], (Kind::Uint8, Device::Cpu))?;
        Ok(Self(if device.is_cuda() { plain.f_pin_memory(device)? } else { plain }))
    }

    /// The bytes in place of what was there. The device has to be done with that.
    ///
    /// # Shapes
    /// `[n]` u8, on the CPU.
    #[expect(unsafe_code, reason = "tch has no call that writes into a tensor")]
    pub fn fill(&mut self, bytes: &[u8]) -> Result<&Tensor, TchError> {
        let size = self.0.size();
        if usize::try_from(size[0]) != Ok(bytes.len()) {
            return Err(TchError::Shape(format!("{} bytes for a place of {size:?}", bytes.len())));
        }
        // SAFETY: the tensor was made here, dense, of u8 and of this size, and nobody else has a reference that writes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.data_ptr().cast(), bytes.len()) };
        Ok(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_there_and_the_size_is_kept() {
        let mut pinned = Pinned::new(4, Device::Cpu).unwrap();
        assert_eq!(Vec::<u8>::try_from(pinned.fill(&[1, 2, 3, 250]).unwrap()).unwrap(), [1, 2, 3, 250]);
        assert_eq!(Vec::<u8>::try_from(pinned.fill(&[5, 6, 7, 8]).unwrap()).unwrap(), [5, 6, 7, 8]);
        assert!(pinned.fill(&[1, 2, 3]).is_err());
    }
}
