//! What every training of one command shares, whether it trains one network or one for each fold.

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::engine::detector::Detector;
use crate::model::network::Network;
use crate::model::preprocess::Preprocess;
use crate::model::preset::Schedule;
use crate::model::score::area::Area;
use crate::progress::Progress;
use crate::train::error::TrainError;
use crate::train::extract::Features;
use crate::train::images::GoodImages;
use crate::train::optimise::{Outcome, Plan, Run, Told};
use crate::train::saved::Saved;
use crate::train::start::Start;
use crate::train::{Options, scoring};

#[expect(missing_debug_implementations, reason = "a clock has none")]
pub struct Work<'a> {
    pub options: &'a Options,
    pub start: &'a Start,
    pub good: &'a GoodImages,
    pub features: &'a Features,
    pub schedule: Schedule,
    /// The cells that count; None is all.
    pub area: Option<&'a Area>,
    pub stop: &'a AtomicBool,
    pub clock: &'a dyn Clock,
    /// Of all trainings, and the steps of those before.
    pub progress: RefCell<(Progress, usize)>,
}

impl Work<'_> {
    /// A network before its first epoch, whitened without the images at `left_out`.
    pub fn network(&self, left_out: Option<usize>) -> anyhow::Result<Network> {
        let mut network = self.start.network()?;
        network.whitening = self.features.whitening(left_out, &network);
        Ok(network)
    }

    /// Training on `trained_on` and their copies to the schedule's end.
    pub fn plan(&self, trained_on: &[usize], watched: &[usize]) -> Plan<'_> {
        Plan {
            store: &self.features.store,
            trained_on: self.features.with_copies(trained_on),
            watched: self.features.themselves(watched),
            schedule: self.schedule,
            last_epoch: self.schedule.epochs,
            seed: self.options.seed,
        }
    }

    /// Trains, or goes on where a training was interrupted.
    pub fn train(
        &self,
        network: &Network,
        plan: &Plan<'_>,
        prefix: &str,
        saved: &mut Saved<'_>,
    ) -> anyhow::Result<Outcome> {
        let (progress, steps_before) = &mut *self.progress.borrow_mut();
        let mut run = Run::new(network, &self.schedule);
        saved.go_on(&mut run)?;
        progress.skip_to(*steps_before + run.losses.len() * plan.steps());
        let mut told = Told { progress, steps_before: *steps_before, prefix: prefix.to_owned() };
        let outcome = run.finish(network, plan, &mut told, &mut |run| Ok(saved.keep(run)?), self.stop);
        let outcome = outcome.map_err(|error| match error.downcast() {
            // Nothing of this training, but the folds before it are kept.
            Ok(TrainError::Stopped { before }) if !saved.folds().is_empty() => {
                TrainError::Interrupted { before }.into()
            }
            Ok(error) => error.into(),
            Err(error) => error,
        })?;
        *steps_before += plan.last_epoch * plan.steps();
        Ok(outcome)
    }

    /// Puts a trained network to work: the score's own numbers are those of the images at `watched`.
    pub fn engine(&self, mut network: Network, watched: &[usize]) -> anyhow::Result<Engine> {
        let Self { options, start, features, area, .. } = self;
        let watched = features.themselves(watched);
        network.scorer = scoring::fit(&network, &features.store, &watched, options, *area)?;
        let mut engine = Engine::new(network, &Preprocess::known(), start.device_name.clone());
        engine.set_roi(options.roi.as_deref())?;
        Ok(engine)
    }

    /// Leaves out a training that was done before the interruption.
    pub fn skip(&self, plan: &Plan<'_>) {
        let (progress, steps_before) = &mut *self.progress.borrow_mut();
        *steps_before += plan.last_epoch * plan.steps();
        progress.skip_to(*steps_before);
    }

    pub fn tell_end(&self, outcome: &Outcome) {
        let watched = outcome.watched_loss.map_or(String::new(), |loss| format!(", watched loss {loss:.4}"));
        self.progress.borrow_mut().0.finish(&format!("epoch {} is kept{watched}", outcome.epoch_kept));
    }
}
