//! The guarantee, tried on scores of several laws.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;

fn target(overkill: f64, confidence: f64) -> Target {
    Target { overkill: Share::new(overkill).unwrap(), confidence: Share::new(confidence).unwrap() }
}

/// `n` scores 1 to n, in a disorder.
fn scores(n: u32) -> Vec<f64> {
    (0..n).map(|i| f64::from((i * 7919) % n + 1)).collect()
}

fn calibrated(n: u32, overkill: f64, confidence: f64) -> Calibration {
    calibrate(&scores(n), &scores(n), target(overkill, confidence)).unwrap()
}

#[test]
fn bounds_of_order_statistics_are_those_of_the_beta_law() {
    // n, upper bounds in percent for k = 1 at 95 %, k = 1 at 99 %, k = 3 at 95 %.
    for (n, one_95, one_99, three_95) in [
        (100, 2.95, 4.50, 6.16),
        (200, 1.49, 2.28, 3.11),
        (300, 0.99, 1.52, 2.08),
        (500, 0.60, 0.92, 1.25),
        (1000, 0.30, 0.46, 0.63),
        (3000, 0.10, 0.15, 0.21),
    ] {
        for (k, confidence, expected) in [(1, 0.95, one_95), (1, 0.99, one_99), (3, 0.95, three_95)] {
            let bound = 100.0 * beta_quantile(k, n, confidence);
            assert!((bound - expected).abs() <= 0.005, "n {n}, k {k}: {bound}");
        }
    }
}

#[test]
fn the_number_of_images_needed_is_exact() {
    for (overkill, expected) in [(0.01, 299), (0.001, 2_995), (1e-4, 29_956), (1e-5, 299_572)] {
        assert_eq!(n_needed(target(overkill, 0.95)), expected);
        let n = usize::try_from(expected).unwrap();
        assert!(at_least(1, n, overkill) >= 0.95 && at_least(1, n - 1, overkill) < 0.95);
    }
}

#[test]
fn the_threshold_is_as_low_as_the_target_allows() {
    let calibration = calibrated(1000, 0.01, 0.95);
    // P(Binomial(1000, 1 %) >= 5) = 97.1 %, and for 6 it is 93.4 %.
    assert_eq!((calibration.order, calibration.threshold, calibration.map_threshold), (5, 996.0, 996.0));
    assert!(calibration.guaranteed && calibration.attained_overkill_bound <= 0.01);
    assert!(beta_quantile(6, 1000, 0.95) > 0.01);
}

#[test]
fn at_the_number_needed_the_largest_score_is_just_enough() {
    let enough = calibrated(299, 0.01, 0.95);
    assert!(enough.guaranteed && enough.order == 1 && enough.threshold == 299.0);
    let short = calibrated(298, 0.01, 0.95);
    assert!(!short.guaranteed && short.order == 1 && short.threshold == 298.0);
    assert!(short.attained_overkill_bound > 0.01);
    assert!(
        short.to_string().ends_with("the 1 % asked for is not guaranteed: that takes 299 held-out images")
    );
}

#[test]
fn p_values_count_the_scores_at_least_as_high() {
    let calibration = calibrated(9, 0.5, 0.5);
    for (score, expected) in [(9.5, 0.1), (9.0, 0.2), (8.5, 0.2), (1.0, 1.0), (-3.0, 1.0), (f64::NAN, 0.1)] {
        assert_eq!(calibration.p_value(score), expected, "score {score}");
    }
}

#[test]
fn useless_scores_are_refused_and_named() {
    let text = |scores: &[f64], maxima: &[f64]| {
        calibrate(scores, maxima, Target::default()).unwrap_err().to_string()
    };
    assert!(text(&[1.0], &[1.0]).starts_with("1 held-out good images cannot give a threshold"));
    assert!(text(&[1.0, f64::NAN], &[1.0, 1.0]).starts_with("score of held-out image 1 is NaN"));
    assert!(
        text(&[1.0, 2.0], &[f64::INFINITY, 1.0]).starts_with("largest map value of held-out image 0 is inf")
    );
    assert_eq!(text(&[1.0, 2.0], &[1.0]), "2 scores but 1 map values of held-out images");
}

#[test]
fn a_stored_calibration_comes_back_and_a_broken_one_does_not() {
    let calibration = calibrated(20, 0.1, 0.9).with_guard_band(0.5).unwrap();
    assert_eq!(calibration.judge().guard_band(), 0.5);
    let text = serde_json::to_string(&calibration).unwrap();
    assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), calibration);
    for (from, to, key) in [
        ("\"scores\":[1.0,2.0,", "\"scores\":[2.0,1.0,", "scores must be"),
        ("\"scores\":[1.0,2.0,", "\"scores\":[2.0,", "n must be"),
        ("\"order\":1", "\"order\":0", "order must be"),
        ("\"threshold\":20.0", "\"threshold\":18.5", "threshold must be"),
        ("\"guard_band\":0.5", "\"guard_band\":-0.5", "guard_band must be"),
        ("\"confidence\":0.9", "\"confidence\":90.0", "confidence must be"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let error = serde_json::from_str::<Calibration>(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    assert!(calibration.with_guard_band(f64::NAN).is_err());
}

/// How often the true overkill is within the stated bound, over many draws of held-out scores.
fn coverage(n: usize, confidence: f64, draw: fn(f64) -> f64, true_overkill: fn(f64) -> f64) -> f64 {
    let mut rng = Pcg64::seed_from_u64(20);
    let splits = 4000;
    let kept = (0..splits).filter(|_| {
        let scores: Vec<f64> = (0..n).map(|_| draw(rng.random())).collect();
        let calibration = calibrate(&scores, &scores, target(0.05, confidence)).unwrap();
        true_overkill(calibration.threshold) <= calibration.attained_overkill_bound
    });
    f64::from(u32::try_from(kept.count()).unwrap()) / f64::from(splits)
}

#[test]
fn the_bound_holds_at_the_stated_rate_whatever_the_score_law() {
    for (n, confidence) in [(20, 0.9), (100, 0.95), (300, 0.8)] {
        // Exponential, and a heavy tail with infinite variance: P(score > t) = t^-1.5.
        for covered in [
            coverage(n, confidence, |u| -(1.0 - u).ln(), |t| (-t).exp()),
            coverage(n, confidence, |u| (1.0 - u).powf(-1.0 / 1.5), |t| t.powf(-1.5)),
        ] {
            let error = (confidence * (1.0 - confidence) / 4000.0).sqrt();
            assert!((covered - confidence).abs() < 4.0 * error, "n {n}, {confidence}: {covered}");
        }
    }
}

#[test]
fn tied_scores_only_make_the_bound_safer() {
    let rounded = coverage(100, 0.95, |u| (20.0 * u).floor(), |t| (19.0 - t) / 20.0);
    assert!(rounded >= 0.95, "{rounded}");
}
