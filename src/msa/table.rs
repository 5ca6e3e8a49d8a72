//! The study as a table for people.

use std::fmt;

use crate::calibrate::share::Percent;
use crate::msa::agreement::{Agreement, Kappa};
use crate::msa::spread::{GuardBand, Repeatability};
use crate::msa::study::{Nearest, Part, Study};

impl fmt::Display for Study {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { good_parts, defective_parts, captures, .. } = self;
        writeln!(
            f,
            "parts                 {good_parts} good, {defective_parts} defective; {captures} captures"
        )?;
        if self.copies > 0 {
            writeln!(
                f,
                "warning               {} captures are the very same picture as another: they repeat too well",
                self.copies
            )?;
        }
        if self.seen_in_training > 0 {
            writeln!(
                f,
                "warning               {} captures are known to the network from training: they score and repeat better \
                 than new parts",
                self.seen_in_training
            )?;
        }
        writeln!(f, "threshold             {:.6}, guard band {:.6}", self.threshold, self.guard_band)?;
        writeln!(f)?;
        writeln!(
            f,
            "repeatability         {}: all good ones, and defective ones near the threshold",
            self.repeatability
        )?;
        for (name, spread) in [
            ("  good parts          ", self.repeatability_good),
            ("  defective parts     ", self.repeatability_defective),
        ] {
            if let Some(spread) = spread {
                writeln!(f, "{name}{spread}")?;
            }
        }
        if let Some(sd) = self.part_to_part_sd {
            writeln!(f, "part to part          sd {sd:.6} among good parts")?;
        }
        match self.margin {
            Some(margin) => writeln!(
                f,
                "share of the margin   {}: 3 sd of repeatability over the way from the good parts' mean {:.6} to the \
                 threshold (AIAG: below 10 % good, above 30 % not acceptable)",
                Percent(margin.consumed),
                margin.good_mean
            )?,
            None => {
                writeln!(f, "share of the margin   none: good parts score above the threshold on average")?;
            }
        }
        for (name, nearest) in [
            ("nearest good part     ", &self.nearest_good),
            ("nearest defect        ", &self.nearest_defective),
        ] {
            if let Some(nearest) = nearest {
                writeln!(f, "{name}{nearest}")?;
            }
        }
        writeln!(f, "\n{}", self.agreement)?;
        disagreeing(f, &self.parts)?;
        match self.proposed_guard_band {
            Some(band @ GuardBand { k, confidence, .. }) => write!(
                f,
                "guard band proposed   {:.6} = {k:.3} sd: a part at the threshold is called OK in at most {} of its \
                 captures",
                band.rounded_up(),
                Percent(1.0 - confidence)
            ),
            None => write!(f, "guard band proposed   none"),
        }
    }
}

fn disagreeing(f: &mut fmt::Formatter<'_>, parts: &[Part]) -> fmt::Result {
    for (i, part) in parts.iter().filter(|part| !part.consistent).enumerate() {
        let head = if i == 0 { "repeats disagree on   " } else { "                      " };
        let count = |code: u8| part.evaluations.iter().map(|&one| usize::from(one == code)).sum::<usize>();
        let lowest = part.scores.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = part.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        writeln!(
            f,
            "{head}{}: {} OK, {} not OK, {} not decidable, {} not inspected; scores {lowest:.6} to {highest:.6}",
            part.part,
            count(1),
            count(2),
            count(3),
            count(0),
        )?;
    }
    Ok(())
}

impl fmt::Display for Repeatability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sd, low, high, degrees_of_freedom, parts } = self;
        write!(
            f,
            "sd {sd:.6} (95 %: {low:.6} to {high:.6}; {degrees_of_freedom} degrees of freedom), {parts} parts"
        )
    }
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, mean, distance, distance_in_sd } = self;
        let side = if *distance < 0.0 { "on the wrong side of" } else { "from" };
        write!(f, "{part}: mean {mean:.6}, {:.6} {side} the threshold", distance.abs())?;
        distance_in_sd.map_or(Ok(()), |sds| write!(f, " = {:.1} sd", sds.abs()))
    }
}

impl fmt::Display for Kappa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.value)?;
        match (self.low, self.high) {
            (Some(low), Some(high)) => write!(f, " (95 %: {low:.3} to {high:.3})"),
            _ => write!(f, " (too few verdicts differ for an interval)"),
        }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            (
                "effectiveness",
                self.effectiveness,
                self.effective_parts,
                "all captures right",
                "at least 90 %",
            ),
            ("misses", self.misses, self.missed_parts, "any capture OK", "at most 2 %"),
            ("false alarms", self.false_alarms, self.false_alarm_parts, "any capture not OK", "at most 5 %"),
        ];
        for (name, captures, parts, rule, limit) in rows {
            writeln!(f, "{name:<22}captures {captures} (AIAG: {limit}); parts, {rule}: {parts}")?;
        }
        writeln!(
            f,
            "not decidable         {} captures: neither misses nor false alarms",
            self.not_decidable
        )?;
        if self.not_inspected > 0 {
            writeln!(f, "not inspected         {} captures: no finite score", self.not_inspected)?;
        }
        match self.kappa {
            Some(kappa) => writeln!(f, "kappa, with the truth {kappa} (AIAG: above 0.75)")?,
            None => {
                writeln!(f, "kappa, with the truth none: it takes good and defective parts with verdicts")?;
            }
        }
        match self.kappa_repeats {
            Some(kappa) => writeln!(f, "kappa, of the repeats {kappa:.3} (Fleiss)")?,
            None => writeln!(f, "kappa, of the repeats none: all verdicts are the same")?,
        }
        write!(f, "repeats all the same  parts {}", self.consistent_parts)
    }
}
