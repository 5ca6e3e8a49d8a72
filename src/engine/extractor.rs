//! Features for training, from the fastest that computes them in f32.

use tch::Tensor;

use crate::engine::EngineError;
use crate::engine::fused::Trunks;
use crate::engine::guard;
use crate::engine::precision::Computed;
use crate::engine::runner::rewritten;
use crate::engine::threads;
use crate::model::Scales;
use crate::model::network::Network;

#[derive(Debug)]
pub struct Extractor<'a> {
    network: &'a Network,
    trunks: Option<Trunks>,
    note: Option<String>,
}

impl<'a> Extractor<'a> {
    pub fn new(network: &'a Network) -> Self {
        match rewritten(network, || Trunks::new(network, Computed::F32, threads::count())) {
            Ok(trunks) => Self { network, trunks: Some(trunks), note: None },
            Err(cause) => {
                Self { network, trunks: None, note: Some(format!("the plain network runs: {cause}")) }
            }
        }
    }

    /// Why it is not faster where that could be expected.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Raw features of normalised pictures, the plain network's but for rounding.
    ///
    /// # Shapes
    /// `[B, 3, S, S]` to `[B, C_s, H_s, W_s]`, f32.
    pub fn features(&self, input: &Tensor) -> Result<Scales, EngineError> {
        let Some(trunks) = &self.trunks else {
            return guard::catch(|| self.network.features(input)).map_err(EngineError::Failed);
        };
        if trunks.takes_batches() {
            return guard::catch_both(|| trunks.features(input)).map_err(EngineError::Failed);
        }
        let each = |i| trunks.features(&input.f_narrow(0, i, 1)?);
        let together = || {
            let pictures = (0..input.size()[0]).map(each).collect::<Result<Vec<Scales>, _>>()?;
            let scale =
                |s: usize| Tensor::f_cat(&pictures.iter().map(|maps| &maps[s]).collect::<Vec<_>>(), 0);
            (0..self.network.architecture.flow.scales()).map(scale).collect()
        };
        guard::catch_both(together).map_err(EngineError::Failed)
    }
}
