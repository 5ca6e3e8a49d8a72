//! The flow without its log-determinant: each half of the channels as a tensor of its own, permutations as the places from which
//! the next block gathers its halves.
//!
//! Scales go side by side and meet twice in each coupling: before the hidden layers are read by their neighbours, and before the
//! halves change.

use tch::{Kind, TchError, Tensor};

use crate::cuda::Target;
use crate::cuda::kernels::flow::{FlowKernels, Order, Pair, Said};
use crate::engine::fused::device::branches::Branches;
use crate::engine::fused::device::subnet::{Hidden, Subnet};
use crate::engine::fused::layers::{self, WhichSubnet};
use crate::engine::fused::parameters::Parameters;
use crate::engine::precision::Computed;
use crate::model::Scales;
use crate::model::flow::coupling::{LATENT_LIMIT, SOFT_CLAMP};
use crate::model::network::Network;

#[derive(Debug)]
pub(super) struct Flow {
    kernels: FlowKernels,
    entries: Vec<Entry>,
    /// `s2` and `s1` of each block.
    couplings: Vec<Coupling>,
    /// Factor of the arc tangent in the exponent.
    exponent: f32,
    limit: f32,
}

/// How the features of one scale become the halves that the first block takes.
#[derive(Debug)]
struct Entry {
    /// `[C, C]` and `[C]`, f32, with its outputs in the order that the first block takes them.
    whitening: Option<(Tensor, Tensor)>,
    order: Order,
}

#[derive(Debug)]
struct Coupling {
    subnet: Subnet,
    changes: Half,
    /// Behind the last coupling of a block: how each scale's channels go to the next block, or out.
    orders: Option<Vec<Order>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    First,
    Second,
}

/// One scale between two couplings.
struct State {
    pair: Pair,
    /// What the next subnet reads; None behind the last.
    heard: Option<Tensor>,
}

impl Flow {
    /// With the maps and weights of its convolutions as `computed` has them.
    pub(super) fn new(network: &Network, computed: Computed, target: &Target) -> Result<Self, TchError> {
        let architecture = &network.architecture;
        let parameters = Parameters::of(&network.flow_store);
        let (element, is_tf32) = (computed.kind(), computed != Computed::F32);
        let kernels = FlowKernels::new(element, target)?;
        let entry = |scale| Entry::new(network, scale, &kernels);
        let entries = (0..architecture.flow.scales()).map(entry).collect::<Result<_, _>>()?;
        let mut couplings = Vec::new();
        for block in 0..network.permutations.len() {
            for (reads_first, changes) in [(false, Half::First), (true, Half::Second)] {
                let layers = layers::subnet(&parameters, architecture, WhichSubnet { block, reads_first })?;
                let is_last = changes == Half::Second;
                let orders = is_last.then(|| orders(network, block + 1, &kernels)).transpose()?;
                couplings.push(Coupling {
                    subnet: Subnet::new(layers, (element, is_tf32))?,
                    changes,
                    orders,
                });
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "values are in f32")]
        let [exponent, limit] =
            [architecture.flow.clamp * SOFT_CLAMP, LATENT_LIMIT].map(|number| number as f32);
        Ok(Self { kernels, entries, couplings, exponent, limit })
    }

