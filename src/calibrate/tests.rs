//! Which score becomes the threshold, what is claimed for it, and what is refused. That the claim holds for scores
//! of several laws is tried in `tests/it/calibrate`.

use super::evidence::Sample;
use super::renew::{Act, Renewal};
use super::*;

fn target(overkill: f64, confidence: f64) -> Target {
    Target { overkill: Share::new(overkill).unwrap(), confidence: Share::new(confidence).unwrap() }
}

/// `n` scores 1 to n, in a disorder.
fn scores(n: u32) -> Vec<f64> {
    (0..n).map(|i| f64::from((i * 7919) % n + 1)).collect()
}

fn calibrated(n: u32, overkill: f64, confidence: f64) -> Calibration {
    let evidence = Evidence::ungrouped(&scores(n), &scores(n));
    calibrate(&evidence, target(overkill, confidence), Shortfall::Flag).unwrap()
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
    assert!(calibration.guaranteed() && calibration.attained_overkill_bound <= 0.01);
    assert!(beta_quantile(6, 1000, 0.95) > 0.01);
}

#[test]
fn at_the_number_needed_the_largest_score_is_just_enough() {
    let enough = calibrated(299, 0.01, 0.95);
    assert!(enough.guaranteed() && enough.order == 1 && enough.threshold == 299.0);
    assert_eq!(
        enough.to_string(),
        "threshold 299.000000: number 1 from the top of 299 held-out good parts; true overkill at most 0.997 % with \
         95 % confidence (asked: 1 %, which takes 299 parts)"
    );
    let short = calibrated(298, 0.01, 0.95);
    assert!(!short.guaranteed() && !short.carries_target() && short.order == 1 && short.threshold == 298.0);
    assert!(short.attained_overkill_bound > 0.01);
    assert!(
        short.to_string().ends_with(
            "at most 1.01 % with 95 % confidence; the 1 % asked for is not guaranteed: that takes 299 held-out parts"
        ),
        "{short}"
    );
}

#[test]
fn a_target_that_the_parts_cannot_carry_is_refused_with_what_they_can() {
    let evidence = Evidence::ungrouped(&scores(300), &scores(300));
    let refused = calibrate(&evidence, target(0.005, 0.95), Shortfall::Refuse).unwrap_err();
    assert_eq!(check_carried(300, target(0.005, 0.95)), Err(refused.clone()));
    assert_eq!(
        refused.to_string(),
        "a target overkill of 0.5 % with 95 % confidence needs 598 held-out good parts; 300 carry 0.994 % at best. \
         Give more images, ask for less, or take a threshold without the guarantee by --force"
    );
    assert!(calibrate(&evidence, target(0.01, 0.95), Shortfall::Refuse).is_ok());
}

#[test]
fn the_default_target_is_the_tightest_that_is_carried() {
    let confidence = Share::new(0.95).unwrap();
    for (n, expected) in
        [(0, 0.1), (28, 0.1), (29, 0.1), (58, 0.1), (59, 0.05), (299, 0.01), (598, 0.005), (2995, 0.001)]
    {
        assert_eq!(default_overkill(n, confidence).get(), expected, "{n}");
    }
    for (n, expected) in [(28, false), (29, true)] {
        assert_eq!(check_carried(n, target(0.1, 0.95)).is_ok(), expected, "{n}");
    }
    assert_eq!(attainable(0, confidence), 1.0);
    assert!((attainable(300, confidence) - 0.009_936).abs() < 1e-6);
}

#[test]
fn images_of_one_part_count_once_with_the_largest_of_them() {
    let sample = |part: &str, image: &str, score: f64, map_max: f64| Sample {
        score,
        map_max,
        part: part.into(),
        image: image.into(),
    };
    let samples = vec![
        sample("a", "a1", 1.0, 9.0),
        sample("b", "b1", 2.0, 1.0),
        sample("a", "a2", 3.0, 4.0),
        sample("c", "c1", 0.5, 0.5),
        // The same picture again, under another name.
        sample("d", "c1", 0.5, 0.5),
    ];
    let evidence = Evidence { samples, obtained: Obtained::HeldOut };
    let calibration = calibrate(&evidence, target(0.7, 0.5), Shortfall::Refuse).unwrap();
    assert_eq!((calibration.n, calibration.n_images()), (3, 4));
    let found: Vec<_> = calibration.parts.iter().map(|p| (p.part.as_str(), p.score, p.map_max)).collect();
    assert_eq!(found, [("c", 0.5, 0.5), ("b", 2.0, 1.0), ("a", 3.0, 9.0)]);
    assert_eq!((calibration.order, calibration.threshold, calibration.map_threshold), (2, 2.0, 1.0));
    assert!(
        calibration
            .to_string()
            .contains("of 3 held-out good parts (4 images; a part counts with the largest")
    );
    // A frame is compared with whole parts: two of three score at least 2.
    assert_eq!(calibration.p_value(2.0), 0.75);
}

#[test]
fn folds_prove_less_and_say_so() {
    let evidence =
        Evidence { obtained: Obtained::Folds { k: 5 }, ..Evidence::ungrouped(&scores(100), &scores(100)) };
    let calibration = calibrate(&evidence, target(0.05, 0.95), Shortfall::Refuse).unwrap();
    assert_eq!(calibration.guarantee, Guarantee::CrossConformal);
    assert!(calibration.carries_target() && !calibration.guaranteed());
    let text = calibration.to_string();
    assert!(
        text.contains("as the networks of the 5 folds do, which is assumed and not proven (asked: 5 %"),
        "{text}"
    );
    let flagged = calibrate(&evidence, target(0.01, 0.95), Shortfall::Flag).unwrap();
    assert_eq!(flagged.guarantee, Guarantee::None);
}

