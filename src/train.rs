//! From a folder of good parts to a bundle.
//!
//! ```text
//!  images ─▶ groups ─▶ division ─┬▶ trained on ─▶ features ─▶ whitening, epochs ──┐
//!                                ├▶ watched ────▶ features ─▶ best epoch ─────────┼▶ bundle
//!                                └▶ held out ───▶ scores of the finished network ─┴▶ threshold
//! ```
//!
//! The held-out images are never trained on and never chosen by: the threshold's guarantee rests on them. Where images
//! are few, each fold of them is held out from a network of its own: see [`folds`].

pub mod adam;
pub mod augment;
pub mod average;
pub mod destination;
pub mod error;
pub mod extract;
pub mod features;
pub mod folds;
pub mod held_out;
pub mod images;
pub mod input;
pub mod objective;
pub mod optimise;
pub mod outliers;
pub mod parameters;
pub mod saved;
pub mod scoring;
pub mod start;
pub mod suspects;
pub mod use_of;
pub mod work;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::appearance::usual::Usual;
use crate::calibrate::share::Share;
use crate::calibrate::{self, Calibration};
use crate::clock::Clock;
use crate::config::engine::Device;
use crate::dataset;
use crate::dataset::division::Division;
use crate::engine::Engine;
use crate::model::architecture::Architecture;
use crate::model::bundle::manifest::Manifest;
use crate::model::bundle::{self, writing};
use crate::model::preprocess::Preprocess;
use crate::model::preset::{Preset, Schedule};
use crate::model::score::method::Method;
use crate::model::score::scoring::Scoring;
use crate::progress::{Progress, say};
use crate::roi::Roi;
use crate::train::augment::Augment;
use crate::train::extract::Extraction;
use crate::train::held_out::Judged;
use crate::train::images::GoodImages;
use crate::train::input::Input;
use crate::train::optimise::Outcome;
use crate::train::outliers::{Outlier, Scale};
use crate::train::saved::Saved;
use crate::train::start::Start;
use crate::train::use_of::Use;
use crate::train::work::Work;

/// Images prepared and run together outside training.
const BATCH: usize = 8;

/// What to train on and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub data: PathBuf,
    pub out: PathBuf,
    /// How it is trained.
    /// Whose optimiser and epochs are taken.
    pub schedule: Preset,
    /// The preset's, or one with changes.
    pub architecture: Architecture,
    /// None takes the preset's.
    pub epochs: Option<usize>,
    pub seed: u64,
    pub device: Device,
    /// None looks where `make setup` and the package put them.
    pub backbone_weights: Option<PathBuf>,
    /// The bundle to begin with.
    pub from: Option<PathBuf>,
    /// What stands between a part's name and the rest of a file's name, if file names name parts.
    pub group_by: Option<String>,
    /// 0 holds images out; None decides by how many there are.
    pub folds: Option<usize>,
    pub augment: Augment,
    /// Changed copies of each image trained on.
    pub copies: usize,
    /// None takes what the images carry.
    pub target_overkill: Option<Share>,
    pub confidence: Share,
    /// Where pictures of outliers go.
    pub outliers: PathBuf,
    /// Whether to forget an interrupted training.
    pub restart: bool,
    /// Whether to train although something speaks against it.
    pub force: bool,
    pub method: Method,
    /// What counts of each image; None is the whole.
    pub roi: Option<Arc<Roi>>,
    /// The command as given, for the bundle's provenance.
    pub command: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Summary {
    pub outcome: Outcome,
    pub scoring: Scoring,
    pub calibration: Calibration,
    /// Worst first.
    pub outliers: Vec<Outlier>,
    pub feature_time: Duration,
    pub training_time: Duration,
    pub total_time: Duration,
}

