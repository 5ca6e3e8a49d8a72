//! What the finished network says about images it has never seen: the threshold, and the bundle's self-test.

use std::path::PathBuf;

use anyhow::ensure;
use tch::Tensor;

use crate::calibrate::evidence::{Evidence, Obtained, Sample};
use crate::calibrate::{self, Calibration, Shortfall, Target};
use crate::clock::Clock;
use crate::engine::{Detector, Engine};
use crate::model::bundle::manifest::SelfTest;
use crate::model::preprocess;
use crate::progress::Progress;
use crate::train::BATCH;
use crate::train::images::{read_all, views};

/// Pictures in the bundle's self-test, and how closely their scores must be found again.
const SELF_TEST_PICTURES: usize = 4;
const SELF_TEST_TOLERANCE: f64 = 1e-3;

/// The threshold from the scores and largest map values of `images`, judged as the daemon judges.
pub fn calibrate(
    engine: &mut Engine,
    images: &[PathBuf],
    target: Target,
    clock: &dyn Clock,
) -> anyhow::Result<Calibration> {
    let mut progress = Progress::start("calibration", images.len());
    let mut samples = Vec::new();
    for chunk in images.chunks(BATCH) {
        let pictures = read_all(chunk)?;
        let measured = engine.measure(&views(&pictures), clock)?.measured;
        for ((file, picture), measured) in chunk.iter().zip(&pictures).zip(measured) {
            let largest = measured.map.max();
            ensure!(
                measured.score.is_finite() && largest.is_finite(),
                "image {}: the trained network gives it no finite score, nothing was written",
                file.display()
            );
            samples.push(Sample::alone(measured.score, largest, picture.fingerprint()));
        }
        progress.set(samples.len(), "");
    }
    progress.finish(&format!("{} held-out images", images.len()));
    let evidence = Evidence { samples, obtained: Obtained::HeldOut };
    Ok(calibrate::calibrate(&evidence, target, Shortfall::Flag)?)
}

/// The first of `images` at the input's size, and what a bundle must find again on them.
pub fn self_test(engine: &Engine, images: &[PathBuf]) -> anyhow::Result<(Vec<Tensor>, SelfTest)> {
    let side = engine.network().architecture.input_px;
    let pictures = read_all(&images[..images.len().min(SELF_TEST_PICTURES)])?;
    let pictures: Vec<Tensor> =
        views(&pictures).into_iter().map(|picture| preprocess::resize(picture, side).contiguous()).collect();
    let scores = engine.self_test_scores(&pictures)?;
    Ok((pictures, SelfTest { scores, tolerance: SELF_TEST_TOLERANCE }))
}