    /// Features to latent values, the channels of each scale in an order of no meaning.
    ///
    /// # Shapes
    /// `[B, H_s, W_s, C_s]`, f32, to the same.
    pub(super) fn forward(&self, features: &[Tensor], branches: &Branches) -> Result<Scales, TchError> {
        let first = self.couplings.first().ok_or_else(|| TchError::Shape("a flow without blocks".into()))?;
        let enter = |(s, features): (usize, &'_ Tensor)| {
            let features = features.shallow_clone();
            move || self.listening(self.entries[s].enter(&features, &self.kernels)?, s, Some(first))
        };
        let mut all = branches.at_once(features.iter().enumerate().map(enter).collect())?;
        for (index, coupling) in self.couplings.iter().enumerate() {
            let (states, hidden): (Vec<State>, Vec<Option<Hidden>>) = all.into_iter().unzip();
            let hidden: Vec<Hidden> = hidden.into_iter().flatten().collect();
            let answers = coupling.subnet.say(&hidden, branches)?;
            let next = self.couplings.get(index + 1);
            let turns = states.into_iter().zip(&answers).enumerate().map(|(s, (state, answer))| {
                let said = answer.said();
                move || self.listening(self.couple((coupling, s), state, said, next.is_some())?, s, next)
            });
            all = branches.at_once(turns.collect())?;
        }
        Ok(all.into_iter().map(|(state, _)| state.pair.first).collect())
    }

    /// With what the next subnet hears of it.
    fn listening(
        &self,
        state: State,
        s: usize,
        next: Option<&Coupling>,
    ) -> Result<(State, Option<Hidden>), TchError> {
        let hidden = match (next, &state.heard) {
            (Some(next), Some(heard)) => Some(next.subnet.scales[s].hear(heard, &self.kernels)?),
            _ => None,
        };
        Ok((state, hidden))
    }

    fn couple(
        &self,
        (coupling, s): (&Coupling, usize),
        State { pair, .. }: State,
        said: Said<'_>,
        goes_on: bool,
    ) -> Result<State, TchError> {
        let half = match coupling.changes {
            Half::First => &pair.first,
            Half::Second => &pair.second,
        };
        let Some(orders) = &coupling.orders else {
            let heard = self.kernels.couple(said, half, self.exponent, true)?;
            return Ok(State { pair, heard });
        };
        self.kernels.couple(said, half, self.exponent, false)?;
        let halves = (&pair.first, Some(&pair.second));
        let (pair, heard) = self.kernels.gather(halves, &orders[s], self.limit, goes_on)?;
        Ok(State { pair, heard })
    }
}

impl Entry {
    fn new(network: &Network, scale: usize, kernels: &FlowKernels) -> Result<Self, TchError> {
        let order = &network.permutations[0][scale];
        let whitening = layers::whitening(network, scale)?.map(|folded| {
            let float = |tensor: &Tensor| tensor.f_contiguous()?.f_to_kind(Kind::Float);
            Ok::<_, TchError>((float(&folded.matrix()?)?, float(&folded.bias)?))
        });
        let whitening = whitening.transpose()?;
        let as_it_is: Vec<i64> = (0..).take(order.len()).collect();
        let order = if whitening.is_some() { &as_it_is } else { order };
        Ok(Self { whitening, order: kernels.order(order, half(order.len()))? })
    }

    fn enter(&self, features: &Tensor, kernels: &FlowKernels) -> Result<State, TchError> {
        let size = features.size();
        let features = match &self.whitening {
            None => features.shallow_clone(),
            Some((matrix, bias)) => {
                let cells = features.f_view([-1, size[3]])?;
                bias.f_addmm(&cells, &matrix.f_transpose(0, 1)?)?.f_view(size.as_slice())?
            }
        };
        let (pair, heard) = kernels.gather((&features, None), &self.order, f32::INFINITY, true)?;
        Ok(State { pair, heard })
    }
}

/// Of each scale's channels into a block, or out behind the last.
fn orders(network: &Network, block: usize, kernels: &FlowKernels) -> Result<Vec<Order>, TchError> {
    if let Some(orders) = network.permutations.get(block) {
        return orders.iter().map(|order| kernels.order(order, half(order.len()))).collect();
    }
    let shapes = network.architecture.shapes();
    let as_it_is = |&[channels, ..]: &[i64; 3]| kernels.order(&(0..channels).collect::<Vec<_>>(), channels);
    shapes.iter().map(as_it_is).collect()
}

/// How many of so many channels are the first half.
fn half(channels: usize) -> i64 {
    i64::try_from(channels / 2).unwrap_or(i64::MAX)
}
