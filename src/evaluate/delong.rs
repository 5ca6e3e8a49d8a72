//! How sure an area under the ROC curve is, and whether two bundles differ in it.
//!
//! Pure. The variance is that of E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under
//! two or more correlated receiver operating characteristic curves", Biometrics 44 (1988) 837-845. The interval is
//! taken on the logit scale, as M. S. Pepe, "The statistical evaluation of medical tests" (2003), section 5.2,
//! has it: it stays between 0 and 1.

use serde::Serialize;

use crate::calibrate::binomial::share_interval;
use crate::evaluate::metrics::ranked;

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// So many images of each side must lose against one of the other side, and so many must win, before a normal
/// approximation is trusted: the rule of thumb for counted shares.
const ENOUGH: usize = 5;

/// 95 % confidence limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Two areas of the same images compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The second area less the first.
    pub difference: f64,
    /// 95 % limits of the true difference. Absent, as the chance, where too few images lose or win, or all do alike
    /// with both: a normal approximation says nothing then.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Chance of a difference at least this large, either way, if the true areas were equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
}

/// The placement of each image among those of the other side: the share of them on the right side of it, ties
/// counted half. Both sides have the mean AUROC.
#[derive(Clone, Debug, PartialEq)]
pub struct Placements {
    defective: Vec<f64>,
    good: Vec<f64>,
}

impl Placements {
    /// None unless there are good scores and defective ones.
    pub fn new(good: &[f64], defective: &[f64]) -> Option<Self> {
        if good.is_empty() || defective.is_empty() {
            return None;
        }
        let sorted = |scores: &[f64]| {
            let mut scores: Vec<f64> = scores.iter().map(|&score| ranked(score)).collect();
            scores.sort_by(f64::total_cmp);
            scores
        };
        let (goods, defectives) = (sorted(good), sorted(defective));
        Some(Self {
            defective: defective.iter().map(|&score| below(&goods, ranked(score))).collect(),
            good: good.iter().map(|&score| 1.0 - below(&defectives, ranked(score))).collect(),
        })
    }

    pub fn auroc(&self) -> f64 {
        mean(&self.defective)
    }

    /// 95 % limits of the true AUROC.
    ///
    /// DeLong's, where enough images lose and win. Elsewhere, as after a perfect separation or with one image,
    /// that variance says nothing. Then the images are thought of as `min(good, defective)` pairs that share no
    /// image: each is won with a chance of just the AUROC, so the exact limits of a share (Clopper and Pearson)
    /// hold. Where pairs are won in part, the whole numbers around are taken, to the safe side.
    pub fn interval(&self) -> Interval {
        let auroc = self.auroc();
        let error = (variance(&self.defective) + variance(&self.good)).sqrt();
        if self.is_enough() && error > 0.0 {
            let middle = (auroc / (1.0 - auroc)).ln();
            let reach = Z * error / (auroc * (1.0 - auroc));
            let back = |logit: f64| 1.0 / (1.0 + (-logit).exp());
            return Interval { low: back(middle - reach), high: back(middle + reach) };
        }
        let pairs = self.defective.len().min(self.good.len());
        let (low, _) = share_interval(whole((auroc * count(pairs)).floor()), pairs, 0.95);
        let (_, high) = share_interval(whole((auroc * count(pairs)).ceil()), pairs, 0.95);
        Interval { low, high }
    }

    /// Whether a normal approximation can be trusted.
    fn is_enough(&self) -> bool {
        [&self.defective, &self.good].iter().all(|side| {
            let count = |is: fn(&f64) -> bool| side.iter().filter(|&placement| is(placement)).count();
            count(|&placement| placement < 1.0) >= ENOUGH && count(|&placement| placement > 0.0) >= ENOUGH
        })
    }

    /// How `other`, of the same images in the same order, differs from this. None if they are not the same number.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        if (self.good.len(), self.defective.len()) != (other.good.len(), other.defective.len()) {
            return None;
        }
        let less = |one: &[f64], other: &[f64]| -> Vec<f64> {
            one.iter().zip(other).map(|(one, other)| other - one).collect()
        };
        // Var(a - b) = Var(a) + Var(b) - 2 Cov(a, b).
        let error = (variance(&less(&self.defective, &other.defective))
            + variance(&less(&self.good, &other.good)))
        .sqrt();
        let difference = other.auroc() - self.auroc();
        let is_known = self.is_enough() && other.is_enough() && error > 0.0;
        let p_value = is_known.then(|| libm::erfc((difference / error).abs() / f64::sqrt(2.0)));
        let (low, high) = ((difference - Z * error).max(-1.0), (difference + Z * error).min(1.0));
        let interval = is_known.then_some(Interval { low, high });
        Some(Difference { difference, interval, p_value })
    }
}

/// Share of `sorted` below `score`, equal ones counted half.
fn below(sorted: &[f64], score: f64) -> f64 {
    let less = sorted.partition_point(|&one| one < score);
    let not_more = sorted.partition_point(|&one| one <= score);
    count(less + not_more) / (2.0 * count(sorted.len()))
}

/// Of the mean of `values`; 0 for a single one.
fn variance(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 2 {
        return 0.0;
    }
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count(n - 1) / count(n)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values.len())
}

