//! The plain network rewritten: the same numbers but for rounding, several times faster.
//!
//! What is rewritten, each exactly:
//!
//! - batch norm, gamma and the clamp's divisor are folded into weights;
//! - whitening is one convolution with a bias, its outputs in the order that the first block wants;
//! - the log-determinant is not computed;
//! - permutations are the places where the next block finds its halves;
//! - convolutions that share an output add to it;
//! - activations, and the sums of skips, are fused into the convolution before them.
//!
//! What they become hangs on where they run: see `onednn` and `device`.

mod device;
mod folded;
mod layers;
mod onednn;
mod parameters;

use tch::{Device, TchError, Tensor};

use crate::engine::fused::device::OnDevice;
use crate::engine::fused::onednn::OnCpu;
use crate::engine::precision::Computed;
use crate::model::Scales;
use crate::model::network::Network;

/// The whole network.
#[derive(Debug)]
pub struct Fused(Where<OnCpu, OnDevice>);

/// The backbone alone.
#[derive(Debug)]
pub struct Trunks(Where<onednn::Trunks, device::Trunks>);

/// By what it is computed.
#[derive(Debug)]
enum Where<C, D> {
    Cpu(C),
    Device(D),
}

impl Fused {
    /// Rewrites a network, on a CPU for so many threads. `computed` is in what the flow's convolutions are, and the backbone
    /// if its features are not whitened: whitening enlarges what varies little, and with it what rounding has added. All else
    /// is in f32.
    pub fn new(network: &Network, computed: Computed, threads: i32) -> Result<Self, TchError> {
        let _guard = tch::no_grad_guard();
        Ok(Self(match network.device() {
            Device::Cpu => Where::Cpu(OnCpu::new(network, computed, threads)?),
            _ => Where::Device(OnDevice::new(network, computed)?),
        }))
    }

    /// Whether pictures go through together.
    pub fn takes_batches(&self) -> bool {
        matches!(self.0, Where::Device(_))
    }

    /// The plain network's latent values, the channels of each scale in another order. One picture, unless it
    /// [takes batches](Self::takes_batches).
    ///
    /// # Shapes
    /// `[B, 3, S, S]`, f32, to `[B, C_s, H_s, W_s]`, f32.
    pub fn latent(&self, pictures: &Tensor) -> Result<Scales, TchError> {
        match &self.0 {
            Where::Cpu(network) => network.latent(pictures),
            Where::Device(network) => network.latent(pictures),
        }
    }
}

impl Trunks {
    /// In `computed`, whether features are whitened or not.
    pub fn new(network: &Network, computed: Computed, threads: i32) -> Result<Self, TchError> {
        let _guard = tch::no_grad_guard();
        Ok(Self(match network.device() {
            Device::Cpu => Where::Cpu(onednn::Trunks::new(network, computed, threads)?),
            _ => Where::Device(device::Trunks::new(network, computed)?),
        }))
    }

    /// Whether pictures go through together.
    pub fn takes_batches(&self) -> bool {
        matches!(self.0, Where::Device(_))
    }

    /// Raw features of one picture, or of several if it [takes batches](Self::takes_batches).
    ///
    /// # Shapes
    /// `[B, 3, S, S]`, f32, to `[B, C_s, H_s, W_s]`, f32.
    pub fn features(&self, pictures: &Tensor) -> Result<Scales, TchError> {
        match &self.0 {
            Where::Cpu(trunks) => trunks.features(pictures),
            Where::Device(trunks) => trunks.features(pictures),
        }
    }
}

#[cfg(test)]
mod tests;
