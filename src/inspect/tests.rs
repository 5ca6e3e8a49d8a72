//! A scripted detector on image files, readable and not.

use std::time::Duration;

use image::Rgb;

use super::*;
use crate::appearance::limits::Own;
use crate::calibrate::evidence::Evidence;
use crate::calibrate::{Shortfall, Target, calibrate};
use crate::clock::SystemClock;
use crate::engine::EngineError;
use crate::engine::detector::{Batch, Measured};
use crate::roi::Roi;
use crate::verdict::Threshold;
use crate::verdict::regions::AnomalyMap;

/// Takes the first byte for the score, infinity for 250, and lights up on the right half as much.
struct Scripted;

impl Detector for Scripted {
    fn set_roi(&mut self, _: Option<&Roi>) -> Result<(), EngineError> {
        Ok(())
    }

    fn measure_into(
        &mut self,
        pictures: &[Picture<'_>],
        _: &dyn Clock,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let expected = Size { width: 80, height: 40 };
        if let Some(odd) = pictures.iter().find(|picture| picture.size != expected) {
            return Err(EngineError::WrongSize { found: odd.size, expected });
        }
        let measured = pictures.iter().map(|picture| {
            let grey = picture.pixels[0];
            let map = AnomalyMap { width: 2, height: 1, values: vec![0.0, f32::from(grey)] };
            let score = if grey == 250 { f64::INFINITY } else { f64::from(grey) };
            Measured { score, map, cell_px: 40.0 }
        });
        *batch =
            Batch { measured: measured.collect(), preprocess: Duration::ZERO, inference: Duration::ZERO };
        Ok(())
    }
}

fn picture(folder: &Path, grey: u8) -> PathBuf {
    let path = folder.join(format!("{grey}.png"));
    RgbImage::from_pixel(80, 40, Rgb([grey; 3])).save(&path).unwrap();
    path
}

#[test]
fn each_image_gets_its_own_answer_even_beside_a_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let scores: Vec<f64> = (41..=90).map(f64::from).collect();
    let calibration =
        calibrate(&Evidence::ungrouped(&scores, &scores), Target::default(), Shortfall::Flag).unwrap();
    let rules = Rules {
        judge: calibration.judge(),
        regions: RegionRule { map_threshold: calibration.map_threshold, min_area_px: 0.0 },
        calibration: Some(&calibration),
        roi: None,
        image: &Limits::default(),
    };
    let broken = folder.path().join("broken.png");
    fs::write(&broken, "no picture").unwrap();
    let images =
        [picture(folder.path(), 50), broken, picture(folder.path(), 120), picture(folder.path(), 250)];
    let overlays = folder.path().join("new/overlays");

    let mut lines = Vec::new();
    let found = run(
        &mut Scripted,
        rules,
        &images,
        Some(&overlays),
        &mut |inspection| lines.push(inspection.to_string()),
        &SystemClock::start(),
    )
    .unwrap();

    assert_eq!(found.unreadable, 1);
    let codes: Vec<_> = found.images.iter().map(|i| (i.evaluation, i.code)).collect();
    assert_eq!(codes, [(1, 0), (0, 11), (2, 0), (0, 30)]);
    let bad = found.images[2].found.as_ref().unwrap();
    assert_eq!((bad.score, bad.p_value, bad.region_count), (Some(120.0), Some(1.0 / 51.0), 1));
    assert_eq!((bad.regions[0].x, bad.regions[0].w, bad.cell_px), (40.0, 40.0, 40.0));
    let drawn = image::open(bad.overlay.as_ref().unwrap()).unwrap().into_rgb8();
    assert_eq!((*drawn.get_pixel(0, 5), *drawn.get_pixel(40, 5)), (Rgb([120; 3]), Rgb([255; 3])));
    assert_eq!(fs::read_dir(&overlays).unwrap().count(), 3);

    for (line, expected) in lines.iter().zip([
        "OK             score 50.000000 (threshold 90.000000), p 82.4 %, 0 regions, one cell is 40x20 px  ",
        "not inspected  image ",
        "NotOK          score 120.000000 (threshold 90.000000), p 1.96 %, 1 region, worst at (60, 20), one cell is 40x20 px  ",
        "not inspected  score is not a number, 1 region, worst at (60, 20), one cell is 40x20 px  ",
    ]) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(lines[1].ends_with("broken.png: is not a PNG, JPEG, BMP or TIFF file"));
}

#[test]
fn an_image_out_of_range_is_not_shown_to_the_network_and_is_no_broken_file() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own { brightness_min: Some(100.0), ..Own::default() };
    let rules = Rules {
        judge: Judge::new(Threshold::new(100.0).unwrap(), 0.0).unwrap(),
        regions: RegionRule { map_threshold: 100.0, min_area_px: 0.0 },
        calibration: None,
        roi: None,
        image: &Limits::new(None, own),
    };
    let images = [picture(folder.path(), 50), picture(folder.path(), 100)];
    let found = run(&mut Scripted, rules, &images, None, &mut |_| {}, &SystemClock::start()).unwrap();
    let codes: Vec<_> = found.images.iter().map(|i| (i.evaluation, i.code)).collect();
    assert_eq!((codes, found.unreadable), (vec![(0, 40), (1, 0)], 0));
    let line = found.images[0].to_string();
    assert!(line.contains("50.png: too dark: mean brightness 50, at least 100 is usual"), "{line}");
    assert!(found.images[0].found.is_none());
}

#[test]
fn an_image_that_the_roi_is_not_drawn_on_is_told_and_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules {
        judge: Judge::new(Threshold::new(100.0).unwrap(), 0.0).unwrap(),
        regions: RegionRule { map_threshold: 100.0, min_area_px: 0.0 },
        calibration: None,
        roi: None,
        image: &Limits::default(),
    };
    let odd = folder.path().join("odd.png");
    RgbImage::new(40, 40).save(&odd).unwrap();
    let images = [odd, picture(folder.path(), 50)];
    let found = run(&mut Scripted, rules, &images, None, &mut |_| {}, &SystemClock::start()).unwrap();
    let codes: Vec<_> = found.images.iter().map(|i| (i.evaluation, i.code)).collect();
    assert_eq!((codes, found.unreadable), (vec![(0, 11), (1, 0)], 1));
    let error = found.images[0].error.as_ref().unwrap();
    assert!(
        error.ends_with("odd.png: the picture is 40x40, but the product's ROI is drawn on 80x40"),
        "{error}"
    );
}

#[test]
fn json_is_flat_and_without_null() {
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules {
        judge: Judge::new(Threshold::new(100.0).unwrap(), 0.0).unwrap(),
        regions: RegionRule { map_threshold: 100.0, min_area_px: 0.0 },
        calibration: None,
        roi: None,
        image: &Limits::default(),
    };
    let images = [picture(folder.path(), 120), folder.path().join("absent.png")];
    let found = run(&mut Scripted, rules, &images, None, &mut |_| {}, &SystemClock::start()).unwrap();
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["images"][0]["score"], 120.0);
    assert_eq!(json["images"][0]["regions"][0]["area_px"], 1600.0);
    assert!(json["images"][1]["error"].as_str().unwrap().ends_with("absent.png: there is no such file"));
    assert!(!json.to_string().contains("null"), "{json}");
}
