//! Few images: each is judged by a network that has not seen it, and all train the one that is used.
//!
//! Cross-conformal prediction: Vovk, 2015, <https://arxiv.org/abs/1208.0806>. Features are extracted once; each fold
//! has its own whitening, since one that had seen the fold's images would know them.

use serde::{Deserialize, Serialize};

use crate::dataset::division;
use crate::engine::Engine;
use crate::train::BATCH;
use crate::train::error::TrainError;
use crate::train::held_out::{self, Judged};
use crate::train::optimise::{Outcome, Plan};
use crate::train::saved::Saved;
use crate::train::work::Work;

/// What a fold's network found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// The fold's images in their order.
    pub judged: Vec<Judged>,
    pub epoch_kept: usize,
    pub watched_loss: Option<f64>,
}

/// Trains and judges the folds that are not done, and trains the network that is used, to the median of the folds'
/// best epochs.
pub fn run(
    work: &Work<'_>,
    folds: &[Vec<usize>],
    saved: &mut Saved<'_>,
) -> anyhow::Result<(Engine, Outcome)> {
    let all: Vec<usize> = (0..work.good.files.len()).collect();
    for (k, fold) in folds.iter().enumerate() {
        let rest: Vec<usize> = all.iter().copied().filter(|image| !fold.contains(image)).collect();
        let seed = work.options.seed.wrapping_add(1 + k as u64);
        let (trained_on, watched) = division::watch(&work.good.groups, &rest, seed);
        let plan = work.plan(&trained_on, &watched);
        if k < saved.folds().len() {
            work.skip(&plan);
            continue;
        }
        let network = work.network(Some(k))?;
        let prefix = format!("fold {} of {}, ", k + 1, folds.len());
        let outcome = work.train(&network, &plan, &prefix, saved)?;
        if outcome.stopped {
            return Err(TrainError::Interrupted { before: "all folds were trained" }.into());
        }
        let mut engine = work.engine(network, &[])?;
        let judged = held_out::judge(&mut engine, &work.good.files(fold), BATCH, &mut |_| {}, work.clock)?;
        saved.keep_fold(Fold {
            judged,
            epoch_kept: outcome.epoch_kept,
            watched_loss: outcome.watched_loss,
        })?;
    }
    let network = work.network(None)?;
    let last_epoch = median(saved.folds().iter().map(|fold| fold.epoch_kept).collect());
    let plan = Plan { last_epoch, ..work.plan(&all, &[]) };
    let outcome = work.train(&network, &plan, "all images, ", saved)?;
    if outcome.stopped {
        return Err(TrainError::Interrupted { before: "the network was trained on all images" }.into());
    }
    let engine = work.engine(network, &[])?;
    let watched_loss = median_loss(saved.folds());
    Ok((engine, Outcome { watched_loss, ..outcome }))
}

/// The lower one of two.
fn median(mut epochs: Vec<usize>) -> usize {
    epochs.sort_unstable();
    epochs[(epochs.len() - 1) / 2]
}

fn median_loss(folds: &[Fold]) -> Option<f64> {
    let mut losses: Vec<f64> = folds.iter().filter_map(|fold| fold.watched_loss).collect();
    losses.sort_by(f64::total_cmp);
    losses.get(losses.len().checked_sub(1)? / 2).copied()
}
