//! The frames in hand and those who judge them, one round at a time.

use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam_channel::Sender;
use tracing::{error, info, warn};

use crate::engine::EngineError;
use crate::engine::detector::{Batch, Measured};
use crate::frame::{Frame, Picture, PixelFormat, Size};
use crate::health::Active;
use crate::inference::crew::{Crew, OnDuty};
use crate::inference::drift::Drifts;
use crate::inference::rules::Rules;
use crate::inference::unfit::Unfit;
use crate::inference::{Change, Context, DeviceLost, MOST_TOGETHER, Notice, Ready};
use crate::ledger::Report;
use crate::verdict::regions::{self, Regions};
use crate::verdict::{Judgement, Outcome, Reason, Recipe, StageTimes};

/// What a network is shown before its first frame, where no ROI says how large frames are.
const TYPICAL_SIZE: Size = Size { width: 640, height: 480 };

/// What judges, and the frames that are judged next.
pub struct Bench<'a> {
    crew: Crew,
    /// All of one generation.
    batch: Vec<Frame>,
    /// What the network said of the last ones: its memory is used again.
    measured: Batch,
    seen: u64,
    unfit: Unfit,
    drifts: Drifts,
    pub(super) context: Context<'a>,
}

impl std::fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench").field("crew", &self.crew).finish_non_exhaustive()
    }
}

impl<'a> Bench<'a> {
    pub fn new(context: Context<'a>) -> Self {
        Self {
            crew: Crew::default(),
            batch: Vec::with_capacity(MOST_TOGETHER),
            measured: Batch::default(),
            seen: 0,
            unfit: Unfit::default(),
            drifts: Drifts::default(),
            context,
        }
    }

    /// How many frames are in hand.
    pub fn in_hand(&self) -> usize {
        self.batch.len()
    }

    /// Whether something waits for its last frame.
    pub fn is_retiring(&self) -> bool {
        self.crew.is_retiring()
    }

    /// Takes a frame in hand; gives it back if it is not judged by the same as those that are.
    #[must_use = "a frame that is given back has to be answered"]
    pub fn add(&mut self, frame: Frame) -> Option<Frame> {
        let generation = frame.lease.generation();
        if self.batch.first().is_some_and(|first| first.lease.generation() != generation) {
            return Some(frame);
        }
        self.batch.push(frame);
        None
    }

    /// Judges by something else from then on.
    pub fn take_over(&mut self, change: Change) -> Result<(), DeviceLost> {
        let health = self.context.health;
        let result = match change {
            Change::Unload => {
                drop(health.model.deactivate());
                self.crew.dismiss();
                return Ok(());
            }
            Change::Install { active, ready } => self.install(&active, *ready).map(|()| {
                // What was in force goes, and with it the lease that would keep it.
                drop(health.model.activate(active));
            }),
        };
        let lost = match result {
            Err(error @ EngineError::DeviceLost { .. }) => return Err(device_lost(error)),
            other => other.map_err(|error| error.to_string()),
        };
        drop(self.context.notices.try_send(Notice::Installed(lost)));
        Ok(())
    }

    /// The first frame after this finds everything warm: kernels, and the threads that OpenMP keeps for this one.
    fn install(&mut self, active: &Active, ready: Ready) -> Result<(), EngineError> {
        if let Some(inspected) = ready.rules().inspected() {
            info!("ROI: {inspected}");
        }
        match ready {
            Ready::Rules(rules) => self.crew.follow(active.lease.clone(), rules),
            Ready::Inspector(mut inspector) => {
                let Recipe { device, engine, precision, .. } = &*inspector.rules.recipe;
                inspector.notes.iter().for_each(|note| warn!("{note}"));
                info!("judging on {device}, engine {engine}, precision {precision}");
                let size = inspector.rules.roi.as_ref().map_or(TYPICAL_SIZE, |roi| roi.size());
                let pixels = vec![0; size.pixels()];
                let picture = Picture { size, format: PixelFormat::Gray8, pixels: &pixels };
                inspector.detector.measure_one(picture, self.context.clock)?;
                self.crew.install(active.lease.clone(), inspector);
                Ok(())
            }
        }
    }

    /// Lets go of what has judged its last frame.
    pub fn retire(&mut self) {
        while let Some((generation, network)) = self.crew.retire() {
            drop(self.context.notices.try_send(Notice::Retired(generation, network)));
        }
    }

