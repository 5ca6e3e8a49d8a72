//! The plain network rewritten: the same numbers but for rounding, several times faster.
//!
//! What is rewritten, each exactly:
//!
//! - batch norm, gamma and the clamp's divisor are folded into weights;
//! - whitening is one convolution with a bias, its outputs in the order that the first block wants;
//! - the log-determinant is not computed;
//! - permutations are the places where the next block finds its halves;
//! - what a subnet hears of a coarser scale is computed there and then enlarged: see [`enlarged`](crate::cpu::enlarged);
//! - convolutions that share an output add to it;
//! - activations, and the sums of skips, are fused into the convolution before them.
//!
//! On the CPU convolutions are oneDNN's, on weights that are packed once for one picture and a number of threads: several
//! pictures go through one after another, with the threads that the weights are packed for, whoever asks. So a picture's
//! score hangs neither on what it is judged together with nor on the thread that judges.
//!
//! On a CUDA device they are cuDNN's, by libtorch, and pictures go through together. Couplings are in f32 there too, and so
//! are the sums within a convolution.

mod aside;
mod convolution;
mod flow;
mod libtorch;
mod parameters;
mod scratch;
mod subnet;
mod trunk;

use tch::{Device, Kind, TchError, Tensor};

use crate::cpu::map::channels_last;
use crate::cuda::stream::Stream;
use crate::engine::fused::aside::{Aside, features};
use crate::engine::fused::convolution::{Computing, Kernels};
use crate::engine::fused::flow::Flow;
use crate::engine::fused::parameters::Parameters;
use crate::engine::fused::trunk::Trunk;
use crate::engine::precision::Computed;
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
    /// For the smaller copies of the picture, if the network looks at any.
    others: Others,
    /// How many there are in all.
    pictures: usize,
    computing: Computing,
    threads: Shares,
}

#[derive(Debug)]
enum Others {
    None,
    /// By a second thread of the CPU.
    Aside(Aside),
    /// By the device, in a stream beside the first where there is one.
    Beside(Vec<Trunk>, Option<Stream>),
}

impl Fused {
    /// Rewrites a network, on a CPU for so many threads. `computed` is in what the flow's convolutions are, and the backbone
    /// if its features are not whitened: whitening enlarges what varies little, and with it what rounding has added. All else
    /// is in f32.
    pub fn new(network: &Network, computed: Computed, threads: i32) -> Result<Self, TchError> {
        Self::by(Library::of(network.device()), network, computed, threads)
    }

    fn by(library: Library, network: &Network, computed: Computed, threads: i32) -> Result<Self, TchError> {
        let _guard = tch::no_grad_guard();
        let of_trunk = if network.whitening.is_some() { computed.behind_whitening() } else { computed };
        let trunks = Trunks::by(network, library.computing(of_trunk), threads)?;
        let threads = if Flow::is_worth_splitting(&network.architecture) { threads } else { 1 };
        let flow = threads::with(threads, || Flow::new(network, library.computing(computed)))?;
        Ok(Self { trunks, flow, threads })
    }

    /// Whether pictures go through together.
    pub fn takes_batches(&self) -> bool {
        self.trunks.takes_batches()
    }

    /// The plain network's latent values, the channels of each scale in another order. One picture, unless it
    /// [takes batches](Self::takes_batches).
    ///
    /// # Shapes
    /// `[B, 3, S, S]`, f32, to `[B, C_s, H_s, W_s]`, f32.
    pub fn latent(&self, pictures: &Tensor) -> Result<Scales, TchError> {
        let features = self.trunks.forward(pictures)?;
        threads::with(self.threads, || self.flow.forward(&features))
    }
}

impl Trunks {
    pub fn new(network: &Network, computed: Computed, threads: i32) -> Result<Self, TchError> {
        Self::by(network, Library::of(network.device()).computing(computed), threads)
    }

    fn by(network: &Network, computing: Computing, threads: i32) -> Result<Self, TchError> {
        let _guard = tch::no_grad_guard();
        let architecture = &network.architecture;
        let parameters = Parameters::of(&network.backbone_store);
        let pictures = match architecture.features {
            Features::Pyramid => architecture.flow.scales(),
            Features::Depths => 1,
        };
        let side = architecture.input_px;
        let threads = Shares::of(threads, pictures, side, computing.kind);
        let trunk = |scale: usize| {
            Trunk::new(&parameters, architecture.backbone, architecture.taps(), side >> scale, computing)
        };
        let largest = threads::with(threads.largest, || trunk(0))?;
        let others =
            threads::with(threads.others, || (1..pictures).map(trunk).collect::<Result<Vec<_>, _>>())?;
        let others = match (others.is_empty(), computing.kernels) {
            (true, _) => Others::None,
            (false, Kernels::OneDnn) => Others::Aside(Aside::start(others, threads.others)?),
            (false, Kernels::Libtorch { .. }) => Others::Beside(others, stream_on(network.device())),
        };
        Ok(Self { largest, others, pictures, computing, threads })
    }

    /// Whether pictures go through together.
    pub fn takes_batches(&self) -> bool {
        self.computing.kernels != Kernels::OneDnn
    }

    /// Raw features of one picture, or of several if it [takes batches](Self::takes_batches).
    ///
    /// # Shapes
    /// `[B, 3, S, S]`, f32, to `[B, C_s, H_s, W_s]`, f32.
    pub fn features(&self, pictures: &Tensor) -> Result<Scales, TchError> {
        // A copy: the next picture writes over them.
        self.forward(pictures)?.iter().map(|map| map.f_to_dtype(Kind::Float, false, true)).collect()
    }

    /// The same, channels last, as they come. They stay until the next picture.
    fn forward(&self, pictures: &Tensor) -> Result<Scales, TchError> {
        let pictures = pyramid(&channels_last(&pictures.f_to_kind(self.computing.kind)?)?, self.pictures);
        let largest = || threads::with(self.threads.largest, || self.largest.forward(&pictures[0]));
        let (mut features, smaller) = match &self.others {
            Others::None => (largest()?, Vec::new()),
            Others::Aside(aside) => {
                let smaller = aside.begin(&pictures[1..]);
                if self.threads.at_once {
                    (largest()?, smaller.finish()?)
                } else {
                    let smaller = smaller.finish()?;
                    (largest()?, smaller)
                }
            }
            Others::Beside(trunks, None) => (largest()?, features(trunks, &pictures[1..])?),
            Others::Beside(trunks, Some(stream)) => {
                let (beside, smaller) = stream.beside(|| features(trunks, &pictures[1..]))?;
                let features = largest()?;
                beside.join()?;
                (features, smaller)
            }
        };
        features.extend(smaller);
        Ok(features)
    }
}

/// Whose convolutions they are.
#[derive(Clone, Copy, Debug)]
enum Library {
    OneDnn,
    Libtorch,
}

impl Library {
    fn of(device: Device) -> Self {
        if device == Device::Cpu { Self::OneDnn } else { Self::Libtorch }
    }

    fn computing(self, computed: Computed) -> Computing {
        let kernels = match self {
            Self::OneDnn => Kernels::OneDnn,
            Self::Libtorch => Kernels::Libtorch { tf32: computed != Computed::F32 },
        };
        Computing { kernels, kind: computed.kind() }
    }
}

/// None where the device has none, or csflowd no way to them: then all is done in one.
fn stream_on(device: Device) -> Option<Stream> {
    match device {
        Device::Cuda(index) => Stream::new(index).ok(),
        _ => None,
    }
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
