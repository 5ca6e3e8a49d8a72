//! The plain network rewritten for the CPU: the same numbers but for rounding, several times faster.
//!
//! What is rewritten, each exactly:
//!
//! - batch norm, gamma and the clamp's divisor are folded into weights;
//! - whitening is one convolution with a bias, its outputs in the order that the first block wants;
//! - the log-determinant is not computed;
//! - permutations are the places where the next block finds its halves;
//! - convolutions of a subnet that share an output are one, as far as they share a stride;
//! - activations, and the sums of skips, are fused into the convolution before them.
//!
//! Convolutions are oneDNN's, on weights that are packed once for one picture: several go through one after another. So a
//! picture's score does not hang on what it is judged together with.

mod convolution;
mod flow;
mod parameters;
mod subnet;
mod trunk;

use tch::{Kind, TchError, Tensor};

use crate::engine::fused::convolution::channels_last;
use crate::engine::fused::flow::Flow;
use crate::engine::fused::parameters::Parameters;
use crate::engine::fused::trunk::Trunk;
use crate::model::Scales;
use crate::model::features::Features;
use crate::model::network::Network;
use crate::model::pyramid::pyramid;

/// The whole network.
#[derive(Debug)]
pub struct Fused {
    trunks: Trunks,
    flow: Flow,
}

/// The backbone alone.
#[derive(Debug)]
pub struct Trunks {
    /// One for each size of picture, the largest first.
    each: Vec<Trunk>,
    precision: Kind,
}

impl Fused {
    /// Rewrites a network that is on the CPU. `precision`, f32 or bf16, is that of the backbone and of the flow's
    /// convolutions; the rest is in f32.
    pub fn new(network: &Network, precision: Kind) -> Result<Self, TchError> {
        let _guard = tch::no_grad_guard();
        Ok(Self { trunks: Trunks::new(network, precision)?, flow: Flow::new(network, precision)? })
    }

    /// The plain network's latent values of one picture, the channels of each scale in another order.
    ///
    /// # Shapes
    /// `[1, 3, S, S]`, f32, to `[1, C_s, H_s, W_s]`, f32.
    pub fn latent(&self, picture: &Tensor) -> Result<Scales, TchError> {
        self.flow.forward(&self.trunks.forward(picture)?)
    }
}

impl Trunks {
    pub fn new(network: &Network, precision: Kind) -> Result<Self, TchError> {
        let _guard = tch::no_grad_guard();
        let architecture = &network.architecture;
        let parameters = Parameters::of(&network.backbone_store);
        let pictures = match architecture.features {
            Features::Pyramid => architecture.flow.scales(),
            Features::Depths => 1,
        };
        let trunk = |scale: usize| {
            let side = architecture.input_px >> scale;
            Trunk::new(&parameters, architecture.backbone, architecture.taps(), side, precision)
        };
        Ok(Self { each: (0..pictures).map(trunk).collect::<Result<_, _>>()?, precision })
    }

    /// Raw features of one picture.
    ///
    /// # Shapes
    /// `[1, 3, S, S]`, f32, to `[1, C_s, H_s, W_s]`, f32.
    pub fn features(&self, picture: &Tensor) -> Result<Scales, TchError> {
        self.forward(picture)?.iter().map(|map| map.f_to_kind(Kind::Float)).collect()
    }

    /// The same, channels last, as they come.
    fn forward(&self, picture: &Tensor) -> Result<Scales, TchError> {
        let sizes = pyramid(&channels_last(&picture.f_to_kind(self.precision)?)?, self.each.len());
        let mut features = Vec::new();
        for (trunk, picture) in self.each.iter().zip(&sizes) {
            features.extend(trunk.forward(picture)?);
        }
        Ok(features)
    }
}

#[cfg(test)]
mod tests;