/// Trains and writes the bundle. `stop` set in the middle of training ends it with the best epoch so far; set
/// before there is one, or while there are folds to do, nothing is written. What is left to do is then kept beside
/// the bundle, and the same options go on with it.
pub fn run(options: &Options, stop: &AtomicBool, clock: &dyn Clock) -> anyhow::Result<Summary> {
    let began = clock.now();
    // Whatever can be wrong with the input is found here, before anything takes long.
    bundle::destination::check(&options.out)?;
    let files = dataset::training_images(&options.data)?;
    let start = Start::new(options)?;
    let area = scoring::area(options, &start.architecture)?;
    let good = GoodImages::look_over(files, options, start.architecture.input_px, stop)?;
    let division = Use::of(&good, start.base.as_ref(), options)?;
    options.method.check(division.watched())?;
    let (target, shortfall) = division.target(&good, options)?;
    division.tell(&good, target, options);
    let data_sha256 = dataset::data_sha256(&options.data, &good.files)?;
    let input = Input { options, start: &start, good: &good, division: &division, data_sha256: &data_sha256 };
    let mut saved = Saved::open(&options.out, input.settings(), options.restart, clock)?;
    saved.tell();

    let extraction = extraction(options, &good, &division);
    let scratch = destination::scratch(&options.out);
    let features = extract::run(&start.network()?, &extraction, &scratch, stop)?;
    let extracted = clock.now();

    let steps = division.steps(good.files.len(), &options.schedule(), options.copies);
    let work = Work {
        options,
        start: &start,
        good: &good,
        features: &features,
        schedule: options.schedule(),
        area: area.as_ref(),
        stop,
        clock,
        progress: RefCell::new((Progress::start("training", steps), 0)),
    };
    let (mut engine, outcome, judged) = train(&work, &division, &mut saved)?;
    let trained = clock.now();

    let calibration = calibrate::calibrate(&input.evidence(&judged), target, shortfall)?;
    let (pictures, self_test) = held_out::self_test(&engine, &good.files(&division.calibrating()))?;
    let far = outliers(&work, &division, &engine, &judged)?;
    let created = clock.now().rfc3339()?;
    let manifest = Manifest {
        architecture: start.architecture.clone(),
        preprocess: Preprocess::known(),
        scoring: engine.scorer().scoring.clone(),
        calibration: calibration.clone(),
        appearance: Usual::of(&good.looks),
        self_test,
        provenance: input.provenance(&outcome, held_out::made_on(&engine), created),
    };
    writing::write(&options.out, &manifest, held_out::network(&engine), &pictures)?;
    if !outcome.stopped {
        saved.remove();
    }
    let look = (calibration.map_threshold, options.roi.as_deref());
    let shown = outliers::show(&mut engine, &far, &good.files, &options.outliers, look, clock);
    if let Err(error) = shown {
        // The bundle is there and whole.
        say(&format!("warning: the bundle is written, but not all pictures of outliers: {error:#}"));
    }
    Ok(Summary {
        outcome,
        scoring: manifest.scoring,
        calibration,
        outliers: far,
        feature_time: extracted.since(began),
        training_time: trained.since(extracted),
        total_time: clock.now().since(began),
    })
}

/// Trains what the division asks for: the network of the bundle, and what networks that had not seen the images for
/// the threshold say about them.
fn train(
    work: &Work<'_>,
    division: &Use,
    saved: &mut Saved<'_>,
) -> anyhow::Result<(Engine, Outcome, Vec<Judged>)> {
    match division {
        Use::HoldOut(Division { trained_on, watched, held_out }) => {
            let network = work.network(None)?;
            let outcome = work.train(&network, &work.plan(trained_on, watched), "", saved)?;
            let mut engine = work.engine(network, watched)?;
            work.tell_end(&outcome);
            let mut progress = Progress::start("calibration", held_out.len());
            let files = work.good.files(held_out);
            let judged =
                held_out::judge(&mut engine, &files, BATCH, &mut |done| progress.set(done, ""), work.clock)?;
            progress.finish(&format!("{} held-out images", held_out.len()));
            Ok((engine, outcome, judged))
        }
        Use::Folds(folds) => {
            let (engine, outcome) = folds::run(work, folds, saved)?;
            work.tell_end(&outcome);
            let judged = saved.folds().iter().flat_map(|fold| fold.judged.clone()).collect();
            Ok((engine, outcome, judged))
        }
    }
}

/// Images that lie far out among those that were used alike, worst first.
fn outliers(
    work: &Work<'_>,
    division: &Use,
    engine: &Engine,
    judged: &[Judged],
) -> anyhow::Result<Vec<Outlier>> {
    let scores = division.calibrating().into_iter().zip(judged).map(|(image, judged)| (image, judged.score));
    let scale = Scale::of(engine.scorer());
    let mut far = outliers::find(&scores.collect::<Vec<_>>(), scale);
    if let Use::HoldOut(Division { trained_on, watched, .. }) = division {
        for images in [trained_on, watched] {
            far.extend(outliers::find(&outliers::known_scores(engine, work.features, images)?, scale));
        }
    }
    far.sort_by(|one, other| other.far.total_cmp(&one.far));
    Ok(far)
}

/// Which images the features are taken of, each fold's together.
fn extraction<'a>(options: &Options, good: &'a GoodImages, division: &Use) -> Extraction<'a> {
    let (trained_on, others) = match division {
        Use::HoldOut(division) => (vec![division.trained_on.clone()], division.watched.clone()),
        Use::Folds(folds) => (folds.clone(), Vec::new()),
    };
    let Options { augment, copies, seed, .. } = *options;
    Extraction { files: &good.files, trained_on, others, augment, copies, seed }
}

impl Options {
    fn schedule(&self) -> Schedule {
        let schedule = self.schedule.schedule();
        Schedule { epochs: self.epochs.unwrap_or(schedule.epochs), ..schedule }
    }

    /// As given, for people; none if nothing is changed.
    fn augmentation(&self) -> Option<String> {
        (self.copies > 0).then(|| format!("{} (copies: {})", self.augment, self.copies))
    }
}

#[cfg(test)]
mod tests;
