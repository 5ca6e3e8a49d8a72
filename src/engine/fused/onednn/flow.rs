//! The flow without its log-determinant: each half of the channels as a tensor of its own, permutations as the places
//! from which the next block gathers its halves.

use tch::{Kind, TchError, Tensor};

use crate::cpu::{Activation, map};
use crate::engine::fused::folded::POINTWISE;
use crate::engine::fused::layers::{self, WhichSubnet};
use crate::engine::fused::onednn::convolution::{Convolution, Output};
use crate::engine::fused::onednn::subnet::Subnet;
use crate::engine::fused::parameters::Parameters;
use crate::model::Scales;
use crate::model::architecture::Architecture;
use crate::model::flow::FlowConfig;
use crate::model::flow::coupling::{LATENT_LIMIT, SOFT_CLAMP};
use crate::model::network::Network;

/// Multiplications of the largest convolution that take a core a fifth of a millisecond: longer than threads need to meet.
const SPLIT_FROM: i64 = 10_000_000;

#[derive(Debug)]
pub(super) struct Flow {
    entries: Vec<Entry>,
    blocks: Vec<Block>,
    /// Factor of the arc tangent in the exponent.
    exponent: f64,
}

/// How the features of one scale become the halves that the first block takes.
#[derive(Debug)]
struct Entry {
    /// Whitening with its outputs in the order that the first block takes them.
    whitening: Option<Convolution>,
    /// Where the first block finds its halves in the features, if they are not whitened.
    halves: Halves,
}

#[derive(Debug)]
struct Block {
    /// Where each scale's halves are in the block's output before.
    halves: Vec<Halves>,
    s1: Subnet,
    s2: Subnet,
}

/// Channels, `[n]`, that become the first and the second half.
#[derive(Debug)]
struct Halves {
    first: Tensor,
    second: Tensor,
}

/// The two halves of one scale, `[1, H, W, C / 2]`, contiguous, f32.
struct Pair {
    first: Tensor,
    second: Tensor,
}

impl Flow {
    /// With the maps and weights of its convolutions in `element`.
    pub(super) fn new(network: &Network, element: Kind) -> Result<Self, TchError> {
        let architecture = &network.architecture;
        let parameters = Parameters::of(&network.flow_store);
        let shapes = architecture.shapes();
        let mut blocks = Vec::with_capacity(network.permutations.len());
        for (block, orders) in network.permutations.iter().enumerate() {
            let subnet = |reads_first: bool| {
                let layers = layers::subnet(&parameters, architecture, WhichSubnet { block, reads_first })?;
                Subnet::new(layers, &shapes, element)
            };
            let halves = orders.iter().map(|order| Halves::of(order)).collect();
            blocks.push(Block { halves, s1: subnet(true)?, s2: subnet(false)? });
        }
        let entries = (0..shapes.len()).map(|scale| Entry::new(network, scale)).collect::<Result<_, _>>()?;
        Ok(Self { entries, blocks, exponent: architecture.flow.clamp * SOFT_CLAMP })
    }

    /// Whether several threads are faster than one: they wait for one another in each convolution.
    pub(super) fn is_worth_splitting(architecture: &Architecture) -> bool {
        let FlowConfig { hidden, kernels, .. } = &architecture.flow;
        let [channels, height, width] = architecture.shapes()[0];
        let kernel = kernels.iter().max().copied().unwrap_or(1);
        2 * hidden * channels * kernel * kernel * height * width >= SPLIT_FROM
    }

