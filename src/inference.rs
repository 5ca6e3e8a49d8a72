//! The thread that owns the model: frames in, judgements out.
//!
//! It loads nothing while it judges. New rules come ready-made through a channel and are taken over between two
//! batches.

pub mod rules;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, never, select};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config;
use crate::config::product::Product;
use crate::engine::{self, Detector, Engine, EngineError, LoadError, Measured};
use crate::frame::{Frame, Picture, Size};
use crate::health::Health;
use crate::inference::rules::Rules;
use crate::ledger::Report;
use crate::model::bundle::Bundle;
use crate::model::bundle::roi::CalibratedRoi;
use crate::model::score::area::Inspected;
use crate::verdict::regions::{self, Regions};
use crate::verdict::{Judgement, Outcome, Reason, Recipe, StageTimes};

/// The thread shows that it lives at least this often.
const IDLE: Duration = Duration::from_millis(500);

/// When the station stops, frames that wait are judged for so long; the rest is answered without.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A model and the rules to judge by.
pub struct Inspector {
    detector: Box<dyn Detector + Send>,
    rules: Rules,
    /// Whether the detector has the rules' ROI.
    has_roi: bool,
    /// The last size of a frame that the ROI is not drawn on.
    odd_size: Option<Size>,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Inspector {
    pub fn new(detector: Box<dyn Detector + Send>, rules: Rules) -> Result<Self, EngineError> {
        let mut inspector = Self { detector, rules, has_roi: false, odd_size: None };
        inspector.hand_on_roi()?;
        Ok(inspector)
    }

    /// Judges by new rules from now on. Where the detector cannot follow, nothing is judged until it does.
    pub fn follow(&mut self, rules: Rules) {
        self.has_roi &= rules.roi == self.rules.roi;
        self.rules = rules;
        if let Err(error) = self.hand_on_roi() {
            error!("the new ROI is not taken over, and no frame is judged until it is: {error}");
        }
    }

    /// Gives the detector the rules' ROI, if it has another.
    fn hand_on_roi(&mut self) -> Result<(), EngineError> {
        if self.has_roi {
            return Ok(());
        }
        self.detector.set_roi(self.rules.roi.as_deref())?;
        self.has_roi = true;
        if let Some(inspected) = self.inspected() {
            info!("ROI: {inspected}");
        }
        Ok(())
    }

    /// How much of the ROI is inspected, for people; None where there is no ROI.
    pub fn inspected(&self) -> Option<Inspected> {
        self.rules.roi.as_deref().map(|roi| self.rules.calibrated_roi.inspected(roi))
    }

    /// Loads the active product's bundle onto the device, and finds its self-test's scores again there.
    ///
    /// Call it in the thread that will judge: OpenMP keeps a set of worker threads for each thread that calls
    /// libtorch, and two sets on the same cores made a frame three times as slow.
    pub fn load(
        product: &Product,
        settings: &config::engine::Engine,
        config_sha256: &str,
    ) -> Result<Self, LoadError> {
        engine::set_threads(settings.threads.unwrap_or_else(engine::threads_beside_cameras));
        let bundle = Bundle::read(&product.bundle)?;
        let calibrated_roi = CalibratedRoi::of(&bundle.manifest);
        let engine = Engine::load(&bundle, settings.device)?;
        let origin = Recipe {
            bundle_sha256: bundle.sha256,
            config_sha256: config_sha256.to_owned(),
            device: engine.device_name().to_owned(),
            precision: engine.precision(),
            ..Recipe::default()
        };
        let rules = Rules::new(product, (bundle.manifest.calibration, calibrated_roi), origin)?;
        let device = rules.recipe.device.clone();
        Self::new(Box::new(engine), rules)
            .map_err(|error| LoadError::Failed { device, cause: error.to_string() })
    }
}

/// The device is gone: the process must end, so that a new one can have it again.
#[derive(Debug, thiserror::Error)]
#[error("inference stopped")]
pub struct DeviceLost(#[source] pub EngineError);

/// What the thread is given besides the model.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub frames: &'a Receiver<Frame>,
    /// New rules, taken over between two batches.
    pub changes: &'a Receiver<Rules>,
    pub reports: &'a Sender<Report>,
    pub health: &'a Health,
    pub clock: &'a dyn Clock,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("waiting", &self.frames.len()).finish_non_exhaustive()
    }
}

/// Loads, says in `loaded` how that went, and judges.
pub fn run(
    load: impl FnOnce() -> Result<Inspector, LoadError>,
    loaded: &Sender<Result<Rules, LoadError>>,
    batch_max: usize,
    context: Context<'_>,
) -> Result<(), DeviceLost> {
    let (said, inspector) = match load() {
        Ok(inspector) => (Ok(inspector.rules.clone()), Some(inspector)),
        Err(error) => (Err(error), None),
    };
    // There is room for the one message, and the supervisor waits for it.
    drop(loaded.send(said));
    inspector.map_or(Ok(()), |inspector| judge_all(inspector, batch_max, context))
}

