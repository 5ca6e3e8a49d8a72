//! A scripted detector, images whose truth is known, and what came of them.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use image::{GrayImage, Luma};

use super::*;
use crate::calibrate::evidence::Evidence;
use crate::calibrate::{Shortfall, Target, calibrate};
use crate::clock::Moment;
use crate::engine::EngineError;
use crate::engine::detector::{Batch, Measured};
use crate::evaluate::record::{About, Record};

/// Takes the first pixel for the score, and lights up on the right half as much. 250 stands for infinity, and
/// on 251 it fails.
pub(crate) struct Scripted;

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
        let measured = pictures.iter().map(|picture| {
            let score = match picture.pixels[0] {
                250 => f64::INFINITY,
                251 => return Err(EngineError::Failed("out of memory".into())),
                grey => f64::from(grey),
            };
            let map = AnomalyMap { width: 2, height: 1, values: vec![0.0, f32::from(picture.pixels[0])] };
            Ok(Measured { score, map, cell_px: 4.0 })
        });
        *batch = Batch {
            measured: measured.collect::<Result<_, _>>()?,
            preprocess: Duration::ZERO,
            inference: Duration::ZERO,
        };
        Ok(())
    }
}

/// Always the same moment.
pub(crate) struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Moment {
        Moment { mono: Duration::ZERO, utc: UNIX_EPOCH }
    }
}

/// An 8x4 picture of one grey; a defective one comes with a mask on its right half.
pub(crate) fn part(folder: &Path, class: &str, grey: u8) -> Labelled {
    let path = folder.join(format!("{class}_{grey}.png"));
    GrayImage::from_pixel(8, 4, Luma([grey])).save(&path).unwrap();
    let is_good = class == "good";
    let mask = folder.join(format!("{class}_{grey}_mask.png"));
    if !is_good {
        GrayImage::from_fn(8, 4, |x, _| Luma([if x < 4 { 0 } else { 255 }])).save(&mask).unwrap();
    }
    Labelled { path, class: class.into(), is_good, mask: (!is_good).then_some(mask) }
}

/// Threshold 100, also of maps; guard band 10.
pub(crate) fn calibration() -> Calibration {
    let calibration =
        calibrate(&Evidence::ungrouped(&[50.0, 100.0], &[20.0, 100.0]), Target::default(), Shortfall::Flag)
            .unwrap();
    calibration.with_guard_band(10.0).unwrap()
}

pub(crate) fn rules(calibration: &Calibration) -> Rules<'_> {
    let regions = RegionRule { map_threshold: calibration.map_threshold, min_area_px: 0.0 };
    Rules {
        judge: calibration.judge(),
        regions,
        calibration,
        is_calibrated: true,
        roi: None,
        known_good: 0,
        good_parts: None,
    }
}

pub(crate) fn evaluate(images: &[Labelled]) -> anyhow::Result<(Evaluation, Vec<Judged>)> {
    run(&mut Scripted, rules(&calibration()), images, &mut |_, _| {}, &Stopped)
}

/// With file names as they would be in `folder`, wherever that is.
pub(crate) fn record(folder: &Path, bundle: &str, mut evaluation: Evaluation) -> Record {
    let folder = format!("{}/", folder.display());
    for image in &mut evaluation.images {
        image.file = image.file.replace(&folder, "");
    }
    let about = About {
        bundle: bundle.into(),
        bundle_sha256: "3f9a1c2e".repeat(8),
        product: Some("line & lot.toml".into()),
        roi_sha256: Some("7e57".repeat(16)),
        data: "parts".into(),
        data_sha256: "0123abcd".repeat(8),
        device: "cpu".into(),
        precision: "f32".into(),
        calibrated_on: vec!["cuda:0, f16".into()],
        software: "csflowd".into(),
        libtorch: "2.11.0".into(),
        command: "csflowd evaluate".into(),
        created: "2026-01-02T03:04:05Z".into(),
    };
    Record { about, notes: Vec::new(), evaluation }
}
