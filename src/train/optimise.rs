//! The epochs: Adam on the flow's likelihood, the best epoch kept.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use tch::Tensor;
use tch::nn::{self, OptimizerConfig};

use crate::model::flow;
use crate::model::network::Network;
use crate::model::preset::Schedule;
use crate::progress::Progress;
use crate::train::average::Average;
use crate::train::error::TrainError;
use crate::train::features::FeatureStore;

/// How training went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Mean loss of each epoch on the images trained on, and the loss of the watched images after it.
    pub losses: Vec<(f64, f64)>,
    /// From 1.
    pub epoch_kept: usize,
    pub watched_loss: f64,
    /// Whether it was told to stop before its last epoch.
    pub stopped: bool,
}

/// What is trained on, and how.
#[derive(Debug)]
pub struct Plan<'a> {
    pub store: &'a FeatureStore,
    /// Positions in `store`.
    pub trained_on: Vec<usize>,
    pub watched: Vec<usize>,
    pub schedule: Schedule,
    pub seed: u64,
}

/// Trains the flow of `network`, and leaves in it the parameters of the epoch with the lowest loss on the watched
/// images.
pub fn run(network: &Network, plan: &Plan<'_>, stop: &AtomicBool) -> anyhow::Result<Outcome> {
    let Plan { store, trained_on, watched, schedule, seed } = plan;
    let adam = nn::Adam { wd: schedule.weight_decay, eps: schedule.epsilon, ..Default::default() };
    let mut optimiser = adam.build(&network.flow_store, schedule.learning_rate)?;
    let mut rng = Pcg64::new(u128::from(*seed), 1);
    let mut order = trained_on.clone();
    let steps = order.len().div_ceil(schedule.batch);
    let mut progress = Progress::start("training", schedule.epochs * steps);
    let mut average = schedule.average.map(|memory| Average::new(&network.flow_store, memory));
    let mut losses = Vec::new();
    let mut best: Option<Best> = None;

    'epochs: for epoch in 1..=schedule.epochs {
        order.shuffle(&mut rng);
        let mut sum = 0.0;
        for (step, positions) in order.chunks(schedule.batch).enumerate() {
            if stop.load(Relaxed) {
                break 'epochs;
            }
            let done = (epoch - 1) * steps + step;
            optimiser.set_lr(learning_rate(schedule, done, schedule.epochs * steps));
            let (latent, log_det) = network.latent(&store.batch(positions, network.device())?);
            let loss = flow::loss(&latent, &log_det);
            let value = loss.double_value(&[]);
            if !value.is_finite() {
                return Err(TrainError::Diverged { value, step, epoch }.into());
            }
            optimiser.zero_grad();
            loss.backward();
            optimiser.clip_grad_norm(schedule.clip_norm);
            optimiser.step();
            if let Some(average) = &mut average {
                average.update();
            }
            #[expect(clippy::cast_precision_loss, reason = "a few images")]
            let share = positions.len() as f64 / order.len() as f64;
            sum += value * share;
            let held = best.as_ref().map_or(String::new(), |b| format!(", watched {:.4}", b.watched_loss));
            progress.set(done + 1, &format!("epoch {epoch}, loss {value:.4}{held}"));
        }
        if let Some(average) = &mut average {
            average.swap();
        }
        let watched_loss = mean_loss(network, store, watched, schedule.batch)?;
        if !watched_loss.is_finite() {
            return Err(TrainError::Diverged { value: watched_loss, step: steps, epoch }.into());
        }
        losses.push((sum, watched_loss));
        progress.milestone(
            epoch * steps,
            &format!("epoch {epoch} over, loss {sum:.4}, watched {watched_loss:.4}"),
        );
        if best.as_ref().is_none_or(|best| watched_loss < best.watched_loss) {
            best = Some(Best::of(network, epoch, watched_loss));
        }
        if let Some(average) = &mut average {
            average.swap();
        }
        let is_over = |best: &Best| schedule.patience.is_some_and(|patience| epoch - best.epoch >= patience);
        if best.as_ref().is_some_and(is_over) {
            break;
        }
    }

    let Some(best) = best else {
        return Err(TrainError::Stopped { before: "the first epoch was over" }.into());
    };
    best.restore();
    let stopped = stop.load(Relaxed);
    progress.finish(&format!("epoch {} is best, watched loss {:.4}", best.epoch, best.watched_loss));
    Ok(Outcome { losses, epoch_kept: best.epoch, watched_loss: best.watched_loss, stopped })
}

/// Parameters worth keeping.
struct Best {
    epoch: usize,
    watched_loss: f64,
    /// Each variable and a copy of its values.
    parameters: Vec<(Tensor, Tensor)>,
}

impl Best {
    fn of(network: &Network, epoch: usize, watched_loss: f64) -> Self {
        let copy = |variable: Tensor| (variable.shallow_clone(), variable.detach().copy());
        let parameters = network.flow_store.trainable_variables().into_iter().map(copy).collect();
        Self { epoch, watched_loss, parameters }
    }

    fn restore(&self) {
        tch::no_grad(|| {
            for (variable, values) in &self.parameters {
                variable.shallow_clone().copy_(values);
            }
        });
    }
}

fn mean_loss(
    network: &Network,
    store: &FeatureStore,
    positions: &[usize],
    batch: usize,
) -> anyhow::Result<f64> {
    let _guard = tch::no_grad_guard();
    let mut sum = 0.0;
    for chunk in positions.chunks(batch) {
        let (latent, log_det) = network.latent(&store.batch(chunk, network.device())?);
        #[expect(clippy::cast_precision_loss, reason = "a few images")]
        let share = chunk.len() as f64 / positions.len() as f64;
        sum += flow::loss(&latent, &log_det).double_value(&[]) * share;
    }
    Ok(sum)
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
