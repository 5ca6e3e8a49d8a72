//! What a finished network says about images it has never seen: the threshold, when it is trained and when it is
//! calibrated again, and the bundle's self-test.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::calibrate::evidence::MadeOn;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::engine::detector::Detector;
use crate::model::bundle::manifest::SelfTest;
use crate::model::network::Network;
use crate::model::preprocess;
use crate::train::images::{read_all, views};

/// Pictures in the bundle's self-test, and how closely their scores must be found again.
const SELF_TEST_PICTURES: usize = 4;
const SELF_TEST_TOLERANCE: f64 = 1e-3;

/// What a network says of an image. It is the daemon's own code that says it, in batches, where the daemon
/// may take one picture at a time: that moves a score in its last digits, far less than the self-test tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub score: f64,
    /// The largest value of its anomaly map.
    pub map_max: f64,
}

/// Judges `images` in their order, `batch` of them together; `each` is told how many are done. An image that cannot be judged, or has no finite
/// score, is an error with its name.
pub fn judge(
    engine: &mut Engine,
    images: &[PathBuf],
    batch: usize,
    each: &mut dyn FnMut(usize),
    clock: &dyn Clock,
) -> anyhow::Result<Vec<Judged>> {
    let mut judged = Vec::with_capacity(images.len());
    for chunk in images.chunks(batch) {
        let pictures = read_all(chunk)?;
        let measured = engine.measure(&views(&pictures), clock).with_context(|| {
            format!("image {}: cannot be judged, nothing was written", chunk[0].display())
        })?;
        for (file, measured) in chunk.iter().zip(measured.measured) {
            let (score, map_max) = (measured.score, measured.map.max());
            ensure!(
                score.is_finite() && map_max.is_finite(),
                "image {}: the network gives it no finite score, nothing was written",
                file.display()
            );
            judged.push(Judged { score, map_max });
        }
        each(judged.len());
    }
    Ok(judged)
}

/// What `engine` computes scores with.
pub fn made_on(engine: &Engine) -> MadeOn {
    MadeOn {
        device: engine.device_name().to_owned(),
        precision: engine.precision().to_owned(),
        engine: Some(engine.kind().name().to_owned()),
    }
}

/// The network that was trained.
pub fn network(engine: &Engine) -> &Network {
    engine.network().expect("an engine around a trained network keeps it")
}

/// The first of `images` at the input's size, and what a bundle must find again on them.
pub fn self_test(engine: &Engine, images: &[PathBuf]) -> anyhow::Result<(Vec<Tensor>, SelfTest)> {
    let side = engine.architecture().input_px;
    let pictures = read_all(&images[..images.len().min(SELF_TEST_PICTURES)])?;
    let pictures: Vec<Tensor> =
        views(&pictures).into_iter().map(|picture| preprocess::resize(picture, side).contiguous()).collect();
    let scores = engine.self_test_scores(&pictures)?;
    Ok((pictures, SelfTest { scores, tolerance: SELF_TEST_TOLERANCE }))
}
