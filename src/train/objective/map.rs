//! Maps as oneDNN takes them: `[B, C, H, W]` with the channels last in memory.

use tch::{Device, Kind, TchError, Tensor};

/// A map whose values are yet to be written.
pub(super) fn empty(size: [i64; 4], kind: Kind) -> Result<Tensor, TchError> {
    let [batch, channels, height, width] = size;
    Tensor::f_empty([batch, height, width, channels], (kind, Device::Cpu))?.f_permute([0, 3, 1, 2])
}

/// The same map, dense and with its channels last.
pub(super) fn dense(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// The channels at `order`, `[n]`.
pub(super) fn channels(x: &Tensor, order: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_index_select(3, order)?.f_permute([0, 3, 1, 2])
}