    /// Judges the frames in hand together and answers for each. Waits for the ledger.
    pub fn judge(&mut self) -> Result<(), DeviceLost> {
        self.seen += self.batch.len() as u64;
        if self.context.hangs_at.is_some_and(|at| self.seen >= at) {
            hang();
        }
        let generation = self.batch[0].lease.generation();
        let clock = self.context.clock;
        let OnDuty { network, rules, odd_size } = match self.crew.on_duty(generation) {
            Some(Ok(on_duty)) => on_duty,
            Some(Err(error)) => return self.fail(error),
            None => {
                error!("frames of a product that is gone");
                self.answer(Reason::NotReady);
                return Ok(());
            }
        };
        // They have their verdict, and their time is that of those behind them.
        let taken_up = clock.now();
        self.batch.retain(|frame| taken_up.mono < frame.trigger.due());
        refuse_odd_sizes(rules, odd_size, &mut self.batch, &self.context.reports);
        let brightness = self.unfit.refuse(rules, &mut self.batch, &self.context);
        if self.batch.is_empty() {
            return Ok(());
        }
        let pictures: ArrayVec<Picture<'_>, MOST_TOGETHER> =
            self.batch.iter().map(|frame| frame.image.picture()).collect();
        let result = network.measure_into(&pictures, clock, &mut self.measured);
        drop(pictures);
        if let Err(error) = result {
            return self.fail(error);
        }
        let measured = &self.measured;
        for ((frame, measured_frame), &brightness) in
            self.batch.drain(..).zip(&measured.measured).zip(brightness)
        {
            let start = clock.now();
            let mut judgement = judgement(rules, &frame, measured_frame);
            if judgement.outcome == Outcome::Good {
                let of = (&frame.trigger, generation);
                self.drifts.count(of, (measured_frame.score, brightness), rules, &self.context);
            }
            judgement.times = StageTimes {
                queue: taken_up.since(frame.trigger.captured),
                preprocess: measured.preprocess,
                inference: measured.inference,
                postprocess: clock.now().since(start),
            };
            report(&self.context.reports, &frame, judgement);
        }
        Ok(())
    }

    /// Answers for frames that the network could not judge. An error if it will judge none again.
    fn fail(&mut self, error: EngineError) -> Result<(), DeviceLost> {
        self.answer(match &error {
            EngineError::DeviceLost { .. } => Reason::DeviceLost,
            EngineError::Failed(_) => Reason::ModelError,
            EngineError::WrongSize { .. } => Reason::FrameCorrupt,
        });
        match error {
            EngineError::DeviceLost { .. } => Err(device_lost(error)),
            EngineError::Failed(_) | EngineError::WrongSize { .. } => {
                warn!("frames could not be judged: {error}");
                Ok(())
            }
        }
    }

    /// Answers for frames that were not looked at.
    pub fn answer(&mut self, reason: Reason) {
        let Some(first) = self.batch.first() else { return };
        let recipe = self.crew.rules(first.lease.generation()).map(|rules| Arc::clone(&rules.recipe));
        for frame in self.batch.drain(..) {
            report(&self.context.reports, &frame, Judgement::not_inspected(reason, recipe.clone()));
        }
    }
}

fn device_lost(error: EngineError) -> DeviceLost {
    error!("the device is lost: {error}");
    DeviceLost(error)
}

/// As a network does that never comes back.
fn hang() -> ! {
    warn!("hanging, as a test has asked for");
    loop {
        std::thread::park();
    }
}

/// Answers for frames that the ROI is not drawn on: nobody knows what counts of them.
fn refuse_odd_sizes(
    rules: &Rules,
    odd_size: &mut Option<Size>,
    batch: &mut Vec<Frame>,
    reports: &Sender<Report>,
) {
    let Some(expected) = rules.roi.as_ref().map(|roi| roi.size()) else { return };
    for frame in batch.extract_if(.., |frame| frame.image.size != expected) {
        let found = frame.image.size;
        if odd_size.replace(found) != Some(found) {
            warn!(camera = %frame.trigger.camera, "frames are {found}, but the product's ROI is drawn on {expected}");
        }
        let recipe = Some(Arc::clone(&rules.recipe));
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
