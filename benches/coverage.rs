//! How often the stated bound on overkill holds, for scores of several laws, beside two rules that promise nothing.
//!
//! Pure counting, no timing: `cargo bench --bench coverage` prints a table. For each law and number of held-out parts,
//! thresholds are set many times for the tightest target of the ladder that so many parts carry, with 95 % confidence.
//! "held" is the share of times in which the true overkill was within the stated bound: expected 95 %, no less and not
//! much more. Mean and three sigma, and the largest score, are shown by their median true overkill and by the one that
//! only 5 % of the times exceed: what they would have to promise for the same confidence.

#[path = "../tests/it/calibrate/laws.rs"]
mod laws;

use std::io::{self, Write};

use csflowd::calibrate::evidence::Evidence;
use csflowd::calibrate::share::{Percent, Share};
use csflowd::calibrate::{Shortfall, Target, calibrate, default_overkill};
use rand::SeedableRng;
use rand_pcg::Pcg64;

use crate::laws::{LAWS, Law, scores};

const CONFIDENCE: f64 = 0.95;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:<10} {:>5} {:>6} {:>7} {:>8} {:>7} | {:>9} {:>9} | {:>9} {:>9} | {:>9} {:>9}",
        "law",
        "parts",
        "splits",
        "asked",
        "bound",
        "held",
        "csflowd",
        "95 %",
        "mean+3s",
        "95 %",
        "largest",
        "95 %"
    )?;
    for law in &LAWS {
        for (n, splits) in
            [(50, 10_000), (100, 10_000), (200, 10_000), (300, 8000), (500, 6000), (1000, 4000), (3000, 2000)]
        {
            row(&mut out, law, n, splits)?;
        }
    }
    Ok(())
}

fn row(out: &mut impl Write, law: &Law, n: usize, splits: u32) -> io::Result<()> {
    let confidence = Share::new(CONFIDENCE).expect("a share");
    let target = Target { overkill: default_overkill(n, confidence), confidence };
    let mut rng = Pcg64::seed_from_u64(u64::from(splits) + n as u64);
    let (mut ours, mut sigma, mut largest) = (Vec::new(), Vec::new(), Vec::new());
    let (mut held, mut bound) = (0, 0.0);
    for _ in 0..splits {
        let scores = scores(law, n, &mut rng);
        let found = calibrate(&Evidence::ungrouped(&scores, &scores), target, Shortfall::Refuse)
            .expect("the target is one that n carries");
        let overkill = (law.above)(found.threshold);
        bound = found.attained_overkill_bound;
        held += u32::from(overkill <= bound);
        ours.push(overkill);
        sigma.push((law.above)(mean_and_three_sigma(&scores)));
        largest.push((law.above)(scores.iter().copied().fold(f64::NEG_INFINITY, f64::max)));
    }
    let (asked, bound) = (Percent(target.overkill.get()).to_string(), Percent(bound).to_string());
    let held = format!("{:.1} %", 100.0 * f64::from(held) / f64::from(splits));
    write!(out, "{:<10} {n:>5} {splits:>6} {asked:>7} {bound:>8} {held:>7}", law.name)?;
    for mut reached in [ours, sigma, largest] {
        reached.sort_by(f64::total_cmp);
        let [median, upper] = [reached.len() / 2, reached.len() * 95 / 100].map(|at| Percent(reached[at]));
        write!(out, " | {:>9} {:>9}", median.to_string(), upper.to_string())?;
    }
    writeln!(out)
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn mean_and_three_sigma(scores: &[f64]) -> f64 {
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
    mean + 3.0 * variance.sqrt()
}
