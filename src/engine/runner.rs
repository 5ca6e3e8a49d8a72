//! What runs: the plain network, the rewritten one, or what was recorded of that.

use tch::{Device, TchError, Tensor};

use crate::cpu;
use crate::cuda::stream::Stream;
use crate::engine::fused::Fused;
use crate::engine::graphs::{Graphs, Written};
use crate::engine::guard;
use crate::engine::precision::Computed;
use crate::model::Scales;
use crate::model::network::Network;
use crate::model::preprocess::{Normaliser, Preprocess};
use crate::model::score::Reading;
use crate::model::score::scorer::Scorer;

/// What computes scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// The network as the paper draws it, by libtorch.
    Plain,
    /// Rewritten.
    Fused,
    /// Rewritten and recorded on a CUDA device.
    Graph,
}

/// One of the two networks is there at least.
#[derive(Debug)]
pub(super) struct Runner {
    normaliser: Normaliser,
    network: Option<Network>,
    /// Before what it has recorded.
    graphs: Option<Graphs>,
    fused: Option<Fused>,
}

impl EngineKind {
    /// As it stands in results and bundles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Fused => "fused",
            Self::Graph => "graph",
        }
    }
}

impl Runner {
    pub(super) fn plain(network: Network, preprocess: &Preprocess) -> Self {
        let normaliser = Normaliser::new(preprocess, network.device());
        Self { normaliser, network: Some(network), fused: None, graphs: None }
    }

    /// From now on the rewritten network, in this precision, on a CPU with so many threads; or the plain one, and why.
    pub(super) fn fuse(&mut self, computed: Computed, threads: i32) -> Result<(), String> {
        self.graphs = None;
        self.fused = None;
        let network = self.network.as_ref().expect("nothing is let go of before it is rewritten");
        self.fused = Some(rewritten(network, || Fused::new(network, computed, threads))?);
        Ok(())
    }

    /// From now on what is recorded of it in `stream`, and of `scorer`, for up to `most` pictures together, of `side`; until then,
    /// or if that fails, call by call.
    pub(super) fn record(
        &mut self,
        stream: &Stream,
        scorer: &Scorer,
        (most, side): (usize, i64),
    ) -> Result<(), String> {
        self.graphs = None;
        let work = |pixels: &Tensor| {
            let latent = self.latent(pixels)?;
            let reading = scorer.read_whole(&latent);
            Ok(Written { latent, reading })
        };
        let graphs = guard::catch_both(|| {
            let _guard = tch::no_grad_guard();
            let _entered = stream.enter()?;
            Graphs::record(stream, most, side, self.normaliser.device(), work)
        })?;
        self.graphs = Some(graphs);
        Ok(())
    }

    /// For how many pictures together there is a recording.
    pub(super) fn recorded(&self) -> usize {
        self.graphs.as_ref().map_or(0, Graphs::most)
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
        match (&self.graphs, &self.fused) {
            (Some(_), _) => EngineKind::Graph,
            (None, Some(_)) => EngineKind::Fused,
            (None, None) => EngineKind::Plain,
        }
    }

    /// Latent values of one picture, or of several unless it is rewritten for one.
    ///
    /// # Shapes
    /// `[B, 3, S, S]`, u8.
    pub(super) fn latent(&self, pixels: &Tensor) -> Result<Scales, TchError> {
        let input = self.normaliser.apply(pixels);
        match (&self.fused, &self.network) {
            (Some(fused), _) => fused.latent(&input),
            (None, Some(network)) => Ok(network.run(&input.f_contiguous()?)),
            (None, None) => unreachable!("one of the two is there"),
        }
    }

    /// Pictures to what `scorer` says of them. On a CPU the rewritten network takes one after the other, so that no score hangs
    /// on its neighbours. More than were recorded go through in parts: cuDNN would have to choose anew for another number, which
    /// takes it a second.
    ///
    /// # Shapes
    /// `[B, 3, S, S]`, u8.
    pub(super) fn read(&self, pixels: &Tensor, scorer: &Scorer) -> Result<Reading, TchError> {
        let all = pixels.size()[0];
        let at_once = match (&self.graphs, &self.fused) {
            (Some(graphs), _) => i64::try_from(graphs.most()).unwrap_or(all),
            (None, Some(fused)) if !fused.takes_batches() => 1,
            (None, _) => all,
        };
        if all <= at_once {
            return self.read_at_once(pixels, scorer);
        }
        let starts = (0..all).step_by(usize::try_from(at_once).unwrap_or(1));
        let some = |start| {
            let some = pixels.f_narrow(0, start, at_once.min(all - start))?;
            // The next part may be written to the same place.
            self.read_at_once(&some, scorer)?.copy()
        };
        let readings: Vec<Reading> = starts.map(some).collect::<Result<_, TchError>>()?;
        let together =
            |part: fn(&Reading) -> &Tensor| Tensor::f_cat(&readings.iter().map(part).collect::<Vec<_>>(), 0);
        Ok(Reading { scores: together(|one| &one.scores)?, maps: together(|one| &one.maps)? })
    }

    fn read_at_once(&self, pixels: &Tensor, scorer: &Scorer) -> Result<Reading, TchError> {
        if let Some(graphs) = &self.graphs
            && let Some(written) = graphs.written(pixels)?
        {
            let whole = &written.reading;
            // It stays until the next call.
            return Ok(if scorer.reads_whole() { whole.share() } else { scorer.read(&written.latent) });
        }
        Ok(scorer.read(&self.latent(pixels)?))
    }
}

/// What `rewrite` makes of a network, or why that cannot be.
pub(super) fn rewritten<T>(
    network: &Network,
    rewrite: impl FnOnce() -> Result<T, TchError>,
) -> Result<T, String> {
    if network.device() == Device::Cpu && !cpu::is_available() {
        return Err("oneDNN is fast on x86-64 alone".to_owned());
    }
    guard::catch_both(rewrite)
}