/// Judges until no camera is left, at most `batch_max` frames together.
fn judge_all(mut inspector: Inspector, batch_max: usize, context: Context<'_>) -> Result<(), DeviceLost> {
    let Context { frames, changes, reports, health, clock } = context;
    let (mut changes, no_changes) = (changes, never());
    let mut batch = Vec::with_capacity(batch_max);
    let mut stop_by = None;
    loop {
        health.inference.beat(clock.now());
        select! {
            recv(changes) -> rules => if let Ok(rules) = rules {
                inspector.follow(rules);
            } else {
                // The supervisor lets go of its end when the station stops.
                changes = &no_changes;
                stop_by = Some(clock.now().mono + LAST_LOOK);
            },
            recv(frames) -> frame => match frame {
                Ok(frame) => batch.push(frame),
                Err(_) => return Ok(()),
            },
            default(IDLE) => continue,
        }
        while batch.len() < batch_max
            && !batch.is_empty()
            && let Ok(frame) = frames.try_recv()
        {
            batch.push(frame);
        }
        // What was sent before a frame holds for it, whichever of the two was received first.
        while let Ok(rules) = changes.try_recv() {
            inspector.follow(rules);
        }
        if stop_by.is_some_and(|by| clock.now().mono >= by) {
            answer(Reason::NotReady, &inspector, &mut batch, reports);
        } else if !batch.is_empty() {
            judge(&mut inspector, &mut batch, reports, clock)?;
        }
    }
}

/// Judges the frames of `batch` together, answers for each and leaves it empty. Waits for `reports`.
pub fn judge(
    inspector: &mut Inspector,
    batch: &mut Vec<Frame>,
    reports: &Sender<Report>,
    clock: &dyn Clock,
) -> Result<(), DeviceLost> {
    if let Err(error) = inspector.hand_on_roi() {
        return fail(error, inspector, batch, reports);
    }
    refuse_odd_sizes(inspector, batch, reports);
    if batch.is_empty() {
        return Ok(());
    }
    let taken_up = clock.now();
    let pictures: Vec<Picture<'_>> = batch.iter().map(|frame| frame.image.picture()).collect();
    let result = inspector.detector.measure(&pictures, clock);
    drop(pictures);
    let measured = match result {
        Ok(measured) => measured,
        Err(error) => return fail(error, inspector, batch, reports),
    };
    for (frame, measured_frame) in batch.drain(..).zip(measured.measured) {
        let start = clock.now();
        let mut judgement = judgement(&inspector.rules, &frame, &measured_frame);
        judgement.times = StageTimes {
            queue: taken_up.since(frame.trigger.captured),
            preprocess: measured.preprocess,
            inference: measured.inference,
            postprocess: clock.now().since(start),
        };
        report(reports, &frame, judgement);
    }
    Ok(())
}

/// Answers for frames that the ROI is not drawn on: nobody knows what counts of them.
fn refuse_odd_sizes(inspector: &mut Inspector, batch: &mut Vec<Frame>, reports: &Sender<Report>) {
    let Some(expected) = inspector.rules.roi.as_ref().map(|roi| roi.size()) else { return };
    for frame in batch.extract_if(.., |frame| frame.image.size != expected) {
        let found = frame.image.size;
        if inspector.odd_size.replace(found) != Some(found) {
            warn!(camera = %frame.trigger.camera, "frames are {found}, but the product's ROI is drawn on {expected}");
        }
        let recipe = Some(Arc::clone(&inspector.rules.recipe));
        report(reports, &frame, Judgement::not_inspected(Reason::FrameCorrupt, recipe));
    }
}

fn judgement(rules: &Rules, frame: &Frame, measured: &Measured) -> Judgement {
    let outcome = rules.limits.judge.outcome(measured.score);
    let found = regions::find(&measured.map, frame.image.size, rules.limits.regions);
    Judgement {
        outcome,
        score: measured.score.is_finite().then_some(measured.score),
        p_value: (measured.score.is_finite() && rules.limits.is_calibrated)
            .then(|| rules.calibration.p_value(measured.score)),
        regions: Regions { cell_px: measured.cell_px, ..found },
        frame: Some(frame.image.size),
        times: StageTimes::default(),
        recipe: Some(Arc::clone(&rules.recipe)),
    }
}

fn fail(
    error: EngineError,
    inspector: &Inspector,
    batch: &mut Vec<Frame>,
    reports: &Sender<Report>,
) -> Result<(), DeviceLost> {
    let reason = match &error {
        EngineError::DeviceLost { .. } => Reason::DeviceLost,
        EngineError::Failed(_) => Reason::ModelError,
        EngineError::WrongSize { .. } => Reason::FrameCorrupt,
    };
    answer(reason, inspector, batch, reports);
    match error {
        EngineError::DeviceLost { .. } => {
            error!("the device is lost: {error}");
            Err(DeviceLost(error))
        }
        EngineError::Failed(_) | EngineError::WrongSize { .. } => {
            warn!("frames could not be judged: {error}");
            Ok(())
        }
    }
}

/// Answers for frames that were not looked at.
fn answer(reason: Reason, inspector: &Inspector, batch: &mut Vec<Frame>, reports: &Sender<Report>) {
    for frame in batch.drain(..) {
        let recipe = Some(Arc::clone(&inspector.rules.recipe));
        report(reports, &frame, Judgement::not_inspected(reason, recipe));
    }
}

fn report(reports: &Sender<Report>, frame: &Frame, judgement: Judgement) {
    debug_assert_ne!(
        (judgement.outcome, judgement.score.is_none()),
        (Outcome::Good, true),
        "good without a score"
    );
    let closed = Report::Closed { key: frame.trigger.key, judgement };
    // The ledger outlives inference: it ends when the last sender is gone.
    drop(reports.send(closed));
}

#[cfg(test)]
mod tests;