    /// Features to latent values, the channels of each scale in an order of no meaning.
    ///
    /// # Shapes
    /// `[1, C_s, H_s, W_s]`, channels last, to the same in f32.
    pub(super) fn forward(&self, features: &[Tensor]) -> Result<Scales, TchError> {
        let mut pairs: Vec<Pair> = self
            .entries
            .iter()
            .zip(features)
            .map(|(entry, features)| entry.enter(features))
            .collect::<Result<_, _>>()?;
        for (index, block) in self.blocks.iter().enumerate() {
            if index > 0 {
                let gathered = block.halves.iter().zip(&pairs).map(|(halves, pair)| halves.of_pair(pair));
                pairs = gathered.collect::<Result<_, _>>()?;
            }
            self.couple(block, &mut pairs)?;
        }
        pairs.iter().map(|pair| pair.joined()?.f_permute([0, 3, 1, 2])).collect()
    }

    fn couple(&self, block: &Block, pairs: &mut [Pair]) -> Result<(), TchError> {
        let second: Vec<&Tensor> = pairs.iter().map(|pair| &pair.second).collect();
        let said = block.s2.forward(&second)?;
        for (pair, said) in pairs.iter_mut().zip(&said) {
            pair.first = self.affine(said, &pair.first)?;
        }
        let first: Vec<&Tensor> = pairs.iter().map(|pair| &pair.first).collect();
        let said = block.s1.forward(&first)?;
        for (pair, said) in pairs.iter_mut().zip(&said) {
            pair.second = self.affine(said, &pair.second)?;
            for half in [&mut pair.first, &mut pair.second] {
                *half = half.f_clamp_(-LATENT_LIMIT, LATENT_LIMIT)?;
            }
        }
        Ok(())
    }

    /// Scales and shifts `x` by what a subnet says, in f32.
    fn affine(&self, said: &Tensor, x: &Tensor) -> Result<Tensor, TchError> {
        let channels = x.size()[3];
        let mut log_scale = said.f_narrow(3, 0, channels)?.f_atan()?;
        let scale = log_scale.f_mul_scalar_(self.exponent)?.f_exp_()?;
        said.f_narrow(3, channels, channels)?.f_addcmul(&scale, x)
    }
}

impl Entry {
    fn new(network: &Network, scale: usize) -> Result<Self, TchError> {
        let [channels, height, width] = network.architecture.shapes()[scale];
        let size = [1, channels, height, width];
        let pack = |folded| {
            let y = Output::To(map::zeros(size, Kind::Float)?);
            Convolution::new(&folded, POINTWISE, Activation::None, (size, Kind::Float), y)
        };
        let whitening = layers::whitening(network, scale)?.map(pack).transpose()?;
        Ok(Self { whitening, halves: Halves::of(&network.permutations[0][scale]) })
    }

    fn enter(&self, features: &Tensor) -> Result<Pair, TchError> {
        let features = features.f_to_kind(Kind::Float)?;
        let Some(whitening) = &self.whitening else {
            return self.halves.gather(&features.f_permute([0, 2, 3, 1])?);
        };
        let x = whitening.forward(&features)?.f_permute([0, 2, 3, 1])?;
        let (n, m) = self.halves.sizes();
        Ok(Pair { first: x.f_narrow(3, 0, n)?.f_contiguous()?, second: x.f_narrow(3, n, m)?.f_contiguous()? })
    }
}

impl Halves {
    fn of(order: &[i64]) -> Self {
        let (first, second) = order.split_at(order.len() / 2);
        let [first, second] = [first, second].map(Tensor::from_slice);
        Self { first, second }
    }

    fn sizes(&self) -> (i64, i64) {
        (self.first.size()[0], self.second.size()[0])
    }

    fn of_pair(&self, pair: &Pair) -> Result<Pair, TchError> {
        self.gather(&pair.joined()?)
    }

    /// # Shapes
    /// `[1, H, W, C]`.
    fn gather(&self, x: &Tensor) -> Result<Pair, TchError> {
        Ok(Pair { first: x.f_index_select(3, &self.first)?, second: x.f_index_select(3, &self.second)? })
    }
}

impl Pair {
    fn joined(&self) -> Result<Tensor, TchError> {
        Tensor::f_cat(&[&self.first, &self.second], 3)
    }
}
