//! Whether the verdicts are right, and whether they are the same each time.
//!
//! Attribute agreement as AIAG, Measurement Systems Analysis, 4th edition, chapter III, section C has it:
//! effectiveness, miss rate and false alarm rate over all captures, Cohen's kappa against the truth. Captures of one
//! part are alike, so intervals are by part: a part is right if all its captures are.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::Serialize;

use crate::calibrate::rate::Rate;
use crate::verdict::Outcome;

const RESAMPLES: usize = 2000;
const SEED: u64 = 1960;

/// The verdicts on one part's captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratings {
    pub is_good: bool,
    pub outcomes: Vec<Outcome>,
}

/// Cohen's kappa, with a 95 % bootstrap interval over parts, if they differ enough to give one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kappa {
    pub value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// Of all parts. A verdict that is not decidable is neither a miss nor a false alarm, and not right either.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Captures with the right verdict.
    pub effectiveness: Rate,
    /// Captures of defective parts called OK.
    pub misses: Rate,
    /// Captures of good parts called not OK.
    pub false_alarms: Rate,
    /// Captures.
    pub not_decidable: usize,
    pub not_inspected: usize,
    /// Parts whose captures all have the right verdict.
    pub effective_parts: Rate,
    /// Defective parts of which a capture was called OK.
    pub missed_parts: Rate,
    /// Good parts of which a capture was called not OK.
    pub false_alarm_parts: Rate,
    /// Parts whose captures all have the same verdict.
    pub consistent_parts: Rate,
    /// Against the truth, over captures that were called OK or not OK. Absent if there is but one kind of part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kappa: Option<Kappa>,
    /// Fleiss' kappa of the captures of a part with one another. Absent if all verdicts are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kappa_repeats: Option<f64>,
}

impl Ratings {
    fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.iter().filter(|&&one| one == outcome).count()
    }

    fn right(&self) -> usize {
        self.count(if self.is_good { Outcome::Good } else { Outcome::Anomalous })
    }

    pub fn not_inspected(&self) -> usize {
        self.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::NotInspected(_))).count()
    }

    pub fn is_consistent(&self) -> bool {
        self.outcomes.iter().all(|outcome| *outcome == self.outcomes[0])
    }
}

impl Agreement {
    pub fn of(parts: &[Ratings]) -> Self {
        let [good, defective] =
            [true, false].map(|good| parts.iter().filter(|part| part.is_good == good).collect::<Vec<_>>());
        let captures = |parts: &[&Ratings]| parts.iter().map(|part| part.outcomes.len()).sum::<usize>();
        let total = |parts: &[&Ratings], outcome| parts.iter().map(|part| part.count(outcome)).sum::<usize>();
        let with = |parts: &[&Ratings], outcome| parts.iter().filter(|part| part.count(outcome) > 0).count();
        let all: Vec<&Ratings> = parts.iter().collect();
        let right = parts.iter().map(Ratings::right).sum();
        let effective = parts.iter().filter(|part| part.right() == part.outcomes.len()).count();
        let consistent = parts.iter().filter(|part| part.is_consistent()).count();
        Self {
            effectiveness: Rate::alike(right, captures(&all)),
            misses: Rate::alike(total(&defective, Outcome::Good), captures(&defective)),
            false_alarms: Rate::alike(total(&good, Outcome::Anomalous), captures(&good)),
            not_decidable: total(&all, Outcome::Undecidable),
            not_inspected: parts.iter().map(Ratings::not_inspected).sum(),
            effective_parts: Rate::new(effective, parts.len()),
            missed_parts: Rate::new(with(&defective, Outcome::Good), defective.len()),
            false_alarm_parts: Rate::new(with(&good, Outcome::Anomalous), good.len()),
            consistent_parts: Rate::new(consistent, parts.len()),
            kappa: kappa(&good, &defective),
            kappa_repeats: fleiss(parts),
        }
    }
}

/// Captures by truth and verdict: good and called OK, good and called not OK, defective and called OK, defective and
/// called not OK.
type Table = [usize; 4];

fn table(part: &Ratings) -> Table {
    let (ok, not_ok) = (part.count(Outcome::Good), part.count(Outcome::Anomalous));
    if part.is_good { [ok, not_ok, 0, 0] } else { [0, 0, ok, not_ok] }
}

/// Cohen 1960. None if chance alone would agree on everything.
#[expect(clippy::cast_precision_loss, reason = "counts of captures")]
fn cohen(table: Table) -> Option<f64> {
    let n = table.iter().sum::<usize>() as f64;
    let [a, b, c, d] = table.map(|count| count as f64 / n);
    let (observed, chance) = (a + d, (a + b) * (a + c) + (c + d) * (b + d));
    (chance < 1.0).then(|| (observed - chance) / (1.0 - chance))
}