fn renewal(samples: &[Sample]) -> Renewal<'_> {
    Renewal {
        samples,
        made_on: None,
        replace: false,
        target: target(0.05, 0.95),
        shortfall: Shortfall::Refuse,
        guard_band: None,
        at: "2026-03-04T05:06:07Z",
        command: "csflowd calibrate",
    }
}

#[test]
fn production_parts_join_or_replace_those_of_training() {
    let before = calibrated(40, 0.1, 0.95).with_guard_band(0.5).unwrap();
    let known = Sample::alone(39.0, 39.0, "image-0".into());
    let mut samples: Vec<Sample> =
        (0..60).map(|i| Sample::alone(f64::from(i) + 0.5, 1.0, format!("new-{i}"))).collect();
    samples.push(known);

    let added = before.renewed(&renewal(&samples)).unwrap();
    assert_eq!((added.n, added.n_added(), added.guard_band, added.changes.len()), (100, 60, 0.5, 1));
    let change = &added.changes[0];
    assert_eq!((change.act, change.images, change.parts), (Act::Added, 60, 60));
    // 59.5 is the largest of a hundred, and number 2 would promise 4.66 %: the bound for 5 % is number 2.
    assert_eq!((added.order, added.threshold, added.guarantee), (2, 58.5, Guarantee::Exact));
    assert!(added.images().contains("image-0") && added.images().contains("new-59"));

    let replaced =
        added.renewed(&Renewal { replace: true, guard_band: Some(0.0), ..renewal(&samples) }).unwrap();
    assert_eq!((replaced.n, replaced.n_added(), replaced.guard_band), (61, 61, 0.0));
    assert_eq!((replaced.changes.len(), replaced.changes[1].act), (2, Act::Replaced));

    let retargeted = before.renewed(&Renewal { target: target(0.08, 0.95), ..renewal(&[]) }).unwrap();
    assert_eq!(
        (retargeted.n, retargeted.changes[0].act, retargeted.target()),
        (40, Act::Retargeted, target(0.08, 0.95))
    );
    assert!(matches!(before.renewed(&renewal(&[])), Err(CalibrateError::NotCarried { n: 40, .. })));
}

#[test]
fn parts_from_folds_keep_their_weaker_promise_until_they_are_replaced() {
    let evidence =
        Evidence { obtained: Obtained::Folds { k: 5 }, ..Evidence::ungrouped(&scores(100), &scores(100)) };
    let folds = calibrate(&evidence, target(0.05, 0.95), Shortfall::Refuse).unwrap();
    let samples: Vec<Sample> =
        (0..80).map(|i| Sample::alone(f64::from(i), 1.0, format!("new-{i}"))).collect();
    assert_eq!(folds.renewed(&renewal(&samples)).unwrap().guarantee, Guarantee::CrossConformal);
    let replaced = folds.renewed(&Renewal { replace: true, ..renewal(&samples) }).unwrap();
    assert_eq!((replaced.guarantee, replaced.obtained), (Guarantee::Exact, Obtained::HeldOut));
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
        let evidence = Evidence::ungrouped(scores, maxima);
        calibrate(&evidence, Target::default(), Shortfall::Flag).unwrap_err().to_string()
    };
    assert!(text(&[1.0], &[1.0]).starts_with("1 held-out good parts cannot give a threshold"));
    assert_eq!(
        text(&[0.0, 0.0, 0.0], &[1.0, 2.0, 3.0]),
        "all 3 good parts score 0: such a score tells nothing apart"
    );
    assert!(text(&[1.0, f64::NAN], &[1.0, 1.0]).starts_with("score of held-out image 1 is NaN"));
    assert!(
        text(&[1.0, 2.0], &[f64::INFINITY, 1.0]).starts_with("largest map value of held-out image 0 is inf")
    );
}

#[test]
fn a_stored_calibration_comes_back_and_a_broken_one_does_not() {
    let calibration = calibrated(30, 0.1, 0.9).with_guard_band(0.5).unwrap();
    assert_eq!(calibration.judge().guard_band(), 0.5);
    assert!(
        calibration.to_string().ends_with("guard band 0.500000: 1 of the 30 lie in it and are not decidable")
    );
    let text = serde_json::to_string(&calibration).unwrap();
    assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), calibration);
    for (from, to, key) in [
        ("\"parts\":[{\"score\":1.0", "\"parts\":[{\"score\":2.5", "parts must be at least two"),
        ("\"images\":[\"image-0\"]", "\"images\":[]", "parts must be at least two"),
        ("\"added\":0", "\"added\":1", "parts must be added by"),
        ("\"n\":30", "\"n\":31", "n must be"),
        ("\"order\":1", "\"order\":0", "order must be"),
        ("\"threshold\":30.0", "\"threshold\":18.5", "threshold must be"),
        ("\"map_threshold\":30.0", "\"map_threshold\":29.0", "map_threshold must be"),
        ("\"guard_band\":0.5", "\"guard_band\":-0.5", "guard_band must be"),
        ("\"confidence\":0.9", "\"confidence\":90.0", "confidence must be"),
        (
            "\"attained_overkill_bound\":0.07",
            "\"attained_overkill_bound\":0.01",
            "attained_overkill_bound must be",
        ),
        ("\"target_overkill\":0.1", "\"target_overkill\":0.01", "guarantee must be"),
        ("\"by\":\"held_out\"", "\"by\":\"folds\",\"k\":5", "guarantee must be"),
        ("\"guarantee\":\"exact\"", "\"guarantee\":\"none\"", "guarantee must be"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let error = serde_json::from_str::<Calibration>(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    assert!(calibration.with_guard_band(f64::NAN).is_err());
}
