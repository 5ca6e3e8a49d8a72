//! The epochs: Adam on the flow's likelihood, the best epoch kept.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::model::network::Network;
use crate::model::preset::Schedule;
use crate::progress::Progress;
use crate::train::adam::{Adam, Step};
use crate::train::average::Average;
use crate::train::error::TrainError;
use crate::train::features::FeatureStore;
use crate::train::objective::Objective;
use crate::train::parameters::{Parameters, Values};

/// How training went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub losses: Vec<Losses>,
    /// From 1.
    pub epoch_kept: usize,
    /// At that epoch; none if no images were watched.
    pub watched_loss: Option<f64>,
    /// Whether it was told to stop before its last epoch.
    pub stopped: bool,
}

/// Of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Mean over the images trained on, as the epoch went.
    pub trained_on: f64,
    /// Of the watched images after it.
    pub watched: Option<f64>,
}

/// What is trained on, and how.
#[derive(Debug)]
pub struct Plan<'a> {
    pub store: &'a FeatureStore,
    /// Rows of `store`.
    pub trained_on: Vec<usize>,
    /// May be empty: then there is no best epoch, and the last one is kept.
    pub watched: Vec<usize>,
    pub schedule: Schedule,
    /// Ends after this epoch, while the learning rate follows the whole schedule.
    pub last_epoch: usize,
    pub seed: u64,
}

impl Plan<'_> {
    /// In one epoch.
    pub fn steps(&self) -> usize {
        self.trained_on.len().div_ceil(self.schedule.batch)
    }
}

/// A training between two epochs: all that it takes to go on.
#[derive(Debug)]
pub struct Run {
    pub parameters: Parameters,
    pub adam: Adam,
    pub average: Option<Average>,
    pub best: Option<Best>,
    /// Of the epochs that are over.
    pub losses: Vec<Losses>,
}

/// Parameters worth keeping.
#[derive(Debug)]
pub struct Best {
    pub epoch: usize,
    pub watched_loss: Option<f64>,
    pub values: Values,
}

/// Where progress is told: a bar that may span several trainings.
#[derive(Debug)]
pub struct Told<'a> {
    pub progress: &'a mut Progress,
    /// Steps of the trainings before.
    pub steps_before: usize,
    /// Which training it is, where there are several: `fold 2 of 5, `.
    pub prefix: String,
}

impl Run {
    /// The start of a training of `network`'s flow.
    pub fn new(network: &Network, schedule: &Schedule) -> Self {
        let parameters = Parameters::of(&network.flow_store);
        let adam = Adam::new(&parameters);
        let average = schedule.average.map(|memory| Average::new(&parameters, memory));
        Self { parameters, adam, average, best: None, losses: Vec::new() }
    }

    /// Trains on to the last epoch, and leaves in `network`, whose flow this must be, the parameters of the epoch
    /// with the lowest loss on the watched images. `keep` is called between epochs.
    pub fn finish(
        mut self,
        network: &Network,
        plan: &Plan<'_>,
        told: &mut Told<'_>,
        keep: &mut dyn FnMut(&Run) -> anyhow::Result<()>,
        stop: &AtomicBool,
    ) -> anyhow::Result<Outcome> {
        let is_over = |run: &Self| {
            let epoch = run.losses.len();
            let waited = run.best.as_ref().map_or(0, |best| epoch - best.epoch);
            epoch >= plan.last_epoch || plan.schedule.patience.is_some_and(|patience| waited >= patience)
        };
        let mut objective = Objective::new(network, &self.parameters);
        while !is_over(&self) && self.epoch(&mut objective, plan, told, stop)? {
            keep(&self)?;
        }
        let stopped = !is_over(&self);
        let Some(best) = self.best else {
            return Err(TrainError::Stopped { before: "the first epoch was over" }.into());
        };
        self.parameters.set(&best.values);
        Ok(Outcome { losses: self.losses, epoch_kept: best.epoch, watched_loss: best.watched_loss, stopped })
    }

