//! How good a bundle is on images whose truth is known: one pass of the detector, then counting.
//!
//! Owns the order of the work. What can be said without the network is in `check`; what is counted as what in
//! `summary`; the figures themselves in `metrics` and `delong` (images), `promise` (parts), `pixels`, `histogram` and `defects`
//! (maps and regions); which maps are kept to be shown in `hardest`; several bundles side by side in `compare`. Nothing is skipped: an image that cannot be
//! read or judged ends the evaluation with its name.

pub mod check;
pub mod compare;
pub mod defects;
pub mod delong;
pub mod evaluation;
mod hardest;
pub mod histogram;
pub mod metrics;
pub mod pixels;
pub mod promise;
pub mod record;
mod summary;
pub mod table;

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::calibrate::Calibration;
use crate::clock::Clock;
use crate::dataset::Labelled;
use crate::dataset::groups::Groups;
use crate::engine::detector::Detector;
use crate::evaluate::defects::Seen;
use crate::evaluate::evaluation::Evaluation;
use crate::evaluate::hardest::Hardest;
use crate::evaluate::pixels::{Counter, Seeing, Truth};
use crate::frame::{Picture, PixelFormat};
use crate::image_file;
use crate::roi::Roi;
use crate::verdict::regions::{self, AnomalyMap, RegionRule, Regions};
use crate::verdict::{Judge, Outcome};

/// What the images are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub judge: Judge,
    pub regions: RegionRule,
    pub calibration: &'a Calibration,
    /// Whether the pictures are judged in the ROI that the calibration was made in.
    pub is_calibrated: bool,
    /// What counts of each picture; None is the whole.
    pub roi: Option<&'a Roi>,
    /// Good images of the test that the bundle knows: from its training or its calibration.
    pub known_good: usize,
    /// Which of the good images, in their order, show one part; None takes each for a part.
    pub good_parts: Option<&'a Groups>,
}

/// What the detector said about one image.
#[derive(Clone, Debug)]
pub struct Judged {
    pub score: f64,
    pub outcome: Outcome,
    /// At the resolution of the network; kept for the images that were hardest to judge alone, since a test set may
    /// be large.
    pub map: Option<AnomalyMap>,
    pub regions: Regions,
    pub seen: Seen,
    pub times: StageTimes,
}

/// Where the time of one image went.
#[derive(Clone, Copy, Debug)]
pub struct StageTimes {
    pub read: Duration,
    pub preprocess: Duration,
    pub inference: Duration,
    pub regions: Duration,
}

/// Judges all `images`, one at a time, and counts. `progress` is told how many are done, of how many. What was said
/// about each image is in the order of `images`.
pub fn run(
    detector: &mut dyn Detector,
    rules: Rules<'_>,
    images: &[Labelled],
    progress: &mut dyn FnMut(usize, usize),
    clock: &dyn Clock,
) -> anyhow::Result<(Evaluation, Vec<Judged>)> {
    ensure!(!images.is_empty(), "there are no images to evaluate");
    let mut judged: Vec<Judged> = Vec::with_capacity(images.len());
    let mut counter = Counter::new(rules.regions.map_threshold, rules.roi);
    let mut hardest = Hardest::default();
    // Without a single mask there is nothing to find, and no need to look at every pixel.
    let has_masks = images.iter().any(|label| label.mask.is_some());
    for (i, label) in images.iter().enumerate() {
        // The first run of a network picks its kernels: it is not timed.
        let warm_ups = usize::from(i == 0);
        let (one, map) = judge(detector, rules, label, warm_ups, clock)?;
        if has_masks && let Some(truth) = truth(label) {
            counter.add(Seeing { map: &map, regions: &one.regions, seen: one.seen, truth })?;
        }
        let dropped = hardest.add(i, label, one.score);
        judged.push(Judged { map: Some(map), ..one });
        if let Some(dropped) = dropped {
            judged[dropped].map = None;
        }
        progress(i + 1, images.len());
    }
    let evaluation = summary::of(rules, images, &judged, counter.finish());
    Ok((evaluation, judged))
}

/// What is known of its pixels.
fn truth(label: &Labelled) -> Option<Truth<'_>> {
    match &label.mask {
        Some(mask) => Some(Truth::Mask(mask)),
        None => label.is_good.then_some(Truth::AllGood),
    }
}

fn judge(
    detector: &mut dyn Detector,
    rules: Rules<'_>,
    label: &Labelled,
    warm_ups: usize,
    clock: &dyn Clock,
) -> anyhow::Result<(Judged, AnomalyMap)> {
    let start = clock.now();
    let (size, pixels) = image_file::read(&label.path, PixelFormat::Rgb8)?;
    let read = clock.now().since(start);
    let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
    let cannot = || format!("image {}: cannot be evaluated", label.path.display());
    for _ in 0..warm_ups {
        detector.measure_one(picture, clock).with_context(cannot)?;
    }
    let batch = detector.measure(&[picture], clock).with_context(cannot)?;
    let (preprocess, inference) = (batch.preprocess, batch.inference);
    let measured =
        batch.measured.into_iter().next().context("the detector gave no answer").with_context(cannot)?;
    let start = clock.now();
    let regions = regions::find(&measured.map, size, rules.regions);
    let times = StageTimes { read, preprocess, inference, regions: clock.now().since(start) };
    let judged = Judged {
        score: measured.score,
        outcome: rules.judge.outcome(measured.score),
        map: None,
        regions,
        seen: Seen { size, cell_px: measured.cell_px },
        times,
    };
    Ok((judged, measured.map))
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
