//! Measurement system analysis: the same parts captured again and again, and how far their scores and verdicts
//! repeat.
//!
//! Owns the order of the work and which parts count for what. How spread is measured is in `spread`, how verdicts are
//! compared in `agreement`, how both are shown in `study` and `table`.

pub mod agreement;
pub mod spread;
pub mod study;
mod table;

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use crate::clock::Clock;
use crate::dataset::repeats::Repeated;
use crate::engine::detector::Detector;
use crate::frame::{Picture, PixelFormat};
use crate::image_file;
use crate::msa::agreement::{Agreement, Ratings};
use crate::msa::spread::{Repeatability, mean, part_to_part};
use crate::msa::study::{Margin, Nearest, Part, Study};
use crate::verdict::Judge;

/// A part at the threshold is called OK in no more than one of a hundred captures.
const GUARD_CONFIDENCE: f64 = 0.99;

/// Judges every capture and says how far they agree. `is_seen` says by its fingerprint whether the network knows a
/// picture from training; `progress` is told how many are done.
pub fn run(
    detector: &mut dyn Detector,
    judge: &Judge,
    repeated: &[Repeated],
    is_seen: &dyn Fn(&str) -> bool,
    progress: &mut dyn FnMut(usize),
    clock: &dyn Clock,
) -> anyhow::Result<Study> {
    let mut seen = BTreeSet::new();
    let (mut captures, mut copies, mut seen_in_training) = (0, 0, 0);
    let mut parts = Vec::with_capacity(repeated.len());
    for one in repeated {
        let (mut scores, mut outcomes) = (Vec::new(), Vec::new());
        for path in &one.captures {
            let (size, pixels, fingerprint) = image_file::read_known(path)?;
            seen_in_training += usize::from(is_seen(&fingerprint));
            copies += usize::from(!seen.insert(fingerprint));
            let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
            let measured = detector
                .measure_one(picture, clock)
                .with_context(|| format!("image {}: cannot be judged", path.display()))?;
            outcomes.push(judge.outcome(measured.score));
            scores.extend(measured.score.is_finite().then_some(measured.score));
            captures += 1;
            progress(captures);
        }
        parts.push(Rated { one, scores, ratings: Ratings { is_good: one.is_good, outcomes } });
    }
    ensure!(
        parts.iter().filter(|part| part.one.is_good && !part.scores.is_empty()).count() >= 2,
        "the network gives the good parts no finite score: there is nothing to analyse"
    );
    Ok(Study { copies, seen_in_training, ..study(judge, &parts)? })
}

/// A part and what was said of its captures.
struct Rated<'a> {
    one: &'a Repeated,
    /// Those that are finite.
    scores: Vec<f64>,
    ratings: Ratings,
}

impl Rated<'_> {
    fn mean(&self) -> Option<f64> {
        (!self.scores.is_empty()).then(|| mean(&self.scores))
    }
}

fn study(judge: &Judge, parts: &[Rated<'_>]) -> anyhow::Result<Study> {
    let threshold = judge.threshold().get();
    let of = |keep: &dyn Fn(&Rated<'_>) -> bool| -> Vec<&[f64]> {
        parts.iter().filter(|part| keep(part)).map(|part| part.scores.as_slice()).collect()
    };
    let good = of(&|part| part.one.is_good);
    let means: Vec<f64> = parts.iter().filter(|part| part.one.is_good).filter_map(Rated::mean).collect();
    let good_mean = mean(&means);
    // A defect far above the threshold may spread as it likes: no repeat of it is ever called OK. Those count that lie
    // no further above the threshold than good parts lie below it.
    let reach = threshold + (threshold - good_mean).max(0.0);
    let near = of(&|part| part.one.is_good || part.mean().is_some_and(|mean| mean <= reach));
    let repeatability = Repeatability::pooled(&near)
        .context("no part has two captures with a finite score: nothing repeats")?;
    let ratings: Vec<Ratings> = parts.iter().map(|part| part.ratings.clone()).collect();
    Ok(Study {
        threshold,
        guard_band: judge.guard_band(),
        good_parts: good.len(),
        defective_parts: parts.len() - good.len(),
        captures: ratings.iter().map(|part| part.outcomes.len()).sum(),
        copies: 0,
        seen_in_training: 0,
        repeatability,
        repeatability_good: Repeatability::pooled(&good),
        repeatability_defective: Repeatability::pooled(&of(&|part| !part.one.is_good)),
        part_to_part_sd: part_to_part(&good),
        margin: Margin::new(repeatability.sd, good_mean, threshold),
        nearest_good: nearest(parts, true, threshold, repeatability.sd),
        nearest_defective: nearest(parts, false, threshold, repeatability.sd),
        agreement: Agreement::of(&ratings),
        proposed_guard_band: repeatability.guard_band(GUARD_CONFIDENCE),
        parts: parts.iter().map(part).collect(),
    })
}

/// The part of a kind whose mean score is nearest to being judged wrong.
fn nearest(parts: &[Rated<'_>], is_good: bool, threshold: f64, sd: f64) -> Option<Nearest> {
    // How far on the right side; negative on the wrong one.
    let distance = |mean: f64| if is_good { threshold - mean } else { mean - threshold };
    parts
        .iter()
        .filter(|part| part.one.is_good == is_good)
        .filter_map(|part| Some((part, part.mean()?)))
        .min_by(|(_, a), (_, b)| distance(*a).total_cmp(&distance(*b)))
        .map(|(part, mean)| Nearest {
            part: name(part),
            mean,
            distance: distance(mean),
            distance_in_sd: (sd > 0.0).then(|| distance(mean) / sd),
        })
}

fn part(rated: &Rated<'_>) -> Part {
    Part {
        part: name(rated),
        class: rated.one.class.clone(),
        mean: rated.mean(),
        scores: rated.scores.clone(),
        evaluations: rated.ratings.outcomes.iter().map(|outcome| outcome.evaluation() as u8).collect(),
        consistent: rated.ratings.is_consistent(),
    }
}

fn name(rated: &Rated<'_>) -> String {
    format!("{}/{}", rated.one.class, rated.one.part)
}

#[cfg(test)]
mod tests;