    /// Whether it was not stopped in the middle.
    fn epoch(
        &mut self,
        objective: &mut Objective<'_>,
        plan: &Plan<'_>,
        told: &mut Told<'_>,
        stop: &AtomicBool,
    ) -> anyhow::Result<bool> {
        let Plan { store, schedule, .. } = plan;
        let epoch = self.losses.len() + 1;
        let (steps, all_steps) = (plan.steps(), schedule.epochs * plan.steps());
        // Each epoch's order hangs on nothing but its number: a training that goes on finds it again.
        let mut order = plan.trained_on.clone();
        order.shuffle(&mut Pcg64::new(u128::from(plan.seed), epoch as u128));
        let mut sum = 0.0;
        for (step, rows) in order.chunks(schedule.batch).enumerate() {
            if stop.load(Relaxed) {
                return Ok(false);
            }
            let done = (epoch - 1) * steps + step;
            let features = store.batch(rows, objective.device())?;
            let value = objective.descend(&mut self.parameters, &features)?;
            if !value.is_finite() {
                return Err(TrainError::Diverged { value, step, epoch }.into());
            }
            let step = Step {
                learning_rate: learning_rate(schedule, done, all_steps),
                epsilon: schedule.epsilon,
                weight_decay: schedule.weight_decay,
                clip_norm: schedule.clip_norm,
            };
            self.adam.step(&mut self.parameters, &objective.gradient, self.average.as_mut(), step);
            sum += value * share(rows.len(), order.len());
            let held = self.best.as_ref().and_then(|best| best.watched_loss);
            let held = held.map_or(String::new(), |loss| format!(", watched {loss:.4}"));
            let note = format!("{}epoch {epoch}, loss {value:.4}{held}", told.prefix);
            told.progress.set(told.steps_before + done + 1, &note);
        }
        self.judge(objective, plan, sum)?;
        let watched = self.losses[epoch - 1].watched;
        let watched = watched.map_or(String::new(), |loss| format!(", watched {loss:.4}"));
        let note = format!("{}epoch {epoch} over, loss {sum:.4}{watched}", told.prefix);
        told.progress.milestone(told.steps_before + epoch * steps, &note);
        Ok(true)
    }

    /// Ends an epoch: what the average is worth, and whether it is the best so far.
    fn judge(
        &mut self,
        objective: &mut Objective<'_>,
        plan: &Plan<'_>,
        trained_on: f64,
    ) -> anyhow::Result<()> {
        let epoch = self.losses.len() + 1;
        if let Some(average) = &mut self.average {
            self.parameters.swap(&mut average.values);
        }
        let watched = mean_loss(objective, &self.parameters, plan)?;
        if let Some(value) = watched.filter(|loss| !loss.is_finite()) {
            return Err(TrainError::Diverged { value, step: plan.steps(), epoch }.into());
        }
        self.losses.push(Losses { trained_on, watched });
        let best_loss = self.best.as_ref().and_then(|best| best.watched_loss);
        // Without watched images both are none, and the last epoch is the best.
        let is_best = match (watched, best_loss) {
            (Some(watched), Some(best)) => watched < best,
            (_, None) | (None, _) => true,
        };
        if is_best {
            self.best = Some(Best { epoch, watched_loss: watched, values: self.parameters.values() });
        }
        if let Some(average) = &mut self.average {
            self.parameters.swap(&mut average.values);
        }
        Ok(())
    }
}

/// Of the watched images, if there are any.
fn mean_loss(
    objective: &mut Objective<'_>,
    parameters: &Parameters,
    plan: &Plan<'_>,
) -> anyhow::Result<Option<f64>> {
    let mut sum = 0.0;
    for rows in plan.watched.chunks(plan.schedule.batch) {
        let features = plan.store.batch(rows, objective.device())?;
        sum += objective.loss(parameters, &features)? * share(rows.len(), plan.watched.len());
    }
    Ok((!plan.watched.is_empty()).then_some(sum))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of images")]
fn share(part: usize, all: usize) -> f64 {
    part as f64 / all as f64
}

/// The learning rate at `step` of `steps`. One cycle (Smith, 2018, <https://arxiv.org/abs/1803.09820>): up from
/// a twenty-fifth in the first three tenths, then down to nothing, both along a cosine.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 steps")]
fn learning_rate(schedule: &Schedule, step: usize, steps: usize) -> f64 {
    if !schedule.one_cycle {
        return schedule.learning_rate;
    }
    let at = step as f64 / steps as f64;
    let cosine =
        |from: f64, to: f64, at: f64| to + (from - to) * (1.0 + (std::f64::consts::PI * at).cos()) / 2.0;
    let peak = schedule.learning_rate;
    if at < 0.3 { cosine(peak / 25.0, peak, at / 0.3) } else { cosine(peak, peak / 1e5, (at - 0.3) / 0.7) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::Preset;

    #[test]
    fn one_cycle_climbs_and_falls_and_the_paper_stays() {
        let lite = Preset::Lite.schedule();
        let rate = |step| learning_rate(&lite, step, 1000);
        assert!((rate(0) - lite.learning_rate / 25.0).abs() < 1e-12);
        assert!((rate(300) - lite.learning_rate).abs() < 1e-12);
        assert!(rate(150) > rate(0) && rate(600) < rate(300) && rate(999) < lite.learning_rate / 1000.0);
        let paper = Preset::Paper.schedule();
        assert_eq!(learning_rate(&paper, 999, 1000), paper.learning_rate);
    }
}
