//! Whether the stated bound holds as often as it says: thousands of calibrations, whose true overkill is known.

use std::cmp::Ordering;

use csflowd::calibrate::binomial::share_interval;
use csflowd::calibrate::evidence::{Evidence, Obtained, Sample};
use csflowd::calibrate::share::Share;
use csflowd::calibrate::{Calibration, Shortfall, Target, calibrate, default_overkill};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::laws::{LAWS, scores};

fn target(overkill: f64, confidence: f64) -> Target {
    Target { overkill: Share::new(overkill).unwrap(), confidence: Share::new(confidence).unwrap() }
}

fn calibrated(samples: Vec<Sample>, target: Target) -> Calibration {
    calibrate(&Evidence { samples, obtained: Obtained::HeldOut }, target, Shortfall::Refuse).unwrap()
}

fn alone(scores: &[f64]) -> Vec<Sample> {
    Evidence::ungrouped(scores, scores).samples
}

/// How the true rate, of which `kept` of `splits` were counted, compares with the stated one. Wrong once in a million
/// draws.
fn compare(kept: usize, splits: usize, stated: f64) -> Ordering {
    let (low, high) = share_interval(kept, splits, 1.0 - 1e-6);
    if high < stated {
        Ordering::Less
    } else if low > stated {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

#[test]
fn the_bound_holds_at_the_stated_rate_and_no_more_often_for_every_law() {
    let mut rng = Pcg64::seed_from_u64(20);
    for law in &LAWS {
        for (n, splits, confidence) in
            [(50, 2000, 0.95), (100, 2000, 0.9), (300, 1000, 0.95), (1000, 300, 0.8), (3000, 100, 0.9)]
        {
            let overkill = default_overkill(n, Share::new(confidence).unwrap());
            let target = target(overkill.get(), confidence);
            let kept = (0..splits).filter(|_| {
                let found = calibrated(alone(&scores(law, n, &mut rng)), target);
                assert!(found.guaranteed() && found.attained_overkill_bound <= target.overkill.get());
                (law.above)(found.threshold) <= found.attained_overkill_bound
            });
            let kept = kept.count();
            let found = compare(kept, splits, confidence);
            assert_eq!(found, Ordering::Equal, "{}, n {n}: {kept} of {splits}", law.name);
        }
    }
}

#[test]
fn the_target_holds_at_least_at_the_stated_rate_but_one_rank_lower_it_would_not() {
    let mut rng = Pcg64::seed_from_u64(21);
    let (target, splits, law) = (target(0.02, 0.9), 2000, &LAWS[1]);
    let (mut kept, mut kept_below) = (0, 0);
    for _ in 0..splits {
        let found = calibrated(alone(&scores(law, 400, &mut rng)), target);
        let below = found.parts[found.n - found.order - 1].score;
        kept += usize::from((law.above)(found.threshold) <= 0.02);
        kept_below += usize::from((law.above)(below) <= 0.02);
    }
    assert_ne!(compare(kept, splits, 0.9), Ordering::Less, "{kept}");
    assert_eq!(compare(kept_below, splits, 0.9), Ordering::Less, "{kept_below}: the order could be larger");
}

#[test]
fn tied_scores_only_make_the_bound_safer() {
    let mut rng = Pcg64::seed_from_u64(22);
    let (target, splits) = (target(0.1, 0.95), 2000);
    // Twenty scores, each as likely: the true overkill of a threshold is a multiple of 5 %.
    let kept = (0..splits).filter(|_| {
        let scores: Vec<f64> = (0..100).map(|_| f64::from(rng.random_range(0..20))).collect();
        let found = calibrated(alone(&scores), target);
        (19.0 - found.threshold) / 20.0 <= found.attained_overkill_bound
    });
    assert_ne!(compare(kept.count(), splits, 0.95), Ordering::Less);
}

/// Frames of a part share most of what makes its score.
#[test]
fn frames_that_are_counted_as_parts_would_break_the_bound_and_parts_keep_it() {
    const FRAMES: usize = 8;
    let mut rng = Pcg64::seed_from_u64(23);
    let (target, splits, law) = (target(0.05, 0.95), 1000, &LAWS[0]);
    let (mut kept, mut kept_by_frames) = (0, 0);
    for _ in 0..splits {
        let mut samples = Vec::new();
        for part in 0..60 {
            let of_part = (law.draw)(&mut rng);
            // The frames only lower it: the true share of parts above is that of the law.
            let mut below = 0.0;
            for frame in 0..FRAMES {
                let score = of_part - below;
                samples.push(Sample {
                    score,
                    map_max: score,
                    part: format!("{part}"),
                    image: format!("{part}-{frame}"),
                });
                below = 0.05 * rng.random::<f64>();
            }
        }
        let frames: Vec<f64> = samples.iter().map(|sample| sample.score).collect();
        let by_parts = calibrated(samples, target);
        kept += usize::from((law.above)(by_parts.threshold) <= by_parts.attained_overkill_bound);
        let by_frames = calibrated(alone(&frames), target);
        kept_by_frames += usize::from((law.above)(by_frames.threshold) <= by_frames.attained_overkill_bound);
    }
    assert_eq!(compare(kept, splits, 0.95), Ordering::Equal, "{kept}");
    assert_eq!(
        compare(kept_by_frames, splits, 0.95),
        Ordering::Less,
        "{kept_by_frames}: grouping is needless"
    );
}

#[test]
fn the_p_value_of_a_good_part_is_uniform() {
    let mut rng = Pcg64::seed_from_u64(24);
    let (splits, law) = (2000, &LAWS[3]);
    let target = target(0.1, 0.95);
    for alpha in [0.05, 0.2, 0.5] {
        let small = (0..splits).filter(|_| {
            let found = calibrated(alone(&scores(law, 39, &mut rng)), target);
            found.p_value((law.draw)(&mut rng)) <= alpha
        });
        let small = small.count();
        assert_eq!(compare(small, splits, alpha), Ordering::Equal, "p <= {alpha}: {small} of {splits}");
    }
}

#[test]
fn the_laws_draw_what_they_say() {
    let mut rng = Pcg64::seed_from_u64(25);
    let n = 20_000;
    for law in &LAWS {
        let drawn = scores(law, n, &mut rng);
        for t in [-1.0, 0.5, 2.0, 3.0, 5.0, 8.0, 12.0] {
            let count = drawn.iter().filter(|&&score| score > t).count();
            let (low, high) = share_interval(count, n, 1.0 - 1e-6);
            let expected = (law.above)(t);
            assert!((low..=high).contains(&expected), "{} above {t}: {count}, expected {expected}", law.name);
        }
    }
    // scipy 1.17.1: stats.gamma(3), lognorm(0.5) and t(3), sf of 5, and of 2 for the second.
    for (law, t, expected) in [
        (0, 5.0, 0.124_652_019_483_081_08),
        (1, 2.0, 0.082_828_519_001_698_46),
        (1, 5.0, 0.000_643_471_012_913_876_3),
        (2, 5.0, 0.007_696_219_036_651_147),
    ] {
        assert!(((LAWS[law].above)(t) / expected - 1.0).abs() < 1e-9, "law {law} above {t}");
    }
}
