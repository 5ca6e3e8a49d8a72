//! Maps as oneDNN takes them: `[B, C, H, W]` with the channels next to one another in memory.

use tch::{Device, Kind, TchError, Tensor};

/// A map of zeros.
pub fn zeros([batch, channels, height, width]: [i64; 4], kind: Kind) -> Result<Tensor, TchError> {
    Tensor::f_zeros([batch, height, width, channels], (kind, Device::Cpu))?.f_permute([0, 3, 1, 2])
}

/// A map whose values are yet to be written.
pub fn empty([batch, channels, height, width]: [i64; 4], kind: Kind) -> Result<Tensor, TchError> {
    Tensor::f_empty([batch, height, width, channels], (kind, Device::Cpu))?.f_permute([0, 3, 1, 2])
}

/// The same map in this layout.
pub fn channels_last(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}
