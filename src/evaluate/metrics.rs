//! How well scores separate good from defective, whatever the threshold.
//!
//! Pure. Everything follows from one [`Curve`]: how many defective and good ones score at least t, for each
//! score t that occurs, from the highest down. Equal scores move together, so ties count as they should. The
//! definitions are those of scikit-learn.

/// What a threshold at one of the scores catches, by "at least".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Defective ones at or above it.
    pub caught: u64,
    /// Good ones at or above it.
    pub false_alarms: u64,
}

/// The cumulated counts at each distinct score, highest score first. The last step counts all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curve {
    steps: Vec<Step>,
    last: Step,
}

impl Curve {
    /// From scores and whether each belongs to a defective one. A score that is not finite counts as the
    /// highest of all: nobody can call that part good.
    pub fn new(scored: impl IntoIterator<Item = (f64, bool)>) -> Self {
        let mut scored: Vec<(f64, bool)> =
            scored.into_iter().map(|(score, bad)| (ranked(score), bad)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let groups = scored.chunk_by(|a, b| a.0 == b.0).map(|group| {
            let caught = group.iter().filter(|&&(_, is_defective)| is_defective).count() as u64;
            Step { caught, false_alarms: group.len() as u64 - caught }
        });
        Self::from_groups(groups)
    }

    /// From how many defective and good ones share each score, highest score first.
    pub fn from_groups(groups: impl IntoIterator<Item = Step>) -> Self {
        let mut last = Step { caught: 0, false_alarms: 0 };
        let add = |group: Step| {
            last.caught += group.caught;
            last.false_alarms += group.false_alarms;
            last
        };
        Self { steps: groups.into_iter().map(add).collect(), last }
    }

    /// The corners of the ROC curve from (0, 0) to (1, 1): share of good ones rejected, share of defective ones
    /// caught. Empty unless there are both.
    pub fn roc(&self) -> Vec<(f64, f64)> {
        if self.last.caught == 0 || self.last.false_alarms == 0 {
            return Vec::new();
        }
        let corner = |step: &Step| {
            (share(step.false_alarms, self.last.false_alarms), share(step.caught, self.last.caught))
        };
        std::iter::once((0.0, 0.0)).chain(self.steps.iter().map(corner)).collect()
    }

    /// Area under the ROC curve: the chance that a defective one scores higher than a good one, ties counted
    /// half. None unless there are both.
    pub fn auroc(&self) -> Option<f64> {
        // Twice the area in whole numbers: exact until the one division.
        let mut area = 0_u128;
        let mut before = Step { caught: 0, false_alarms: 0 };
        for &step in &self.steps {
            let width = u128::from(step.false_alarms - before.false_alarms);
            area += width * u128::from(step.caught + before.caught);
            before = step;
        }
        let pairs = u128::from(self.last.caught) * u128::from(self.last.false_alarms);
        (pairs > 0).then(|| to_f64(area) / (2.0 * to_f64(pairs)))
    }

    /// Average precision: precision at each step, weighted by the recall that the step adds. None without
    /// defective ones.
    pub fn average_precision(&self) -> Option<f64> {
        if self.last.caught == 0 {
            return None;
        }
        let mut before = 0;
        let mut sum = 0.0;
        for step in &self.steps {
            sum += count(step.caught - before) * share(step.caught, step.caught + step.false_alarms);
            before = step.caught;
        }
        Some(sum / count(self.last.caught))
    }

    /// Largest F1 of any threshold. None without defective ones.
    pub fn f1_max(&self) -> Option<f64> {
        let f1 = |step: &Step| share(2 * step.caught, step.caught + step.false_alarms + self.last.caught);
        (self.last.caught > 0).then(|| self.steps.iter().map(f1).fold(0.0, f64::max))
    }

    /// Smallest share of good ones that must be rejected to catch at least the share `caught` of the defective
    /// ones. None unless there are both.
    pub fn false_alarms_at(&self, caught: f64) -> Option<f64> {
        if self.last.caught == 0 || self.last.false_alarms == 0 {
            return None;
        }
        let step = self.steps.iter().find(|step| share(step.caught, self.last.caught) >= caught)?;
        Some(share(step.false_alarms, self.last.false_alarms))
    }
}

/// Where a score stands among others: one that is not finite stands above all, whatever its sign.
pub fn ranked(score: f64) -> f64 {
    if score.is_finite() { score } else { f64::INFINITY }
}

fn share(part: u64, whole: u64) -> f64 {
    count(part) / count(whole)
}

#[expect(clippy::cast_precision_loss, reason = "counts of images or pixels, below 2^53")]
fn count(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "a relative error of 1e-16 does not matter here")]
fn to_f64(n: u128) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores with many ties, drawn once.
    const GOOD: [f64; 24] = [
        1.7, 1.2, 1.0, 0.3, 0.9, 0.9, 1.0, 0.7, 1.0, 0.8, 0.5, 1.4, 1.4, 1.7, 1.0, 0.8, 0.8, 0.4, 1.4, 0.6,
        0.5, 0.9, 1.6, 1.1,
    ];
    const DEFECTIVE: [f64; 18] =
        [1.0, 1.2, 2.1, 1.6, 1.2, 1.5, 2.2, 3.1, 0.8, 1.3, 1.1, 0.0, 1.1, 1.0, 2.5, 1.6, 0.6, 2.2];

    #[test]
    fn the_numbers_are_those_of_scikit_learn() {
        let curve = Curve::new(GOOD.map(|s| (s, false)).into_iter().chain(DEFECTIVE.map(|s| (s, true))));
        let close = |actual: Option<f64>, expected: f64| {
            assert!((actual.unwrap() - expected).abs() <= 1e-9, "{actual:?} is not {expected}");
        };
        // scikit-learn 1.9.1: roc_auc_score, average_precision_score, precision_recall_curve, roc_curve.
        close(curve.auroc(), 0.717_592_592_592_592_6);
        close(curve.average_precision(), 0.703_184_467_890_350_3);
        close(curve.f1_max(), 0.666_666_666_666_666_7);
        close(curve.false_alarms_at(1.0), 1.0);
        close(curve.false_alarms_at(0.99), 1.0);
        close(curve.false_alarms_at(0.95), 1.0);
        close(curve.false_alarms_at(0.9), 0.833_333_333_333_333_4);
        close(curve.false_alarms_at(0.5), 0.25);
    }

    #[test]
    fn a_perfect_and_a_useless_score_are_told_apart() {
        let perfect = Curve::new([(1.0, false), (2.0, false), (3.0, true), (4.0, true)]);
        assert_eq!(perfect.auroc(), Some(1.0));
        assert_eq!(perfect.average_precision(), Some(1.0));
        assert_eq!(perfect.f1_max(), Some(1.0));
        assert_eq!(perfect.false_alarms_at(1.0), Some(0.0));
        let useless = Curve::new([(5.0, false), (5.0, true), (5.0, false), (5.0, true)]);
        assert_eq!(useless.auroc(), Some(0.5));
        assert_eq!(useless.false_alarms_at(0.01), Some(1.0));
    }

    #[test]
    fn one_pair_in_the_wrong_order_costs_its_share() {
        // Of the 6 pairs, (2, 3) is wrong and (4, 4) is tied.
        let curve = Curve::new([(1.0, false), (3.0, false), (4.0, false), (2.0, true), (4.0, true)]);
        assert_eq!(curve.auroc(), Some((1.0 + 0.0 + 0.0 + 1.0 + 1.0 + 0.5) / 6.0));
        assert_eq!(curve.false_alarms_at(0.5), Some(1.0 / 3.0));
        assert_eq!(curve.false_alarms_at(0.99), Some(2.0 / 3.0));
    }

    #[test]
    fn one_kind_alone_has_no_curve_to_speak_of() {
        let good = Curve::new([(1.0, false), (2.0, false)]);
        assert_eq!((good.auroc(), good.average_precision(), good.f1_max()), (None, None, None));
        assert_eq!(good.false_alarms_at(1.0), None);
        let bad = Curve::new([(1.0, true)]);
        assert_eq!((bad.auroc(), bad.average_precision()), (None, Some(1.0)));
        assert_eq!(Curve::new([]).auroc(), None);
    }

    #[test]
    fn a_score_that_is_not_finite_ranks_as_the_worst() {
        for score in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let curve = Curve::new([(score, true), (1e300, false)]);
            assert_eq!(curve.auroc(), Some(1.0), "{score}");
        }
    }
}
