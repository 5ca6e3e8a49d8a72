//! The cross-scale flow: blocks of a channel permutation and a coupling, from features to a standard normal.
//!
//! Paper, section 3.2; research code, `model.py`, `get_cs_flow_model`.

pub mod coupling;
pub mod cross_scale;

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::model::flow::coupling::Coupling;
use crate::model::{SCALES, Scales, share};

/// Size of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowConfig {
    /// Channels of the feature maps.
    pub channels: i64,
    /// Channels of the hidden layer of each subnet.
    pub hidden: i64,
    /// Kernel of each block, one entry a block; odd.
    pub kernels: Vec<i64>,
    /// Limit of the log-scale, alpha in the paper's equation 4.
    pub clamp: f64,
}

impl FlowConfig {
    /// How many parameters a flow of this size has.
    pub fn values(&self) -> usize {
        let values = self.kernels.iter().map(|&kernel| Coupling::values(self, kernel)).sum::<i64>();
        usize::try_from(values).expect("sizes are positive")
    }
}

/// The channel order a block takes at each scale: `x[:, order]`.
pub type Permutation = [Vec<i64>; SCALES];

/// An invertible map between features and latent values, both `[B, C, H_s, W_s]` at scale s, where each scale
/// is half as wide and high as the one before.
#[derive(Debug)]
pub struct Flow {
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    order: [Tensor; SCALES],
    inverse_order: [Tensor; SCALES],
    coupling: Coupling,
}

impl Flow {
    /// `permutations` has one entry a block, each an order of `config.channels` channels.
    pub fn new(path: &nn::Path<'_>, config: &FlowConfig, permutations: &[Permutation]) -> Self {
        assert_eq!(config.kernels.len(), permutations.len(), "one permutation a block");
        let block = |(index, (&kernel, order)): (usize, (&i64, &Permutation))| {
            let order: [Tensor; SCALES] =
                std::array::from_fn(|s| Tensor::from_slice(&order[s]).to_device(path.device()));
            let inverse_order = std::array::from_fn(|s| order[s].argsort(0, false));
            let coupling = Coupling::new(&(path / "block" / index), config, kernel);
            Block { order, inverse_order, coupling }
        };
        Self { blocks: config.kernels.iter().zip(permutations).enumerate().map(block).collect() }
    }

    /// Features to latent values, and the logarithm of the Jacobian's determinant, `[B]`, for each scale.
    pub fn forward(&self, features: &Scales) -> (Scales, Scales) {
        let batch = features[0].size()[0];
        let none = || Tensor::zeros([batch], (features[0].kind(), features[0].device()));
        let mut log_det: Scales = std::array::from_fn(|_| none());
        let mut x = share(features);
        for block in &self.blocks {
            x = std::array::from_fn(|s| x[s].index_select(1, &block.order[s]));
            let (y, block_log_det) = block.coupling.forward(&x);
            x = y;
            log_det = std::array::from_fn(|s| &log_det[s] + &block_log_det[s]);
        }
        (x, log_det)
    }

    /// Latent values to features: undoes [`Flow::forward`].
    pub fn inverse(&self, latent: &Scales) -> Scales {
        let mut x = share(latent);
        for block in self.blocks.iter().rev() {
            let y = block.coupling.inverse(&x);
            x = std::array::from_fn(|s| y[s].index_select(1, &block.inverse_order[s]));
        }
        x
    }
}

/// Mean over the batch of `(||z||^2 / 2 - log det) / D`, where D counts the latent values of one sample: the
/// negative log-likelihood per value, without its constant. Paper, equation 6; research code, `utils.py`,
/// `get_loss`.
pub fn loss(latent: &Scales, log_det: &Scales) -> Tensor {
    let values: i64 = latent.iter().map(|z| z.size()[1..].iter().product::<i64>()).sum();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 values")]
    let values = values as f64;
    let energy = |z: &Tensor| z.square().sum_dim_intlist([1, 2, 3].as_slice(), false, None) * 0.5;
    let each: Tensor = (0..SCALES).map(|s| energy(&latent[s]) - &log_det[s]).sum();
    each.mean(None) / values
}
