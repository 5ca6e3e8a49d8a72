//! The score's own numbers, from the watched images: they were looked at to pick an epoch, but never trained on,
//! and the threshold does not come from them.

use anyhow::Context;
use tch::Device;

use crate::model::architecture::Architecture;
use crate::model::network::Network;
use crate::model::score::area::{Area, Grids, TooFewCells};
use crate::model::score::fit::Fit;
use crate::model::score::method::{FusionMethod, Method, PositionsMethod};
use crate::model::score::places::MIN_GAIN;
use crate::model::score::scorer::Scorer;
use crate::model::score::scoring::{Positions, ScoreKind};
use crate::progress::say;
use crate::train::features::FeatureStore;
use crate::train::{BATCH, Options};

/// The ROI over the cells of a network: asked before anything takes long. Says how much of it is inspected, and what
/// of the method has no say in the score.
pub fn area(options: &Options, architecture: &Architecture) -> anyhow::Result<Option<Area>> {
    let Method { score, fusion, positions } = options.method;
    if score == ScoreKind::Mean && (fusion, positions) != (FusionMethod::Mean, PositionsMethod::Off) {
        say("note: --fusion and --positions shape the map alone: the mean does not look at it");
    }
    let Some(roi) = options.roi.as_deref() else { return Ok(None) };
    let grids = Grids::of(architecture);
    let area = Area::new(roi, &grids, score, Device::Cpu).map_err(RoiTooSmall)?;
    say(&format!("ROI: {}", grids.inspected(roi)));
    Ok(Some(area))
}

#[derive(Debug, thiserror::Error)]
#[error("the product's ROI {0}")]
pub struct RoiTooSmall(TooFewCells);

/// The scorer that `options` ask for, on the network's device. `watched` are positions in `store`.
pub fn fit(
    network: &Network,
    store: &FeatureStore,
    watched: &[usize],
    options: &Options,
    area: Option<&Area>,
) -> anyhow::Result<Scorer> {
    let _guard = tch::no_grad_guard();
    let mut fit = Fit::new(options.method, network.architecture.map_steps());
    for chunk in watched.chunks(BATCH) {
        let (latent, _) = network.latent(&store.batch(chunk, network.device())?);
        fit.add(&latent);
    }
    let roi_sha256 = options.roi.as_ref().map(|roi| roi.sha256().to_owned());
    let scorer = fit.finish(area, roi_sha256).context("the score cannot be fitted, nothing was written")?;
    let Positions { used, images, gain } = scorer.scoring.positions;
    if let Some(gain) = gain {
        let used = if used { "used" } else { "not used" };
        say(&format!(
            "positions are {used}: of {images} watched images, half gain {gain:.3} nats a cell from the other half's \
             statistics; auto uses them from {MIN_GAIN} on"
        ));
    }
    Ok(scorer.to_device(network.device()))
}
