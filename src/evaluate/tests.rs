//! A scripted detector on images whose truth is known.

use std::path::Path;

use image::{GrayImage, Luma};

use super::*;
use crate::clock::SystemClock;
use crate::engine::{Batch, EngineError};
use crate::roi::Roi;
use crate::verdict::Threshold;
use crate::verdict::regions::AnomalyMap;

/// Takes the first pixel for the score, and lights up on the right half as much. 250 stands for infinity, and
/// on 251 it fails.
struct Scripted;

impl Detector for Scripted {
    fn set_roi(&mut self, _: Option<&Roi>) -> Result<(), EngineError> {
        Ok(())
    }

    fn measure(&mut self, pictures: &[Picture<'_>], _: &dyn Clock) -> Result<Batch, EngineError> {
        let measured = pictures.iter().map(|picture| {
            let score = match picture.pixels[0] {
                250 => f64::INFINITY,
                251 => return Err(EngineError::Failed("out of memory".into())),
                grey => f64::from(grey),
            };
            let map = AnomalyMap { width: 2, height: 1, values: vec![0.0, f32::from(picture.pixels[0])] };
            Ok(Measured { score, map, cell_px: 4.0 })
        });
        Ok(Batch {
            measured: measured.collect::<Result<_, _>>()?,
            preprocess: Duration::ZERO,
            inference: Duration::ZERO,
        })
    }
}

/// An 8x4 picture of one grey; a defective one comes with a mask on its right half.
fn part(folder: &Path, class: &str, grey: u8) -> Labelled {
    let path = folder.join(format!("{class}_{grey}.png"));
    GrayImage::from_pixel(8, 4, Luma([grey])).save(&path).unwrap();
    let is_good = class == "good";
    let mask = folder.join(format!("{class}_{grey}_mask.png"));
    if !is_good {
        GrayImage::from_fn(8, 4, |x, _| Luma([if x < 4 { 0 } else { 255 }])).save(&mask).unwrap();
    }
    Labelled { path, class: class.into(), is_good, mask: (!is_good).then_some(mask) }
}

fn evaluate(images: &[Labelled]) -> anyhow::Result<Evaluation> {
    let judge = Judge::new(Threshold::new(100.0).unwrap(), 10.0).unwrap();
    run(&mut Scripted, &judge, images, &mut |_, _| {}, &SystemClock::start())
}

#[test]
fn every_image_is_counted_once_and_under_its_own_class() {
    let folder = tempfile::tempdir().unwrap();
    let images = [
        ("crack", 80),
        ("crack", 120),
        ("crack", 250),
        ("good", 10),
        ("good", 20),
        ("good", 95),
        ("good", 110),
        ("pit", 200),
    ]
    .map(|(class, grey)| part(folder.path(), class, grey));
    let mut told = Vec::new();
    let judge = Judge::new(Threshold::new(100.0).unwrap(), 10.0).unwrap();
    let found =
        run(&mut Scripted, &judge, &images, &mut |done, of| told.push((done, of)), &SystemClock::start())
            .unwrap();

    assert_eq!(told, (1..=8).map(|done| (done, 8)).collect::<Vec<_>>());
    assert_eq!((found.good, found.defective), (4, 4));
    assert_eq!((found.overkill.count, found.overkill.of), (1, 4));
    assert_eq!((found.escape.count, found.escape.of), (1, 4));
    assert_eq!((found.not_decidable, found.not_inspected), (1, 1));
    // Of the 16 pairs, only crack 80 scores below good 95 and 110.
    assert_eq!(found.auroc, Some(14.0 / 16.0));
    assert_eq!(found.fpr_at_tpr_100, Some(0.5));
    let classes: Vec<_> = found.classes.iter().map(|c| (c.class.as_str(), c.images, c.auroc)).collect();
    assert_eq!(classes, [("crack", 3, Some(10.0 / 12.0)), ("good", 4, None), ("pit", 1, Some(1.0))]);
    let evaluations: Vec<u8> = found.images.iter().map(|image| image.evaluation).collect();
    assert_eq!(evaluations, [1, 2, 0, 1, 1, 3, 2, 2]);
    assert_eq!(found.images[2].score, None);
    let pixel = found.pixel.unwrap();
    assert!(pixel.images == 8 && pixel.auroc > 0.8 && pixel.auroc < 1.0, "{pixel:?}");
    assert!(found.time_ms.p50 <= found.time_ms.p99);
}

#[test]
fn figures_that_the_images_cannot_give_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let found = evaluate(&[part(folder.path(), "good", 10)]).unwrap();
    let json = serde_json::to_value(&found).unwrap();
    for key in ["auroc", "average_precision", "fpr_at_tpr_100", "pixel"] {
        assert!(json.get(key).is_none(), "{key}");
    }
    assert_eq!(json["overkill"]["count"], 0);
    assert_eq!(json["images"][0]["evaluation"], 1);
    assert!(!json.to_string().contains("null"));
    assert!(found.to_string().contains("escape           no such images"));
}

#[test]
fn a_bad_file_ends_the_evaluation_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let text = |part: Labelled| format!("{:#}", evaluate(&[part]).unwrap_err());

    let mut cut = part(folder.path(), "good", 1);
    std::fs::write(&cut.path, b"\x89PNG\r\n\x1a\n").unwrap();
    assert!(text(cut.clone()).contains("good_1.png: is cut short"), "{}", text(cut));
    cut = part(folder.path(), "good", 2);
    std::fs::remove_file(&cut.path).unwrap();
    assert!(text(cut).contains("good_2.png: there is no such file"));

    let wrong_mask = part(folder.path(), "pit", 3);
    GrayImage::new(3, 3).save(wrong_mask.mask.as_ref().unwrap()).unwrap();
    assert!(text(wrong_mask).contains("pit_3_mask.png: is 3x3, but its image is 8x4"));

    let failing = part(folder.path(), "pit", 251);
    assert!(text(failing).ends_with("pit_251.png: cannot be evaluated: network failed: out of memory"));
    assert!(evaluate(&[]).is_err());
}

#[test]
fn percentiles_are_times_that_were_measured() {
    let found = times((1..=200).rev().map(Duration::from_millis).collect());
    assert_eq!((found.p50, found.p99), (100.0, 198.0));
    assert_eq!(times(vec![Duration::from_millis(7)]), Times { p50: 7.0, p99: 7.0 });
}

#[test]
fn the_table_reads_well() {
    let folder = tempfile::tempdir().unwrap();
    let images = [("crack", 80), ("crack", 120), ("good", 10), ("good", 110)]
        .map(|(class, grey)| part(folder.path(), class, grey));
    let mut found = evaluate(&images).unwrap();
    found.time_ms = Times { p50: 12.34, p99: 56.0 };
    insta::assert_snapshot!(found.to_string(), @r"
    class       images   AUROC     OK  not OK  undecided  not inspected
    crack            2  0.7500      1       1          0              0
    good             2       -      1       1          0              0

    image AUROC        0.7500
    pixel AUROC        0.9062 +- 0.0e0, over 4 images
    average precision  0.8333
    largest F1         0.8000
    FPR at 100 % TPR   50 %
    FPR at 99 % TPR    50 %
    at threshold       100.000000, guard band 10
      overkill         1 of 2 = 50 % (95 %: 1.26 % to 98.7 %)
      escape           1 of 2 = 50 % (95 %: 1.26 % to 98.7 %)
    time per image     p50 12.3 ms, p99 56.0 ms
    ");
}
