//! What runs: the plain network, or on the CPU the one that is rewritten for it.

use tch::{TchError, Tensor};

use crate::cpu;
use crate::engine::fused::Fused;
use crate::engine::guard;
use crate::engine::precision::Computed;
use crate::model::Scales;
use crate::model::network::Network;
use crate::model::score::Reading;
use crate::model::score::scorer::Scorer;

/// What computes scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// The network as the paper draws it, by libtorch.
    Plain,
    /// Rewritten, with oneDNN's convolutions.
    Fused,
}

/// One of the two is there at least.
#[derive(Debug)]
pub(super) struct Runner {
    network: Option<Network>,
    fused: Option<Fused>,
}

impl EngineKind {
    /// As it stands in results and bundles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Fused => "fused",
        }
    }
}

impl Runner {
    pub(super) fn plain(network: Network) -> Self {
        Self { network: Some(network), fused: None }
    }

    /// From now on the rewritten network, in this precision, with so many threads; or the plain one, and why. On CUDA
    /// devices that is the fastest there is.
    pub(super) fn fuse(&mut self, computed: Computed, threads: i32) -> Result<(), String> {
        self.fused = None;
        let network = self.network.as_ref().expect("nothing is let go of before it is rewritten");
        self.fused = rewritten(network, || Fused::new(network, computed.kind(), threads))?;
        Ok(())
    }

    /// Lets go of what is not needed to judge.
    pub(super) fn release(&mut self) {
        if self.fused.is_some() {
            self.network = None;
        }
    }

    pub(super) fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    pub(super) fn kind(&self) -> EngineKind {
        if self.fused.is_some() { EngineKind::Fused } else { EngineKind::Plain }
    }

    /// Latent values of one normalised picture.
    pub(super) fn latent(&self, picture: &Tensor) -> Result<Scales, TchError> {
        match (&self.fused, &self.network) {
            (Some(fused), _) => fused.latent(picture),
            (None, Some(network)) => Ok(network.run(picture)),
            (None, None) => unreachable!("one of the two is there"),
        }
    }

    /// Normalised pictures to what `scorer` says of them. The rewritten network takes one after the other, so that no score
    /// hangs on its neighbours.
    ///
    /// # Shapes
    /// `[B, 3, S, S]`.
    pub(super) fn read(&self, input: &Tensor, scorer: &Scorer) -> Result<Reading, TchError> {
        if self.fused.is_none() {
            return Ok(scorer.read(&self.latent(input)?));
        }
        let each = |i| Ok::<_, TchError>(scorer.read(&self.latent(&input.f_narrow(0, i, 1)?)?));
        let readings: Vec<Reading> = (0..input.size()[0]).map(each).collect::<Result<_, _>>()?;
        let together =
            |part: fn(&Reading) -> &Tensor| Tensor::f_cat(&readings.iter().map(part).collect::<Vec<_>>(), 0);
        Ok(Reading { scores: together(|one| &one.scores)?, maps: together(|one| &one.maps)? })
    }
}

/// What `rewrite` makes of a network on the CPU, or why that cannot be; None on other devices.
pub(super) fn rewritten<T>(
    network: &Network,
    rewrite: impl FnOnce() -> Result<T, TchError>,
) -> Result<Option<T>, String> {
    if network.device() != tch::Device::Cpu {
        return Ok(None);
    }
    if !cpu::is_available() {
        return Err("oneDNN is fast on x86-64 alone".to_owned());
    }
    guard::catch_both(rewrite).map(Some)
}
