//! From a folder of good parts to a bundle.
//!
//! ```text
//!  images ─▶ split ─┬▶ trained on ─▶ features ─▶ whitening, epochs ──┐
//!                   ├▶ watched ────▶ features ─▶ best epoch ─────────┼▶ bundle
//!                   └▶ held out ───▶ scores of the finished network ─┴▶ threshold
//! ```
//!
//! The held-out images are never trained on and never chosen by: the threshold's guarantee rests on them.

pub mod average;
pub mod destination;
pub mod error;
pub mod extract;
pub mod features;
pub mod held_out;
pub mod images;
pub mod optimise;
pub mod scoring;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::calibrate::{Calibration, Target};
use crate::clock::Clock;
use crate::config::engine::Device;
use crate::dataset;
use crate::engine::{Detector, Engine, cuda};
use crate::model::architecture::Architecture;
use crate::model::bundle::manifest::{Manifest, Provenance};
use crate::model::bundle::writing;
use crate::model::network::{Network, draw_permutations};
use crate::model::preprocess::Preprocess;
use crate::model::preset::{Preset, Schedule};
use crate::model::score::method::Method;
use crate::model::score::scoring::Scoring;
use crate::roi::Roi;
use crate::train::images::Parts;
use crate::train::optimise::{Outcome, Plan};

/// Images prepared and run together outside training.
const BATCH: usize = 8;

/// What to train on and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub data: PathBuf,
    pub out: PathBuf,
    pub preset: Preset,
    /// The preset's, or one with changes.
    pub architecture: Architecture,
    /// None takes the preset's.
    pub epochs: Option<usize>,
    pub seed: u64,
    pub device: Device,
    /// None looks where `make setup` and the package put them.
    pub backbone_weights: Option<PathBuf>,
    pub target: Target,
    pub method: Method,
    /// What counts of each image; None is the whole.
    pub roi: Option<Arc<Roi>>,
    /// The command as given, for the bundle's provenance.
    pub command: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Summary {
    pub trained_on: usize,
    pub watched: usize,
    pub held_out: usize,
    pub outcome: Outcome,
    pub scoring: Scoring,
    pub calibration: Calibration,
    pub feature_time: Duration,
    pub training_time: Duration,
    pub total_time: Duration,
}

/// Trains and writes the bundle. `stop` set in the middle of training ends it with the best epoch so far; set
/// before there is one, nothing is written.
pub fn run(options: &Options, stop: &AtomicBool, clock: &dyn Clock) -> anyhow::Result<Summary> {
    let start = clock.now();
    let architecture = options.architecture.clone();
    let schedule = options.schedule();
    let roi = options.roi.as_deref();

    // Whatever can be wrong with the input is found here, before anything takes long.
    destination::check(&options.out)?;
    let area = scoring::area(roi, &architecture)?;
    let images = dataset::training_images(&options.data)?;
    let (device, device_name) = cuda::open(options.device)?;
    tch::manual_seed(i64::from_ne_bytes(options.seed.to_ne_bytes()));
    let mut network = Network::new(&architecture, draw_permutations(&architecture, options.seed), device);
    let backbone_sha256 = extract::load_backbone(&network, options.backbone_weights.as_deref())?;
    images::look_over(&images, architecture.input_px, roi, stop)?;
    let data_sha256 = dataset::data_sha256(&options.data, &images)?;

    let parts = Parts::of(&images, options.seed);
    options.method.check(parts.watched.len())?;
    let fitted = [parts.trained_on.as_slice(), parts.watched.as_slice()].concat();
    let store = extract::extract(&mut network, &fitted, parts.trained_on.len(), stop)?;
    let extracted = clock.now();

    let plan = Plan {
        store: &store,
        trained_on: (0..parts.trained_on.len()).collect(),
        watched: (parts.trained_on.len()..fitted.len()).collect(),
        schedule,
        seed: options.seed,
    };
    let outcome = optimise::run(&network, &plan, stop)?;
    network.scorer = scoring::fit(&network, &store, &plan.watched, options, area.as_ref())?;
    drop(store);
    let trained = clock.now();

    let mut engine = Engine::new(network, Preprocess::known(), device_name);
    engine.set_roi(roi)?;
    let calibration = held_out::calibrate(&mut engine, &parts.held_out, options.target, clock)?;
    let (pictures, self_test) = held_out::self_test(&engine, &parts.held_out)?;
    let manifest = Manifest {
        architecture,
        preprocess: Preprocess::known(),
        scoring: engine.network().scorer.scoring.clone(),
        calibration: calibration.clone(),
        self_test,
        provenance: Provenance {
            data_sha256,
            images: images.len(),
            trained_on: parts.trained_on.len(),
            watched: parts.watched.len(),
            held_out: parts.held_out.len(),
            seed: options.seed,
            epochs_asked: schedule.epochs,
            epoch_kept: outcome.epoch_kept,
            watched_loss: outcome.watched_loss,
            backbone_sha256,
            command: options.command.clone(),
            software: concat!("csflowd ", env!("CARGO_PKG_VERSION")).to_owned(),
            libtorch: "2.11.0".to_owned(),
            created: jiff::Timestamp::try_from(clock.now().utc)?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        },
    };
    writing::write(&options.out, &manifest, engine.network(), &pictures)?;
    Ok(Summary {
        trained_on: parts.trained_on.len(),
        watched: parts.watched.len(),
        held_out: parts.held_out.len(),
        outcome,
        scoring: manifest.scoring,
        calibration,
        feature_time: extracted.since(start),
        training_time: trained.since(extracted),
        total_time: clock.now().since(start),
    })
}

impl Options {
    fn schedule(&self) -> Schedule {
        let schedule = self.preset.schedule();
        Schedule { epochs: self.epochs.unwrap_or(schedule.epochs), ..schedule }
    }
}

#[cfg(test)]
mod tests;
