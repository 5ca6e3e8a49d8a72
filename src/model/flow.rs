//! The cross-scale flow: blocks of a channel permutation and a coupling, from features to a standard normal.
//!
//! Paper, section 3.2; research code, `model.py`, `get_cs_flow_model`.

pub mod coupling;
pub mod cross_scale;

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::model::flow::coupling::Coupling;
use crate::model::{Scales, share};

/// Size of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowConfig {
    /// Channels of the feature map of each scale, the largest map first. As many as the flow has scales.
    pub channels: Vec<i64>,
    /// Channels of the hidden layer of each subnet.
    pub hidden: i64,
    /// Kernel of each block, one entry a block; odd.
    pub kernels: Vec<i64>,
    /// Whether each scale hears its neighbours; otherwise the scales are flows side by side.
    pub cross_scale: bool,
    /// Limit of the log-scale, alpha in the paper's equation 4.
    pub clamp: f64,
}

impl FlowConfig {
    pub fn scales(&self) -> usize {
        self.channels.len()
    }

    /// How many parameters a flow of this size has.
    pub fn values(&self) -> usize {
        let values = self.kernels.iter().map(|&kernel| Coupling::values(self, kernel)).sum::<i64>();
        usize::try_from(values).expect("sizes are positive")
    }
}

/// The channel order a block takes at each scale: `x[:, order]`.
pub type Permutation = Vec<Vec<i64>>;

/// An invertible map between features and latent values, both `[B, C_s, H_s, W_s]` at scale s, where each scale
/// is half as wide and high as the one before.
#[derive(Debug)]
pub struct Flow {
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    order: Scales,
    inverse_order: Scales,
    coupling: Coupling,
}

impl Flow {
    /// `permutations` has one entry a block, each an order of `config.channels` channels.
    pub fn new(path: &nn::Path<'_>, config: &FlowConfig, permutations: &[Permutation]) -> Self {
        assert_eq!(config.kernels.len(), permutations.len(), "one permutation a block");
        let block = |(index, (&kernel, orders)): (usize, (&i64, &Permutation))| {
            assert_eq!(config.scales(), orders.len(), "one order a scale");
            let order: Scales =
                orders.iter().map(|order| Tensor::from_slice(order).to_device(path.device())).collect();
            let inverse_order = order.iter().map(|order| order.argsort(0, false)).collect();
            let coupling = Coupling::new(&(path / "block" / index), config, kernel);
            Block { order, inverse_order, coupling }
        };
        Self { blocks: config.kernels.iter().zip(permutations).enumerate().map(block).collect() }
    }

    /// Features to latent values, and the logarithm of the Jacobian's determinant, `[B]`, for each scale.
    pub fn forward(&self, features: &[Tensor]) -> (Scales, Scales) {
        let batch = features[0].size()[0];
        let none = |x: &Tensor| Tensor::zeros([batch], (x.kind(), x.device()));
        let mut log_det: Scales = features.iter().map(none).collect();
        let mut x = share(features);
        for block in &self.blocks {
            let (y, block_log_det) = block.coupling.forward(&reordered(&x, &block.order));
            x = y;
            log_det = log_det.iter().zip(&block_log_det).map(|(sum, one)| sum + one).collect();
        }
        (x, log_det)
    }

    /// Latent values to features: undoes [`Flow::forward`].
    pub fn inverse(&self, latent: &[Tensor]) -> Scales {
        let mut x = share(latent);
        for block in self.blocks.iter().rev() {
            x = reordered(&block.coupling.inverse(&x), &block.inverse_order);
        }
        x
    }
}

fn reordered(x: &[Tensor], orders: &[Tensor]) -> Scales {
    x.iter().zip(orders).map(|(x, order)| x.index_select(1, order)).collect()
}

/// Mean over the batch of `(||z||^2 / 2 - log det) / D`, where D counts the latent values of one sample: the
/// negative log-likelihood per value, without its constant. Paper, equation 6; research code, `utils.py`,
/// `get_loss`.
pub fn loss(latent: &[Tensor], log_det: &[Tensor]) -> Tensor {
    let values: i64 = latent.iter().map(|z| z.size()[1..].iter().product::<i64>()).sum();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 values")]
    let values = values as f64;
    let energy = |z: &Tensor| z.square().sum_dim_intlist([1, 2, 3].as_slice(), false, None) * 0.5;
    let each: Tensor = latent.iter().zip(log_det).map(|(z, log_det)| energy(z) - log_det).sum();
    each.mean(None) / values
}

#[cfg(test)]
mod tests;
