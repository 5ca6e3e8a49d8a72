//! The plan on the CPU: convolutions are oneDNN's, on weights that are packed once for one picture and a number of threads.
//!
//! Several pictures go through one after another, with the threads that the weights are packed for, whoever asks. So a picture's
//! score hangs neither on what it is judged together with nor on the thread that judges.

mod aside;
mod convolution;
mod flow;
mod scratch;
mod subnet;
mod trunk;

use tch::{Kind, TchError, Tensor};

use crate::cpu::map::channels_last;
use crate::engine::fused::onednn::aside::Aside;
use crate::engine::fused::onednn::flow::Flow;
use crate::engine::fused::onednn::trunk::Trunk;
use crate::engine::fused::parameters::Parameters;
use crate::engine::precision::Computed;
use crate::engine::threads;
use crate::model::Scales;
use crate::model::network::Network;
use crate::model::pyramid::pyramid;

/// The whole network.
#[derive(Debug)]
pub(super) struct OnCpu {
    trunks: Trunks,
    flow: Flow,
    /// Of the flow.
    threads: i32,
}

/// The backbone alone.
#[derive(Debug)]
pub(super) struct Trunks {
    largest: Trunk,
    /// By a second thread, for the smaller copies of the picture, if the network looks at any.
    aside: Option<Aside>,
    /// How many pictures there are in all.
    pictures: usize,
    element: Kind,
    threads: Shares,
}

impl OnCpu {
    pub(super) fn new(network: &Network, computed: Computed, threads: i32) -> Result<Self, TchError> {
        let trunks = Trunks::new(network, computed.of_backbone(network.whitening.is_some()), threads)?;
        let threads = if Flow::is_worth_splitting(&network.architecture) { threads } else { 1 };
        let flow = threads::with(threads, || Flow::new(network, computed.kind()))?;
        Ok(Self { trunks, flow, threads })
    }

    /// # Shapes
    /// `[1, 3, S, S]`, f32, to `[1, C_s, H_s, W_s]`, f32.
    pub(super) fn latent(&self, picture: &Tensor) -> Result<Scales, TchError> {
        let features = self.trunks.forward(picture)?;
        threads::with(self.threads, || self.flow.forward(&features))
    }
}

impl Trunks {
    pub(super) fn new(network: &Network, computed: Computed, threads: i32) -> Result<Self, TchError> {
        let architecture = &network.architecture;
        let parameters = Parameters::of(&network.backbone_store);
        let pictures = architecture.pictures();
        let (side, element) = (architecture.input_px, computed.kind());
        let threads = Shares::of(threads, pictures, side, element);
        let trunk = |scale: usize| {
            Trunk::new(&parameters, architecture.backbone, architecture.taps(), side >> scale, element)
        };
        let largest = threads::with(threads.largest, || trunk(0))?;
        let others =
            threads::with(threads.others, || (1..pictures).map(trunk).collect::<Result<Vec<_>, _>>())?;
        let aside = (!others.is_empty()).then(|| Aside::start(others, threads.others)).transpose()?;
        Ok(Self { largest, aside, pictures, element, threads })
    }

    /// Raw features of one picture.
    ///
    /// # Shapes
    /// `[1, 3, S, S]`, f32, to `[1, C_s, H_s, W_s]`, f32.
    pub(super) fn features(&self, picture: &Tensor) -> Result<Scales, TchError> {
        // A copy: the next picture writes over them.
        self.forward(picture)?.iter().map(|map| map.f_to_dtype(Kind::Float, false, true)).collect()
    }

    /// The same, channels last, as they come. They stay until the next picture.
    fn forward(&self, picture: &Tensor) -> Result<Scales, TchError> {
        let pictures = pyramid(&channels_last(&picture.f_to_kind(self.element)?)?, self.pictures);
        let largest = || threads::with(self.threads.largest, || self.largest.forward(&pictures[0]));
        let Some(aside) = &self.aside else { return largest() };
        let smaller = aside.begin(&pictures[1..]);
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
