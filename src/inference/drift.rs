//! Whether good parts slowly become other than they were: told before the first of them is rejected for it.

use crate::calibrate::Calibration;
use crate::events::Event;
use crate::frame::{Generation, Trigger};
use crate::inference::Context;
use crate::inference::rules::Rules;

/// Means are taken over about so many good parts, and none is trusted before so many were seen.
const PARTS: u32 = 200;

/// A mean of scores has drifted when it lies so many standard deviations of single parts above the calibration's, and is
/// back at half of that. What chance does to a mean of this many is a tenth of it.
const SCORE_DEVIATIONS: f64 = 1.0;

/// A mean brightness has drifted when this share of the margin to the limit is used up.
const OF_MARGIN: f64 = 0.5;

/// The means of each camera's good parts, by the camera's position.
#[derive(Debug, Default)]
pub(super) struct Drifts(Vec<Option<Drift>>);

/// Of one camera, under one product.
#[derive(Clone, Debug)]
struct Drift {
    generation: Generation,
    parts: u32,
    score: Option<Watched>,
    darker: Option<Watched>,
    brighter: Option<Watched>,
}

/// A mean that may rise from `usual` to `high`.
#[derive(Clone, Debug)]
struct Watched {
    mean: f64,
    usual: f64,
    high: f64,
    is_told: bool,
}

impl Drifts {
    /// Counts a part that was found good.
    pub(super) fn count(
        &mut self,
        (trigger, generation): (&Trigger, Generation),
        (score, brightness): (f64, f64),
        rules: &Rules,
        context: &Context<'_>,
    ) {
        let camera = trigger.key.camera;
        if camera >= self.0.len() {
            self.0.resize(camera + 1, None);
        }
        let slot = &mut self.0[camera];
        if slot.as_ref().is_some_and(|drift| drift.generation != generation) {
            *slot = None;
        }
        let drift = slot.get_or_insert_with(|| Drift::new(generation, rules));
        let Some(what) = drift.count(score, brightness) else { return };
        if let Some(events) = &context.events {
            events.tell(Event::Drifting { camera: trigger.camera.clone(), what });
        }
    }
}

impl Drift {
    fn new(generation: Generation, rules: &Rules) -> Self {
        let score = rules.limits.is_calibrated.then(|| of_scores(&rules.calibration));
        let brightness = rules.usual.as_ref().map(|usual| usual.brightness);
        let limits = rules.image.brightness;
        // Both so that a rise is what is watched for.
        let darker = brightness.zip(limits.0).map(|((least, _), limit)| Watched::towards(-least, -limit));
        let brighter = brightness.zip(limits.1).map(|((_, most), limit)| Watched::towards(most, limit));
        Self { generation, parts: 0, score, darker, brighter }
    }

    /// What has just drifted, in words.
    fn count(&mut self, score: f64, brightness: f64) -> Option<String> {
        self.parts = self.parts.saturating_add(1);
        let is_known = self.parts >= PARTS;
        let drifted = |watched: &mut Option<Watched>, value: f64| {
            let watched = watched.as_mut()?;
            watched.count(value, is_known).then(|| watched.clone())
        };
        let score = drifted(&mut self.score, score).map(|Watched { mean, usual, .. }| {
            format!(
                "good parts score {mean:.4} on average, {usual:.4} when calibrated: look at light, lens and parts before they are rejected"
            )
        });
        let darker = drifted(&mut self.darker, -brightness).map(|Watched { mean, usual, .. }| {
            format!("pictures of good parts have become darker: mean brightness {:.0}, at least {:.0} in training", -mean, -usual)
        });
        let brighter = drifted(&mut self.brighter, brightness).map(|Watched { mean, usual, .. }| {
            format!("pictures of good parts have become brighter: mean brightness {mean:.0}, at most {usual:.0} in training")
        });
        score.or(darker).or(brighter)
    }
}

impl Watched {
    fn towards(usual: f64, limit: f64) -> Self {
        Self { mean: usual, usual, high: usual + OF_MARGIN * (limit - usual), is_told: false }
    }

    /// True when it has just risen too high.
    fn count(&mut self, value: f64, is_known: bool) -> bool {
        self.mean += (value - self.mean) / f64::from(PARTS);
        if self.is_told {
            self.is_told = self.mean > f64::midpoint(self.usual, self.high);
            return false;
        }
        self.is_told = is_known && self.mean > self.high;
        self.is_told
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of parts")]
fn of_scores(calibration: &Calibration) -> Watched {
    let scores = calibration.parts.iter().map(|part| part.score);
    let n = calibration.parts.len() as f64;
    let usual = scores.clone().sum::<f64>() / n;
    let deviation = (scores.map(|score| (score - usual).powi(2)).sum::<f64>() / n).sqrt();
    Watched { mean: usual, usual, high: usual + SCORE_DEVIATIONS * deviation, is_told: false }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    /// Scores 2 ± 1, brightness 100 to 110 with limits at 80 and 130.
    fn drift() -> Drift {
        let score = Watched { mean: 2.0, usual: 2.0, high: 3.0, is_told: false };
        let (darker, brighter) = (Watched::towards(-100.0, -80.0), Watched::towards(110.0, 130.0));
        let (score, darker, brighter) = (Some(score), Some(darker), Some(brighter));
        Drift { generation: Generation(1), parts: 0, score, darker, brighter }
    }

    /// What is told, with the number of the part.
    fn told(drift: &mut Drift, parts: u32, of: impl Fn(f64) -> (f64, f64)) -> Vec<(u32, String)> {
        let mut rng = Pcg64::seed_from_u64(1);
        (0..parts)
            .filter_map(|part| {
                let (score, brightness) = of(f64::from(part) / f64::from(parts));
                let noise = rng.random_range(-1.7..1.7);
                Some((part, drift.count(score + noise, brightness + 2.0 * noise)?))
            })
            .collect()
    }

    #[test]
    fn parts_as_they_were_are_no_drift_and_a_slow_rise_is_told_once() {
        let mut drift = drift();
        assert_eq!(told(&mut drift, 20_000, |_| (2.0, 105.0)), []);
        let rise = told(&mut drift, 4000, |share| (2.0 + 3.0 * share, 105.0));
        let [(part, text)] = rise.as_slice() else { panic!("{rise:?}") };
        // One deviation is reached after 1333 parts, and the mean follows by as many as it is taken over.
        assert!((1333..1800).contains(part) && text.starts_with("good parts score 3.0"), "{rise:?}");
        assert_eq!(told(&mut drift, 4000, |_| (2.0, 105.0)), [], "back again");
        assert_eq!(told(&mut drift, 4000, |share| (2.0 + 3.0 * share, 105.0)).len(), 1, "and once more");
    }

    #[test]
    fn brightness_is_told_in_both_directions_while_pictures_are_still_judged() {
        let darker = told(&mut drift(), 4000, |share| (2.0, 105.0 - 25.0 * share));
        let [(_, text)] = darker.as_slice() else { panic!("{darker:?}") };
        assert_eq!(
            text,
            "pictures of good parts have become darker: mean brightness 90, at least 100 in training"
        );
        let brighter = told(&mut drift(), 4000, |share| (2.0, 105.0 + 25.0 * share));
        assert!(
            brighter.len() == 1 && brighter[0].1.contains("brighter: mean brightness 120"),
            "{brighter:?}"
        );
    }

    #[test]
    fn a_few_odd_parts_after_the_start_are_no_drift() {
        assert_eq!(told(&mut drift(), 150, |_| (9.0, 85.0)), []);
    }
}
