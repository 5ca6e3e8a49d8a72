//! How good a bundle is on images whose truth is known: one pass of the detector, then counting.
//!
//! Owns the order of the work and what is counted as what. The figures themselves are in `metrics` (images)
//! and `pixels` (maps); how they are shown is in `report`. Nothing is skipped: an image that cannot be read
//! or judged ends the evaluation with its name.

pub mod metrics;
pub mod pixels;
pub mod report;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::clock::Clock;
use crate::dataset::Labelled;
use crate::engine::{Detector, Measured};
use crate::evaluate::metrics::Curve;
use crate::evaluate::pixels::{MaskError, PixelAuroc, Truth};
use crate::evaluate::report::{Class, Counts, Evaluation, Image, Rate, Times};
use crate::frame::{Picture, PixelFormat, Size};
use crate::image_file;
use crate::verdict::{Judge, Outcome};

/// Judges all `images`, one at a time, and counts. `progress` is told how many are done, of how many.
pub fn run(
    detector: &mut dyn Detector,
    judge: &Judge,
    images: &[Labelled],
    progress: &mut dyn FnMut(usize, usize),
    clock: &dyn Clock,
) -> anyhow::Result<Evaluation> {
    ensure!(!images.is_empty(), "there are no images to evaluate");
    let mut judged = Vec::with_capacity(images.len());
    for (i, label) in images.iter().enumerate() {
        // The first run of a network picks its kernels: it is not timed.
        let warm_ups = usize::from(i == 0);
        let seen = measure(detector, label, warm_ups, clock)?;
        judged.push(Judged { label, outcome: judge.outcome(seen.measured.score), seen });
        progress(i + 1, images.len());
    }
    let pixel = pixel_auroc(&judged)?;
    Ok(summary(judge, &judged, pixel))
}

struct Seen {
    measured: Measured,
    size: Size,
    time: Duration,
}

struct Judged<'a> {
    label: &'a Labelled,
    seen: Seen,
    outcome: Outcome,
}

fn measure(
    detector: &mut dyn Detector,
    label: &Labelled,
    warm_ups: usize,
    clock: &dyn Clock,
) -> anyhow::Result<Seen> {
    let (size, pixels) = image_file::read(&label.path, PixelFormat::Rgb8)?;
    if let Some(mask) = &label.mask {
        // Read again when the maps are counted; a mask that does not fit should not wait until then.
        pixels::read_mask(mask, size)?;
    }
    let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
    let cannot = || format!("image {}: cannot be evaluated", label.path.display());
    for _ in 0..warm_ups {
        detector.measure_one(picture, clock).with_context(cannot)?;
    }
    let start = clock.now();
    let measured = detector.measure_one(picture, clock).with_context(cannot)?;
    let time = clock.now().since(start);
    Ok(Seen { measured, size, time })
}

fn pixel_auroc(judged: &[Judged<'_>]) -> Result<Option<PixelAuroc>, MaskError> {
    let known: Vec<_> = judged
        .iter()
        .filter_map(|Judged { label, seen, .. }| {
            let truth = match &label.mask {
                Some(mask) => Truth::Mask(mask),
                None if label.is_good => Truth::AllGood,
                None => return None,
            };
            Some((&seen.measured.map, seen.size, truth))
        })
        .collect();
    // Without a single mask there is nothing to find, and no need to look at every pixel.
    if judged.iter().all(|judged| judged.label.mask.is_none()) {
        return Ok(None);
    }
    pixels::auroc(&known)
}

fn summary(judge: &Judge, judged: &[Judged<'_>], pixel: Option<PixelAuroc>) -> Evaluation {
    let curve = Curve::new(judged.iter().map(|j| (j.seen.measured.score, !j.label.is_good)));
    let good = counts(judged.iter().filter(|j| j.label.is_good));
    let defective = counts(judged.iter().filter(|j| !j.label.is_good));
    Evaluation {
        threshold: judge.threshold().get(),
        guard_band: judge.guard_band(),
        good: good.total(),
        defective: defective.total(),
        auroc: curve.auroc(),
        average_precision: curve.average_precision(),
        f1_max: curve.f1_max(),
        fpr_at_tpr_100: curve.false_alarms_at(1.0),
        fpr_at_tpr_99: curve.false_alarms_at(0.99),
        pixel,
        overkill: Rate::new(good.not_ok, good.total()),
        escape: Rate::new(defective.ok, defective.total()),
        not_decidable: good.not_decidable + defective.not_decidable,
        not_inspected: good.not_inspected + defective.not_inspected,
        classes: classes(judged),
        time_ms: times(judged.iter().map(|j| j.seen.time).collect()),
        images: judged.iter().map(image).collect(),
    }
}

fn classes(judged: &[Judged<'_>]) -> Vec<Class> {
    let mut by_name: BTreeMap<&str, Vec<&Judged<'_>>> = BTreeMap::new();
    for one in judged {
        by_name.entry(&one.label.class).or_default().push(one);
    }
    let class = |(name, members): (&str, Vec<&Judged<'_>>)| {
        let good = judged.iter().filter(|j| j.label.is_good);
        let defective = members.iter().copied().filter(|j| !j.label.is_good);
        let scored = good.chain(defective).map(|j| (j.seen.measured.score, !j.label.is_good));
        Class {
            class: name.into(),
            images: members.len(),
            auroc: Curve::new(scored).auroc(),
            counts: counts(members),
        }
    };
    by_name.into_iter().map(class).collect()
}

fn counts<'a>(judged: impl IntoIterator<Item = &'a Judged<'a>>) -> Counts {
    let mut counts = Counts { ok: 0, not_ok: 0, not_decidable: 0, not_inspected: 0 };
    for one in judged {
        *match one.outcome {
            Outcome::Good => &mut counts.ok,
            Outcome::Anomalous => &mut counts.not_ok,
            Outcome::Undecidable => &mut counts.not_decidable,
            Outcome::NotInspected(_) => &mut counts.not_inspected,
        } += 1;
    }
    counts
}

/// Nearest ranks of at least one time.
fn times(mut times: Vec<Duration>) -> Times {
    times.sort_unstable();
    let at = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100);
        times[rank - 1].as_secs_f64() * 1e3
    };
    Times { p50: at(50), p99: at(99) }
}

fn image(judged: &Judged<'_>) -> Image {
    let score = judged.seen.measured.score;
    Image {
        file: judged.label.path.display().to_string(),
        class: judged.label.class.clone(),
        score: score.is_finite().then_some(score),
        evaluation: judged.outcome.evaluation() as u8,
    }
}

#[cfg(test)]
mod tests;
