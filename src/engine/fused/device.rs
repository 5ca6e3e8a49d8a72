//! The plan on a CUDA device: matrix products are cuBLAS's, the flow's convolutions cuDNN's, by libtorch, and all that lies between
//! them is in [kernels](crate::cuda::kernels) of our own. Pictures go through together.
//!
//! Maps lie with their channels next to one another, `[B, H, W, C]`. Latent values, biases and sums are in f32, whatever the
//! convolutions are in.
//!
//! It runs on a CPU as well, as exactly and slowly: so tests hold it to the plain network where there is no GPU.

mod branches;
mod convolution;
mod flow;
mod subnet;
mod trunk;

use tch::{Kind, TchError, Tensor};

use crate::cuda::Target;
use crate::engine::fused::device::branches::Branches;
use crate::engine::fused::device::flow::Flow;
use crate::engine::fused::device::trunk::Trunk;
use crate::engine::precision::Computed;
use crate::model::Scales;
use crate::model::network::Network;

/// Convolutions of a subnet that can run at the same time, but for the one in the thread's own stream.
const BRANCHES: usize = 6;

/// The whole network.
#[derive(Debug)]
pub(super) struct OnDevice {
    trunks: Trunks,
    flow: Flow,
}

/// The backbone alone.
#[derive(Debug)]
pub(super) struct Trunks {
    trunk: Trunk,
    /// How many pictures of a pyramid it looks at.
    pictures: usize,
    branches: Branches,
}

impl OnDevice {
    pub(super) fn new(network: &Network, computed: Computed) -> Result<Self, TchError> {
        let target = Target::of(network.device())?;
        let of_trunk = computed.of_backbone(network.whitening.is_some());
        let trunks = Trunks::on(&target, network, of_trunk)?;
        Ok(Self { trunks, flow: Flow::new(network, computed, &target)? })
    }

    /// # Shapes
    /// `[B, 3, S, S]`, f32, to `[B, C_s, H_s, W_s]`, f32.
    pub(super) fn latent(&self, pictures: &Tensor) -> Result<Scales, TchError> {
        let features = self.trunks.forward(pictures)?;
        let latent = self.flow.forward(&features, &self.trunks.branches)?;
        latent.iter().map(|scale| scale.f_permute([0, 3, 1, 2])).collect()
    }
}

impl Trunks {
    pub(super) fn new(network: &Network, computed: Computed) -> Result<Self, TchError> {
        Self::on(&Target::of(network.device())?, network, computed)
    }

    fn on(target: &Target, network: &Network, computed: Computed) -> Result<Self, TchError> {
        let trunk = Trunk::new(network, computed.kind(), target)?;
        let pictures = network.architecture.pictures();
        Ok(Self { trunk, pictures, branches: Branches::on(target, BRANCHES)? })
    }

    /// Raw features.
    ///
    /// # Shapes
    /// `[B, 3, S, S]`, f32, to `[B, C_s, H_s, W_s]`, f32.
    pub(super) fn features(&self, pictures: &Tensor) -> Result<Scales, TchError> {
        self.forward(pictures)?.iter().map(|map| map.f_permute([0, 3, 1, 2])?.f_contiguous()).collect()
    }

    /// `[B, H_s, W_s, C_s]`.
    fn forward(&self, pictures: &Tensor) -> Result<Scales, TchError> {
        let pixels = pictures.f_to_kind(Kind::Float)?.f_permute([0, 2, 3, 1])?.f_contiguous()?;
        // The smaller pictures of the pyramid are every second pixel, and every fourth.
        let look = |scale: usize| {
            let (pixels, trunk) = (&pixels, &self.trunk);
            move || trunk.forward(pixels, 1 << scale)
        };
        let features = self.branches.at_once((0..self.pictures).map(look).collect())?;
        Ok(features.into_iter().flatten().collect())
    }
}