fn kappa(good: &[&Ratings], defective: &[&Ratings]) -> Option<Kappa> {
    if good.is_empty() || defective.is_empty() {
        return None;
    }
    let add = |mut sum: Table, part: Table| {
        sum.iter_mut().zip(part).for_each(|(sum, count)| *sum += count);
        sum
    };
    let tables = [good, defective].map(|parts| parts.iter().map(|part| table(part)).collect::<Vec<_>>());
    let value = cohen(tables.iter().flatten().copied().fold([0; 4], add))?;
    // Parts are drawn again, not captures: those of one part are alike.
    let mut rng = Pcg64::seed_from_u64(SEED);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let mut sum = [0; 4];
            for kind in &tables {
                for _ in 0..kind.len() {
                    sum = add(sum, kind[rng.random_range(0..kind.len())]);
                }
            }
            cohen(sum)
        })
        .collect();
    resampled.sort_by(f64::total_cmp);
    let tail = RESAMPLES / 40;
    let (low, high) = (resampled.get(tail).copied(), resampled.iter().rev().nth(tail).copied());
    // With no verdict that is wrong, or all, drawing again shows nothing.
    let is_interval = low < high;
    Some(Kappa { value, low: low.filter(|_| is_interval), high: high.filter(|_| is_interval) })
}

/// Fleiss 1971, with a mean over parts where these have different numbers of captures.
#[expect(clippy::cast_precision_loss, reason = "counts of captures")]
fn fleiss(parts: &[Ratings]) -> Option<f64> {
    const KINDS: [Outcome; 3] = [Outcome::Good, Outcome::Anomalous, Outcome::Undecidable];
    let rated: Vec<[f64; 3]> = parts
        .iter()
        .map(|part| KINDS.map(|kind| part.count(kind) as f64))
        .filter(|counts| counts.iter().sum::<f64>() >= 2.0)
        .collect();
    let total: f64 = rated.iter().flatten().sum();
    let chance: f64 = (0..KINDS.len())
        .map(|kind| (rated.iter().map(|counts| counts[kind]).sum::<f64>() / total).powi(2))
        .sum();
    let agree = |counts: &[f64; 3]| {
        let n: f64 = counts.iter().sum();
        counts.iter().map(|count| count * (count - 1.0)).sum::<f64>() / (n * (n - 1.0))
    };
    let observed = rated.iter().map(agree).sum::<f64>() / rated.len() as f64;
    (chance < 1.0).then(|| (observed - chance) / (1.0 - chance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Reason;

    const OK: Outcome = Outcome::Good;
    const NG: Outcome = Outcome::Anomalous;
    const UN: Outcome = Outcome::Undecidable;

    fn part(is_good: bool, outcomes: &[Outcome]) -> Ratings {
        Ratings { is_good, outcomes: outcomes.to_vec() }
    }

    #[test]
    fn kappas_agree_with_scikit_learn_and_statsmodels() {
        // scikit-learn 1.9.1 cohen_kappa_score, statsmodels 0.15.0 fleiss_kappa.
        let found = cohen([45, 3, 5, 27]).unwrap();
        assert!((found - 0.789_473_684_210_526_3).abs() < 1e-12, "{found}");
        let parts = [
            part(true, &[OK, OK, OK]),
            part(true, &[OK, OK, OK]),
            part(true, &[OK, UN, OK]),
            part(false, &[NG, NG, NG]),
            part(false, &[NG, UN, NG]),
            part(true, &[OK, OK, OK]),
            part(false, &[NG, NG, NG]),
            part(false, &[OK, NG, UN]),
        ];
        let found = fleiss(&parts).unwrap();
        assert!((found - 0.508_771_929_824_561_3).abs() < 1e-12, "{found}");
    }

    #[test]
    fn captures_and_parts_are_counted_apart() {
        let lost = Outcome::NotInspected(Reason::ModelError);
        let found = Agreement::of(&[
            part(true, &[OK, OK, OK]),
            part(true, &[OK, NG, NG]),
            part(true, &[OK, UN, OK]),
            part(false, &[NG, NG, NG]),
            part(false, &[NG, OK, lost]),
        ]);
        let counts = |c: Rate| (c.count, c.of);
        assert_eq!(counts(found.effectiveness), (10, 15));
        assert_eq!((counts(found.misses), counts(found.false_alarms)), ((1, 6), (2, 9)));
        assert_eq!((found.not_decidable, found.not_inspected), (1, 1));
        assert_eq!(counts(found.effective_parts), (2, 5));
        assert_eq!((counts(found.missed_parts), counts(found.false_alarm_parts)), ((1, 2), (1, 3)));
        assert_eq!(counts(found.consistent_parts), (2, 5));
        assert!(found.misses.limits.is_none() && found.missed_parts == Rate::new(1, 2));
        let kappa = found.kappa.unwrap();
        assert!(kappa.low.unwrap() < kappa.value && kappa.value < kappa.high.unwrap(), "{kappa:?}");
    }

    #[test]
    fn one_kind_of_part_or_of_verdict_has_no_kappa() {
        let good = Agreement::of(&[part(true, &[OK, OK]), part(true, &[OK, OK])]);
        assert_eq!((good.kappa, good.kappa_repeats, good.misses.rate), (None, None, None));
        let right = Agreement::of(&[part(true, &[OK, OK]), part(false, &[NG, NG])]);
        assert_eq!(right.kappa, Some(Kappa { value: 1.0, low: None, high: None }));
        assert_eq!(right.kappa_repeats, Some(1.0));
        let nothing = Agreement::of(&[part(true, &[UN, UN]), part(false, &[UN, UN])]);
        assert_eq!((nothing.kappa, nothing.effectiveness.count), (None, 0));
    }
}
