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
//! Convolutions are oneDNN's, on weights that are packed once for one picture and a number of threads: several pictures go
//! through one after another, with the threads that the weights are packed for, whoever asks. So a picture's score hangs
//! neither on what it is judged together with nor on the thread that judges.

mod aside;
mod convolution;
mod flow;
mod parameters;
mod scratch;
mod subnet;
mod trunk;

use tch::{Kind, TchError, Tensor};

use crate::cpu::map::channels_last;
use crate::engine::fused::aside::Aside;
use crate::engine::fused::flow::Flow;
use crate::engine::fused::parameters::Parameters;
use crate::engine::fused::trunk::Trunk;
use crate::engine::threads;
use crate::model::Scales;
use crate::model::features::Features;
use crate::model::network::Network;
use crate::model::pyramid::pyramid;

/// The whole network.
#[derive(Debug)]
pub struct Fused {
    trunks: Trunks,
    flow: Flow,
    /// Of the flow.
    threads: i32,
}

/// The backbone alone.
#[derive(Debug)]
pub struct Trunks {
    largest: Trunk,
    /// Has those for the smaller copies of the picture, if the network looks at any.
    others: Option<Aside>,
    /// How many there are in all.
    pictures: usize,
    precision: Kind,
    threads: Shares,
}

impl Fused {
    /// Rewrites a network that is on the CPU, for so many threads. `precision`, f32 or bf16, is that of the flow's
    /// convolutions, and of the backbone if its features are not whitened: whitening enlarges what varies little, and with
    /// it what rounding has added. All else is in f32.
    pub fn new(network: &Network, precision: Kind, threads: i32) -> Result<Self, TchError> {
        let _guard = tch::no_grad_guard();
        let of_trunk = if network.whitening.is_some() { Kind::Float } else { precision };
        let trunks = Trunks::new(network, of_trunk, threads)?;
        let threads = if Flow::is_worth_splitting(&network.architecture) { threads } else { 1 };
        let flow = threads::with(threads, || Flow::new(network, precision))?;
        Ok(Self { trunks, flow, threads })
    }

    /// The plain network's latent values of one picture, the channels of each scale in another order.
    ///
    /// # Shapes
    /// `[1, 3, S, S]`, f32, to `[1, C_s, H_s, W_s]`, f32.
    pub fn latent(&self, picture: &Tensor) -> Result<Scales, TchError> {
        let features = self.trunks.forward(picture)?;
        threads::with(self.threads, || self.flow.forward(&features))
    }
}

impl Trunks {
    pub fn new(network: &Network, precision: Kind, threads: i32) -> Result<Self, TchError> {
        let _guard = tch::no_grad_guard();
        let architecture = &network.architecture;
        let parameters = Parameters::of(&network.backbone_store);
        let pictures = match architecture.features {
            Features::Pyramid => architecture.flow.scales(),
            Features::Depths => 1,
        };
        let side = architecture.input_px;
        let threads = Shares::of(threads, pictures, side, precision);
        let trunk = |scale: usize| {
            Trunk::new(&parameters, architecture.backbone, architecture.taps(), side >> scale, precision)
        };
        let largest = threads::with(threads.largest, || trunk(0))?;
        let others =
            threads::with(threads.others, || (1..pictures).map(trunk).collect::<Result<Vec<_>, _>>())?;
        let others = if others.is_empty() { None } else { Some(Aside::start(others, threads.others)?) };
        Ok(Self { largest, others, pictures, precision, threads })
    }

    /// Raw features of one picture.
    ///
    /// # Shapes
    /// `[1, 3, S, S]`, f32, to `[1, C_s, H_s, W_s]`, f32.
    pub fn features(&self, picture: &Tensor) -> Result<Scales, TchError> {
        // A copy: the next picture writes over them.
        self.forward(picture)?.iter().map(|map| map.f_to_dtype(Kind::Float, false, true)).collect()
    }

    /// The same, channels last, as they come. They stay until the next picture.
    fn forward(&self, picture: &Tensor) -> Result<Scales, TchError> {
        let pictures = pyramid(&channels_last(&picture.f_to_kind(self.precision)?)?, self.pictures);
        let largest =
            || threads::with(self.threads.largest, || self.largest.forward(&pictures[0]).map(shared));
        let Some(others) = &self.others else { return largest() };
        let smaller = others.begin(&pictures[1..]);
        let (mut features, smaller) = if self.threads.at_once {
            (largest()?, smaller.finish()?)
        } else {
            let smaller = smaller.finish()?;
            (largest()?, smaller)
        };
        features.extend(smaller);
        Ok(features)
    }
}

fn shared(maps: Vec<&Tensor>) -> Scales {
    maps.into_iter().map(Tensor::shallow_clone).collect()
}

/// The threads for the largest picture and for the others.
#[derive(Clone, Copy, Debug)]
struct Shares {
    largest: i32,
    others: i32,
    /// Whether both go through at the same time.
    at_once: bool,
}

impl Shares {
    /// The others are a quarter of the work. Of two threads one for each is best as long as calls cost as much as what they
    /// compute.
    fn of(threads: i32, pictures: usize, side: i64, precision: Kind) -> Self {
        let small_px = if precision == Kind::Float { 384 } else { 640 };
        let others = (threads / 4).max(1);
        if pictures == 1 || threads == 1 || (threads == 2 && side > small_px) {
            Self { largest: threads, others: threads, at_once: false }
        } else {
            Self { largest: threads - others, others, at_once: true }
        }
    }
}

#[cfg(test)]
mod tests;
