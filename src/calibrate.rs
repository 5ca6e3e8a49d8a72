//! From the scores of held-out good parts to a threshold with a guarantee that holds for any score law.
//!
//! The threshold is the k-th largest of n held-out scores. Whatever the law of the scores, the share of good
//! parts above it then follows Beta(k, n + 1 - k), if no two scores are equal; ties only make it smaller (David and
//! Nagaraja, Order Statistics, 2003, section 2.5; Vovk, Conditional validity of inductive conformal predictors, 2012).
//! The largest k is taken whose upper confidence bound stays within the target. It depends on n alone, not on the
//! scores, or the law would be another. Never for scores of images that were trained on: those are too low.
//!
//! Scores from folds carry less: see [`Guarantee::CrossConformal`].

pub mod binomial;
pub mod evidence;
pub mod rate;
pub mod renew;
pub mod share;
mod stored;
pub mod tail;
mod text;

use serde::{Deserialize, Serialize};

use crate::calibrate::binomial::{at_least, beta_quantile};
use crate::calibrate::evidence::{Evidence, Obtained, Part, gather};
use crate::calibrate::renew::Change;
use crate::calibrate::share::{Bound, Percent, Share};
use crate::verdict::{Judge, Threshold};

/// Targets to choose from where nobody asks for one.
const LADDER: [f64; 7] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1];

/// How many good parts may be rejected, and how sure that must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Share of good parts that score above the threshold.
    pub overkill: Share,
    /// Chance, over the draw of the held-out parts, that the true overkill is within the bound.
    pub confidence: Share,
}

/// What to do about a target that so few parts cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    Refuse,
    /// Take the largest score, and say that it guarantees nothing.
    Flag,
}

/// On what the target rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Proven for any score law, given that the held-out parts are drawn as production's are.
    Exact,
    /// The same count over out-of-fold scores. It holds if the network that was trained on all images scores new
    /// parts as the folds' networks do. What is proven is about those networks, and on average over draws of the
    /// images, not with a confidence: a part's cross-conformal p-value is at most a with a chance of at most
    /// 2a + 2(1 - a)(k - 1)/(n + k) (Vovk 2015; Barber, Candes, Ramdas and Tibshirani, Predictive inference with the
    /// jackknife+, 2021; Gasparin and Ramdas, arXiv 2503.01495).
    CrossConformal,
    /// There are too few parts for the target.
    None,
}

/// A threshold and what is known about it. Stored in the bundle, and checked when it is read from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Calibration {
    /// The `order`-th largest score of the parts; higher scores are not OK.
    pub threshold: f64,
    /// Scores less than this below the threshold are not decidable, on top of the overkill bounded here. In
    /// the unit of the score.
    pub guard_band: f64,
    /// Map values above this belong to a region. It is the `order`-th largest of the parts' largest map
    /// values, so that a good part shows a region no more often than it is rejected.
    pub map_threshold: f64,
    /// What was asked for.
    pub target_overkill: f64,
    pub confidence: f64,
    /// With `confidence`, the true share of good parts above the threshold is at most this.
    pub attained_overkill_bound: f64,
    pub guarantee: Guarantee,
    /// Number of held-out good parts.
    pub n: usize,
    /// The rank of the threshold among their scores; 1 is the largest.
    pub order: usize,
    /// Smallest number of held-out good parts that can carry the target.
    pub n_needed: u64,
    pub obtained: Obtained,
    /// By ascending score.
    pub parts: Vec<Part>,
    /// What was done to it after training, in order.
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CalibrateError {
    #[error("{0} held-out good parts cannot give a threshold: at least 2 are needed, better 300")]
    TooFew(usize),
    #[error(
        "a target overkill of {} with {} confidence needs {needed} held-out good parts; {n} carry {} at best. Give more \
         images, ask for less, or take a threshold without the guarantee by --force",
        Percent(target.overkill.get()), Percent(target.confidence.get()), Bound(*attained)
    )]
    NotCarried { target: Target, n: usize, attained: f64, needed: u64 },
    #[error("all {n} good parts score {score}: such a score tells nothing apart")]
    AllEqual { n: usize, score: f64 },
    #[error("{what} of held-out image {index} is {value}: the network does not work on it")]
    NotFinite { what: &'static str, index: usize, value: f64 },
    #[error("calibration: {key} {rule}")]
    Inconsistent { key: &'static str, rule: &'static str },
}

/// Finds the threshold for `target`. If there are too few parts for that, `shortfall` decides.
pub fn calibrate(
    evidence: &Evidence,
    target: Target,
    shortfall: Shortfall,
) -> Result<Calibration, CalibrateError> {
    of_parts(gather(Vec::new(), &evidence.samples, 0)?, evidence.obtained, target, shortfall)
}

