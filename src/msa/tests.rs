//! A study of parts whose scores are known.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::clock::Moment;
use crate::engine::EngineError;
use crate::engine::detector::{Batch, Measured};
use crate::roi::Roi;
use crate::verdict::Threshold;
use crate::verdict::regions::AnomalyMap;

/// Says of a picture what its one pixel says.
struct Script(Vec<f64>);

impl Detector for Script {
    fn set_roi(&mut self, _: Option<&Roi>) -> Result<(), EngineError> {
        Ok(())
    }

    fn measure_into(
        &mut self,
        pictures: &[Picture<'_>],
        _: &dyn Clock,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let measured = pictures
            .iter()
            .map(|picture| Measured {
                score: self.0[usize::from(picture.pixels[0])],
                map: AnomalyMap { width: 1, height: 1, values: vec![0.0] },
                cell_px: 1.0,
            })
            .collect();
        *batch = Batch { measured, preprocess: Duration::ZERO, inference: Duration::ZERO };
        Ok(())
    }
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Moment {
        Moment { mono: Duration::ZERO, utc: UNIX_EPOCH }
    }
}

/// The study of parts with these scores, judged with threshold 10 and guard band 1.
fn studied(folder: &Path, parts: &[(&str, &str, &[f64])]) -> anyhow::Result<Study> {
    let mut scores = Vec::new();
    let mut repeated = Vec::new();
    for (class, part, of_part) in parts {
        let captures = of_part.iter().map(|&score| {
            let path = folder.join(format!("{}.png", scores.len()));
            let grey = u8::try_from(scores.len()).unwrap();
            image::save_buffer(&path, &[grey; 3], 1, 1, image::ColorType::Rgb8).unwrap();
            scores.push(score);
            path
        });
        let captures = captures.collect();
        let (class, part) = ((*class).to_owned(), (*part).to_owned());
        repeated.push(Repeated { is_good: class == "good", class, part, captures });
    }
    let judge = Judge::new(Threshold::new(10.0).unwrap(), 1.0).unwrap();
    run(&mut Script(scores), &judge, &repeated, &|_| false, &mut |_| {}, &Stopped)
}

#[test]
fn a_study_says_how_far_scores_and_verdicts_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let study = studied(
        folder.path(),
        &[
            ("good", "a", &[4.0, 4.2, 3.8]),
            ("good", "b", &[6.0, 6.2, 5.8]),
            ("good", "c", &[9.0, 9.2, 8.8]),
            ("dent", "d", &[10.0, 10.2, 9.8]),
            // So far away that its spread does not matter.
            ("hole", "e", &[90.0, 130.0, 110.0]),
        ],
    )
    .unwrap();
    assert_eq!((study.good_parts, study.defective_parts, study.captures, study.copies), (3, 2, 15, 0));
    assert!((study.repeatability.sd - 0.2).abs() < 1e-9 && study.repeatability.degrees_of_freedom == 8);
    assert!(study.repeatability_defective.unwrap().sd > 10.0);
    let margin = study.margin.unwrap();
    assert!((margin.good_mean - 19.0 / 3.0).abs() < 1e-9, "{margin:?}");
    assert!((margin.consumed - 0.6 / (10.0 - 19.0 / 3.0)).abs() < 1e-9, "{margin:?}");
    let (good, dent) = (study.nearest_good.as_ref().unwrap(), study.nearest_defective.as_ref().unwrap());
    assert_eq!((good.part.as_str(), dent.part.as_str()), ("good/c", "dent/d"));
    assert!((good.distance_in_sd.unwrap() - 5.0).abs() < 1e-6 && dent.distance.abs() < 1e-9);
    // Student's t with 8 degrees of freedom.
    let band = study.proposed_guard_band.unwrap();
    assert!((band.k - 2.896_459_447_709_622).abs() < 1e-9 && (band.value - 0.2 * band.k).abs() < 1e-9);
    // 9.2 is in the guard band, and 10.2 above the threshold.
    let evaluations: Vec<_> = study.parts.iter().map(|part| part.evaluations.as_slice()).collect();
    assert_eq!(evaluations[2..4], [[1, 3, 1], [3, 2, 3]]);
    insta::assert_snapshot!(study);
}

#[test]
fn captures_without_a_score_are_counted_and_copies_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let study = studied(
        folder.path(),
        &[
            ("good", "a", &[4.0, f64::NAN, 4.2]),
            ("good", "b", &[5.0, 5.0]),
            ("dent", "c", &[f64::NAN, f64::NAN]),
        ],
    )
    .unwrap();
    assert_eq!((study.agreement.not_inspected, study.repeatability.degrees_of_freedom), (3, 2));
    assert_eq!(study.nearest_defective, None);
    assert_eq!(study.parts[0].evaluations, [1, 0, 1]);
    assert!(!serde_json::to_string(&study).unwrap().contains("null"));

    let one = folder.path().join("0.png");
    let part = |name: &str| Repeated {
        class: "good".into(),
        is_good: true,
        part: name.into(),
        captures: vec![one.clone(), one.clone()],
    };
    let judge = Judge::new(Threshold::new(10.0).unwrap(), 0.0).unwrap();
    let known = image_file::read_known(&one).unwrap().2;
    let study = run(
        &mut Script(vec![3.0]),
        &judge,
        &[part("a"), part("b")],
        &|fingerprint| fingerprint == known,
        &mut |_| {},
        &Stopped,
    );
    let study = study.unwrap();
    assert_eq!(study.seen_in_training, 4);
    assert!(study.to_string().contains("4 captures are known to the network from training"), "{study}");
    assert_eq!((study.copies, study.repeatability.sd), (3, 0.0));
    assert!(study.to_string().contains("3 captures are the very same picture as another"), "{study}");
}

#[test]
fn parts_without_any_score_are_no_study() {
    let folder = tempfile::tempdir().unwrap();
    let nan = [f64::NAN; 2];
    let error = studied(folder.path(), &[("good", "a", &nan), ("good", "b", &nan)]).unwrap_err();
    assert!(error.to_string().contains("no finite score"), "{error}");
}
