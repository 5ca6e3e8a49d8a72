//! From what was said about each image to the figures for all.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::calibrate::rate::Rate;
use crate::dataset::Labelled;
use crate::evaluate::defects::{Hits, Seen};
use crate::evaluate::delong::Placements;
use crate::evaluate::evaluation::{Class, Counts, Evaluation, FalseRegions, Image, Percentiles, Times};
use crate::evaluate::metrics::Curve;
use crate::evaluate::pixels::Counted;
use crate::evaluate::promise::{ByPart, Good, Promise};
use crate::evaluate::{Judged, Rules, StageTimes};
use crate::verdict::Outcome;
use crate::verdict::regions;

type Pair<'a> = (&'a Labelled, &'a Judged);

/// `judged` belongs to `images`, in their order. There is at least one.
pub(super) fn of(rules: Rules<'_>, images: &[Labelled], judged: &[Judged], counted: Counted) -> Evaluation {
    let all: Vec<Pair<'_>> = images.iter().zip(judged).collect();
    let (good, defective): (Vec<Pair<'_>>, Vec<Pair<'_>>) = all.iter().partition(|(label, _)| label.is_good);
    let curve = Curve::new(all.iter().map(|(label, judged)| (judged.score, !label.is_good)));
    let placements = Placements::new(&scores(&good), &scores(&defective));
    let Counted { pixel, fates, outside_roi } = counted;
    let (good_counts, defective_counts) = (counts(&good), counts(&defective));
    let overkill = Rate::new(good_counts.not_ok, good.len());
    let is_not_ok: Vec<bool> = good.iter().map(|(_, judged)| judged.outcome == Outcome::Anomalous).collect();
    let by_part = rules.good_parts.and_then(|groups| ByPart::new(groups, &is_not_ok));
    let holds = rules.is_calibrated && rules.judge.threshold().get() == rules.calibration.threshold;
    Evaluation {
        threshold: rules.judge.threshold().get(),
        guard_band: rules.judge.guard_band(),
        map_threshold: rules.regions.map_threshold,
        min_area_px: rules.regions.min_area_px,
        cell_px: cell_px(judged),
        good: good.len(),
        defective: defective.len(),
        auroc: curve.auroc(),
        auroc_interval: placements.map(|placements| placements.interval()),
        average_precision: curve.average_precision(),
        f1_max: curve.f1_max(),
        fpr_at_tpr_100: curve.false_alarms_at(1.0),
        fpr_at_tpr_99: curve.false_alarms_at(0.99),
        fpr_at_tpr_95: curve.false_alarms_at(0.95),
        pixel,
        defects: Hits::count(&fates),
        outside_roi: outside_roi.iter().map(|mask| mask.display().to_string()).collect(),
        false_regions: false_regions(&good),
        overkill,
        escape: Rate::new(defective_counts.ok, defective.len()),
        not_decidable: good_counts.not_decidable + defective_counts.not_decidable,
        not_inspected: good_counts.not_inspected + defective_counts.not_inspected,
        promise: Promise::new(rules.calibration, holds, Good { overkill, by_part, known: rules.known_good }),
        classes: classes(&all, &good),
        time_ms: times(judged),
        images: all.iter().map(|&pair| image(pair)).collect(),
    }
}

/// None where images differ in size.
fn cell_px(judged: &[Judged]) -> Option<[f64; 2]> {
    let Seen { size, cell_px } = judged.first()?.seen;
    judged.iter().all(|one| one.seen.size == size).then(|| regions::cell_size(cell_px, size))
}

fn false_regions(good: &[Pair<'_>]) -> FalseRegions {
    let regions = good.iter().map(|(_, judged)| judged.regions.total);
    let images = regions.clone().filter(|&total| total > 0).count();
    FalseRegions { regions: regions.sum(), images: Rate::new(images, good.len()) }
}

fn classes(all: &[Pair<'_>], good: &[Pair<'_>]) -> Vec<Class> {
    let mut by_name: BTreeMap<&str, Vec<Pair<'_>>> = BTreeMap::new();
    for &(label, judged) in all {
        by_name.entry(&label.class).or_default().push((label, judged));
    }
    let good = scores(good);
    let class = |(name, members): (&str, Vec<Pair<'_>>)| {
        let is_good = members[0].0.is_good;
        let placements = if is_good { None } else { Placements::new(&good, &scores(&members)) };
        let counts = counts(&members);
        Class {
            class: name.into(),
            images: members.len(),
            auroc: placements.as_ref().map(Placements::auroc),
            auroc_interval: placements.map(|placements| placements.interval()),
            counts,
            wrong: Rate::new(if is_good { counts.not_ok } else { counts.ok }, members.len()),
        }
    };
    by_name.into_iter().map(class).collect()
}

fn scores(pairs: &[Pair<'_>]) -> Vec<f64> {
    pairs.iter().map(|(_, judged)| judged.score).collect()
}

fn counts(pairs: &[Pair<'_>]) -> Counts {
    let mut counts = Counts { ok: 0, not_ok: 0, not_decidable: 0, not_inspected: 0 };
    for (_, judged) in pairs {
        *match judged.outcome {
            Outcome::Good => &mut counts.ok,
            Outcome::Anomalous => &mut counts.not_ok,
            Outcome::Undecidable => &mut counts.not_decidable,
            Outcome::NotInspected(_) => &mut counts.not_inspected,
        } += 1;
    }
    counts
}

fn times(judged: &[Judged]) -> Times {
    let of = |stage: fn(&StageTimes) -> Duration| {
        percentiles(judged.iter().map(|judged| stage(&judged.times)).collect())
    };
    Times {
        total: of(|times| times.preprocess + times.inference + times.regions),
        read: of(|times| times.read),
        preprocess: of(|times| times.preprocess),
        inference: of(|times| times.inference),
        regions: of(|times| times.regions),
    }
}

/// Nearest ranks of at least one time.
pub(super) fn percentiles(mut times: Vec<Duration>) -> Percentiles {
    times.sort_unstable();
    let at = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100);
        times[rank - 1].as_secs_f64() * 1e3
    };
    Percentiles { p50: at(50), p99: at(99) }
}

fn image((label, judged): Pair<'_>) -> Image {
    Image {
        file: label.path.display().to_string(),
        class: label.class.clone(),
        is_good: label.is_good,
        score: judged.score.is_finite().then_some(judged.score),
        evaluation: judged.outcome.evaluation() as u8,
        regions: judged.regions.total,
    }
}