/// `parts` by ascending score.
fn of_parts(
    parts: Vec<Part>,
    obtained: Obtained,
    target: Target,
    shortfall: Shortfall,
) -> Result<Calibration, CalibrateError> {
    let n = parts.len();
    if n < 2 {
        return Err(CalibrateError::TooFew(n));
    }
    let score = parts[0].score;
    if score == parts[n - 1].score {
        return Err(CalibrateError::AllEqual { n, score });
    }
    let carried = check_carried(n, target);
    let guarantee = match (&carried, shortfall, obtained) {
        (Err(_), Shortfall::Flag, _) => Guarantee::None,
        (Ok(()), _, Obtained::HeldOut) => Guarantee::Exact,
        (Ok(()), _, Obtained::Folds { .. }) => Guarantee::CrossConformal,
        (Err(_), Shortfall::Refuse, _) => return Err(carried.expect_err("it is one")),
    };
    let order = order(n, target);
    let mut maxima: Vec<f64> = parts.iter().map(|part| part.map_max).collect();
    maxima.sort_by(f64::total_cmp);
    Ok(Calibration {
        threshold: parts[n - order].score,
        guard_band: 0.0,
        map_threshold: maxima[n - order],
        target_overkill: target.overkill.get(),
        confidence: target.confidence.get(),
        attained_overkill_bound: beta_quantile(order, n, target.confidence.get()),
        guarantee,
        n,
        order,
        n_needed: n_needed(target),
        obtained,
        parts,
        changes: Vec::new(),
    })
}

/// The largest k whose bound is within the target; 1 if none is.
pub fn order(n: usize, target: Target) -> usize {
    let (overkill, confidence) = (target.overkill.get(), target.confidence.get());
    // The chance that the k-th largest keeps the target falls with k.
    let (mut keeps, mut breaks) = (0, n + 1);
    while breaks - keeps > 1 {
        let k = usize::midpoint(keeps, breaks);
        if at_least(k, n, overkill) >= confidence { keeps = k } else { breaks = k }
    }
    keeps.max(1)
}

/// Smallest number of held-out good parts that can carry `target`: their largest score does, and one part fewer
/// would not.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; saturates")]
pub fn n_needed(target: Target) -> u64 {
    // All n of them lie below the share `overkill` of the highest scores with chance (1 - overkill)^n.
    ((1.0 - target.confidence.get()).ln() / (-target.overkill.get()).ln_1p()).ceil() as u64
}

/// The tightest bound on overkill that `n` held-out parts can carry. Everything if there are none.
pub fn attainable(n: usize, confidence: Share) -> f64 {
    if n == 0 { 1.0 } else { beta_quantile(1, n, confidence.get()) }
}

/// Whether `n` held-out parts can carry `target`; the error says what they can. Known before anything is trained.
pub fn check_carried(n: usize, target: Target) -> Result<(), CalibrateError> {
    if at_least(1, n, target.overkill.get()) >= target.confidence.get() {
        return Ok(());
    }
    let (attained, needed) = (attainable(n, target.confidence), n_needed(target));
    Err(CalibrateError::NotCarried { target, n, attained, needed })
}

/// The target where nobody asks for one: the tightest of 0.1, 0.2, 0.5, 1, 2, 5 and 10 % that `n` held-out parts
/// carry, or 10 % if they carry none.
pub fn default_overkill(n: usize, confidence: Share) -> Share {
    let steps = LADDER.map(|step| Share::new(step).expect("it lies between 0 and 1"));
    let carried =
        steps.into_iter().find(|&overkill| check_carried(n, Target { overkill, confidence }).is_ok());
    carried.unwrap_or(steps[LADDER.len() - 1])
}

impl Calibration {
    pub fn judge(&self) -> Judge {
        Threshold::new(self.threshold)
            .and_then(|threshold| Judge::new(threshold, self.guard_band))
            .expect("a calibration is checked when it is made and when it is read")
    }

    /// Share of good parts that score at least this high: small for a score that is unlike a good part's. A
    /// score that is not a number is as unlike as can be. Since a part counts with the largest of its images, a
    /// single image of a good part has no smaller p-value than it should.
    #[expect(clippy::cast_precision_loss, reason = "counts of parts")]
    pub fn p_value(&self, score: f64) -> f64 {
        let below =
            if score.is_nan() { self.n } else { self.parts.partition_point(|part| part.score < score) };
        (1 + self.n - below) as f64 / (self.n + 1) as f64
    }

    /// The target, as it was asked for.
    pub fn target(&self) -> Target {
        let share = |value| Share::new(value).expect("checked when it was read");
        Target { overkill: share(self.target_overkill), confidence: share(self.confidence) }
    }

    /// Whether the target is proven for any score law.
    pub fn guaranteed(&self) -> bool {
        self.guarantee == Guarantee::Exact
    }

    /// Whether the bound is within the target, on whatever it rests.
    pub fn carries_target(&self) -> bool {
        self.guarantee != Guarantee::None
    }

    pub fn n_images(&self) -> usize {
        self.parts.iter().map(|part| part.images.len()).sum()
    }

    /// Parts that came after training.
    pub fn n_added(&self) -> usize {
        self.parts.iter().filter(|part| part.added > 0).count()
    }

    /// Held-out parts within the guard band: the gate rejects such too.
    pub fn n_undecidable(&self) -> usize {
        let decided = self.threshold - self.guard_band;
        self.parts.iter().filter(|part| part.score > decided && part.score <= self.threshold).count()
    }

    /// The same calibration with another guard band.
    pub fn with_guard_band(self, guard_band: f64) -> Result<Self, CalibrateError> {
        let calibration = Self { guard_band, ..self };
        calibration.check()?;
        Ok(calibration)
    }
}

impl Default for Target {
    /// 1 % with 95 % confidence: 299 held-out parts carry it.
    fn default() -> Self {
        let share = |value| Share::new(value).expect("it lies between 0 and 1");
        Self { overkill: share(0.01), confidence: share(0.95) }
    }
}

#[cfg(test)]
mod tests;
