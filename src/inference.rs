//! The thread that owns the model: frames in, judgements out.
//!
//! It loads nothing while it judges. What it shall judge by comes ready-made through a channel and is taken over between
//! two batches; each frame is judged by what was in force at its trigger.

pub mod bench;
mod crew;
mod drift;
pub mod rules;
mod unfit;

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, never, select};

use crate::clock::Clock;
use crate::config;
use crate::config::product::Product;
use crate::engine::detector::Detector;
use crate::engine::{Engine, EngineError, How, LoadError, threads};
use crate::events::Events;
use crate::frame::{Frame, Generation};
use crate::health::{Active, Health};
use crate::inference::bench::Bench;
use crate::inference::rules::{Limits, Rules};
use crate::ledger::Report;
use crate::model::bundle::Bundle;
use crate::model::bundle::manifest::Manifest;
use crate::model::bundle::roi::CalibratedRoi;
use crate::model::score::area::Inspected;
use crate::verdict::{Reason, Recipe};

/// A network on a device.
pub type Network = Box<dyn Detector + Send>;

/// The thread shows that it lives at least this often.
const IDLE: Duration = Duration::from_millis(500);

/// Whether the last frame of a former product is judged is looked at this often.
const RETIRE_POLL: Duration = Duration::from_millis(20);

/// When a signal stops the station, frames that wait are judged for so long; the rest is answered without.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// No more frames are judged together, whatever is asked for.
pub const MOST_TOGETHER: usize = 256;

/// A model and the rules to judge by, made ready outside the thread that judges.
pub struct Inspector {
    detector: Network,
    rules: Rules,
    /// Why the network is not computed as fast as could be expected.
    notes: Vec<String>,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Inspector {
    pub fn new(mut detector: Network, rules: Rules) -> Result<Self, EngineError> {
        detector.set_roi(rules.roi.as_deref())?;
        Ok(Self { detector, rules, notes: Vec::new() })
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How much of the ROI is inspected, for people; None where there is no ROI.
    pub fn inspected(&self) -> Option<Inspected> {
        self.rules.inspected()
    }

    /// Loads a product's bundle onto the device, and finds its self-test's scores again there.
    pub fn load(
        product: &Product,
        settings: &config::engine::Engine,
        config_sha256: &str,
    ) -> Result<Self, LoadError> {
        let bundle = Bundle::read(&product.bundle)?;
        let calibrated_roi = CalibratedRoi::of(&bundle.manifest);
        let judge = Limits::new(Some(product), &bundle.manifest.calibration, &calibrated_roi)?.judge;
        let how = How {
            device: settings.device,
            precision: settings.precision,
            threads: settings.threads.unwrap_or_else(threads::beside_cameras),
            together: settings.batch_max,
            judge,
        };
        let engine = Engine::load(&bundle, how)?;
        let notes = engine.notes().to_vec();
        let origin = Recipe {
            bundle_sha256: bundle.sha256,
            config_sha256: config_sha256.to_owned(),
            device: engine.device_name().to_owned(),
            engine: engine.kind().name(),
            precision: engine.precision(),
            ..Recipe::default()
        };
        let Manifest { calibration, appearance, .. } = bundle.manifest;
        let learned = (calibration, calibrated_roi, appearance);
        let rules = Rules::new(product, learned, origin)?;
        let device = rules.recipe.device.clone();
        let inspector = Self::new(Box::new(engine), rules);
        inspector
            .map(|inspector| Self { notes, ..inspector })
            .map_err(|error| LoadError::Failed { device, cause: error.to_string() })
    }
}

/// What can be judged by as soon as it is installed.
#[derive(Debug)]
pub enum Ready {
    Inspector(Inspector),
    /// For the network in use.
    Rules(Rules),
}

impl Ready {
    pub fn rules(&self) -> &Rules {
        match self {
            Self::Inspector(inspector) => &inspector.rules,
            Self::Rules(rules) => rules,
        }
    }
}

/// What the thread is told.
#[derive(Debug)]
pub enum Change {
    /// Judge by this from now on. [`Notice::Installed`] answers.
    Install { active: Active, ready: Box<Ready> },
    /// Judge nothing from now on. [`Notice::Retired`] follows when the last frame is judged.
    Unload,
}

/// What the thread says.
pub enum Notice {
    /// In force, or as before and why.
    Installed(Result<(), String>),
    /// The last frame of this generation is judged. Its network comes along if nothing else needs it.
    Retired(Generation, Option<Network>),
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Installed(result) => f.debug_tuple("Installed").field(result).finish(),
            Self::Retired(generation, _) => f.debug_tuple("Retired").field(generation).finish(),
        }
    }
}

/// The device is gone: the process must end, so that a new one can have it again.
#[derive(Debug, thiserror::Error)]
#[error("inference stopped")]
pub struct DeviceLost(#[source] pub EngineError);

/// What is around those who judge.
#[derive(Clone)]
pub struct Context<'a> {
    /// There is room for what one change leads to.
    pub notices: Sender<Notice>,
    pub reports: Sender<Report>,
    pub health: &'a Health,
    pub clock: &'a dyn Clock,
    /// Where what an operator should know is told.
    pub events: Option<Events<'a>>,
    /// For tests: at this frame, counted from 1, the thread hangs for ever.
    pub hangs_at: Option<u64>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("hangs_at", &self.hangs_at).finish_non_exhaustive()
    }
}

/// Judges until no camera is left, at most `batch_max` frames together. Changes are taken over between two batches.
pub fn run(
    batch_max: usize,
    frames: &Receiver<Frame>,
    changes: &Receiver<Change>,
    context: Context<'_>,
) -> Result<(), DeviceLost> {
    judge_all(Bench::new(context), batch_max, frames, changes)
}

fn judge_all(
    mut bench: Bench<'_>,
    batch_max: usize,
    frames: &Receiver<Frame>,
    changes: &Receiver<Change>,
) -> Result<(), DeviceLost> {
    let batch_max = batch_max.min(MOST_TOGETHER);
    let (health, clock) = (bench.context.health, bench.context.clock);
    let (mut changes, no_changes) = (changes, never());
    // A frame that is of another generation than the batch before it.
    let mut held = None;
    let mut stop_by = None;
    loop {
        health.inference.beat(clock.now());
        if let Some(frame) = held.take() {
            held = bench.add(frame);
        } else {
            select! {
                recv(changes) -> change => if let Ok(change) = change {
                    bench.take_over(change)?;
                } else {
                    // The supervisor lets go of its end when somebody wants the station to stop. Where the cameras end
                    // by themselves it does so after all is judged.
                    changes = &no_changes;
                    stop_by = Some(clock.now().mono + LAST_LOOK);
                },
                recv(frames) -> frame => match frame {
                    Ok(frame) => held = bench.add(frame),
                    Err(_) => return Ok(()),
                },
                default(if bench.is_retiring() { RETIRE_POLL } else { IDLE }) => {}
            }
        }
        while held.is_none()
            && (1..batch_max).contains(&bench.in_hand())
            && let Ok(frame) = frames.try_recv()
        {
            held = bench.add(frame);
        }
        if stop_by.is_some_and(|by| clock.now().mono >= by) {
            bench.answer(Reason::NotReady);
        } else if bench.in_hand() > 0 {
            bench.judge()?;
        }
        bench.retire();
    }
}

#[cfg(test)]
mod tests;