#[expect(clippy::cast_precision_loss, reason = "counts of images")]
fn count(n: usize) -> f64 {
    n as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of pairs")]
fn whole(n: f64) -> usize {
    n as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scores of `metrics`, and those of a second network for the same images.
    const GOOD: [[f64; 24]; 2] = [
        [
            1.7, 1.2, 1.0, 0.3, 0.9, 0.9, 1.0, 0.7, 1.0, 0.8, 0.5, 1.4, 1.4, 1.7, 1.0, 0.8, 0.8, 0.4, 1.4,
            0.6, 0.5, 0.9, 1.6, 1.1,
        ],
        [
            2.3, 0.4, 1.1, 0.1, 0.8, 0.8, 0.4, 0.6, 0.7, 1.8, 0.6, 1.3, 1.3, 1.5, 0.7, 0.7, 0.9, 0.3, 1.7,
            0.5, 0.5, 1.4, 1.8, 0.9,
        ],
    ];
    const DEFECTIVE: [[f64; 18]; 2] = [
        [1.0, 1.2, 2.1, 1.6, 1.2, 1.5, 2.2, 3.1, 0.8, 1.3, 1.1, 0.0, 1.1, 1.0, 2.5, 1.6, 0.6, 2.2],
        [1.2, 1.7, 3.0, 1.8, 1.4, 2.1, 2.2, 3.3, 1.4, 1.8, 1.4, 0.5, 0.6, 1.6, 2.5, 1.4, 1.0, 2.7],
    ];

    fn placements() -> [Placements; 2] {
        [0, 1].map(|network| Placements::new(&GOOD[network], &DEFECTIVE[network]).unwrap())
    }

    #[track_caller]
    fn close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() <= 1e-9, "{actual} is not {expected}");
    }

    #[track_caller]
    fn assert_interval(good: &[f64], defective: &[f64], low: f64, high: f64) {
        let interval = Placements::new(good, defective).unwrap().interval();
        close(interval.low, low);
        close(interval.high, high);
    }

    #[test]
    fn interval_and_difference_are_those_of_the_whole_matrix_of_pairs() {
        let [first, second] = placements();
        // numpy 2.4.6 and scipy 1.17.1, from the 18 x 24 matrix of won, lost and tied pairs.
        close(first.auroc(), 0.717_592_592_592_592_5);
        close(second.auroc(), 0.795_138_888_888_888_8);
        close(first.interval().low, 0.530_917_554_216_492_1);
        close(first.interval().high, 0.850_848_853_563_077_3);
        let found = first.difference(&second).unwrap();
        close(found.difference, 0.077_546_296_296_296_28);
        let interval = found.interval.unwrap();
        close(interval.low, -0.037_741_868_484_679_2);
        close(interval.high, 0.192_834_461_077_271_76);
        close(found.p_value.unwrap(), 0.187_392_907_571_405_48);
    }

    #[test]
    fn a_perfect_separation_is_as_sure_as_the_images_are_many() {
        let good: Vec<f64> = (0..30).map(f64::from).collect();
        let defective: Vec<f64> = (40..60).map(f64::from).collect();
        // 20 of 20 pairs won.
        assert_interval(&good, &defective, 0.025_f64.powf(1.0 / 20.0), 1.0);
        assert_interval(&defective, &good, 0.0, 1.0 - 0.025_f64.powf(1.0 / 20.0));
    }

    #[test]
    fn one_image_says_next_to_nothing() {
        let good: Vec<f64> = (0..200).map(f64::from).collect();
        assert_interval(&good, &[500.0], 0.025, 1.0);
        assert_interval(&good, &[150.5], 0.0, 1.0);
        assert_interval(
            &[1.0; 50],
            &[1.0; 50],
            share_interval(25, 50, 0.95).0,
            share_interval(25, 50, 0.95).1,
        );
    }

    #[test]
    fn equal_networks_do_not_differ_and_other_images_cannot_be_compared() {
        let [first, _] = placements();
        let same = first.difference(&first).unwrap();
        assert_eq!(same, Difference { difference: 0.0, interval: None, p_value: None });
        assert_eq!(first.difference(&Placements::new(&[1.0], &[2.0]).unwrap()), None);
        assert_eq!(Placements::new(&[], &[1.0]), None);
    }

    #[test]
    fn a_difference_of_few_lost_images_has_neither_limits_nor_a_chance() {
        let good: Vec<f64> = (0..30).map(f64::from).collect();
        let perfect: Vec<f64> = (40..60).map(f64::from).collect();
        let mut lost = perfect.clone();
        // Four defective images below some good ones are too few, a fifth is enough.
        lost[..4].copy_from_slice(&[3.5, 10.5, 20.5, 25.5]);
        let of = |defective: &[f64]| Placements::new(&good, defective).unwrap();
        let few = of(&perfect).difference(&of(&lost)).unwrap();
        assert!(few.difference < 0.0 && few.interval.is_none() && few.p_value.is_none(), "{few:?}");
        assert_eq!(serde_json::to_value(few).unwrap().as_object().unwrap().len(), 1);
        lost[4] = 15.5;
        let mut others = lost.clone();
        others[0] = 22.5;
        let enough = of(&lost).difference(&of(&others)).unwrap();
        assert!(enough.interval.is_some() && enough.p_value.is_some(), "{enough:?}");
        assert_eq!(of(&perfect).difference(&of(&lost)).unwrap().p_value, None, "one of the two has too few");
    }

    #[test]
    fn a_score_that_is_not_finite_ranks_as_the_worst() {
        let found = Placements::new(&[1.0, f64::NAN], &[f64::NEG_INFINITY, 2.0]).unwrap();
        assert_eq!(found.auroc(), (1.0 + 0.5 + 1.0 + 0.0) / 4.0);
    }
}
