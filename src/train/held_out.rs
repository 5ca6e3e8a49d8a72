//! What the finished network says about images it has never seen: the threshold, and the bundle's self-test.

use std::path::PathBuf;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::clock::Clock;
use crate::engine::{Detector, Engine};
use crate::model::bundle::manifest::SelfTest;
use crate::model::preprocess;
use crate::train::BATCH;
use crate::train::images::{read_all, views};

/// Pictures in the bundle's self-test, and how closely their scores must be found again.
const SELF_TEST_PICTURES: usize = 4;
const SELF_TEST_TOLERANCE: f64 = 1e-3;

/// What the finished network says of an image. It is the daemon's own code that says it, in batches, where the daemon
/// may take one picture at a time: that moves a score in its last digits, far less than the self-test tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub score: f64,
    /// The largest value of its anomaly map.
    pub map_max: f64,
}

/// Judges `images` in their order; `each` is told how many are done.
pub fn judge(
    engine: &mut Engine,
    images: &[PathBuf],
    each: &mut dyn FnMut(usize),
    clock: &dyn Clock,
) -> anyhow::Result<Vec<Judged>> {
    let mut judged = Vec::with_capacity(images.len());
    for chunk in images.chunks(BATCH) {
        let pictures = read_all(chunk)?;
        for (file, measured) in chunk.iter().zip(engine.measure(&views(&pictures), clock)?.measured) {
            let (score, map_max) = (measured.score, measured.map.max());
            ensure!(
                score.is_finite() && map_max.is_finite(),
                "image {}: the trained network gives it no finite score, nothing was written",
                file.display()
            );
            judged.push(Judged { score, map_max });
        }
        each(judged.len());
    }
    Ok(judged)
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
