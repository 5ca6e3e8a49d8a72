//! Laws that scores may follow: how to draw from them, and the true share above a score. The two are written apart
//! from each other, so that a mistake in either shows.

use rand::RngExt;
use rand_pcg::Pcg64;

/// A law of good parts' scores.
pub(crate) struct Law {
    pub(crate) name: &'static str,
    pub(crate) draw: fn(&mut Pcg64) -> f64,
    /// The true overkill of a threshold.
    pub(crate) above: fn(f64) -> f64,
}

pub(crate) const LAWS: [Law; 4] = [
    // The sum of three exponentials.
    Law { name: "gamma", draw: draw_gamma, above: above_gamma },
    Law {
        name: "lognormal",
        draw: |rng| (0.5 * draw_normal(rng)).exp(),
        above: |t| if t <= 0.0 { 1.0 } else { above_normal(t.ln() / 0.5) },
    },
    // Student's t with 3 degrees of freedom: no finite third moment.
    Law { name: "heavy tail", draw: draw_t3, above: above_t3 },
    // One part in fifty is from another supplier.
    Law {
        name: "mixture",
        draw: |rng| {
            let shift = if rng.random::<f64>() < 0.02 { 10.0 } else { 0.0 };
            shift + draw_gamma(rng)
        },
        above: |t| 0.98 * above_gamma(t) + 0.02 * above_gamma(t - 10.0),
    },
];

/// `n` scores.
pub(crate) fn scores(law: &Law, n: usize, rng: &mut Pcg64) -> Vec<f64> {
    (0..n).map(|_| (law.draw)(rng)).collect()
}

fn draw_gamma(rng: &mut Pcg64) -> f64 {
    (0..3).map(|_| -(1.0 - rng.random::<f64>()).ln()).sum()
}

fn above_gamma(t: f64) -> f64 {
    if t <= 0.0 { 1.0 } else { (-t).exp() * (1.0 + t + t * t / 2.0) }
}

/// Box and Muller.
fn draw_normal(rng: &mut Pcg64) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// By the continued fraction of Mills' ratio in the tails (Abramowitz and Stegun 26.2.14), which is all that
/// thresholds need; the series 26.2.10 elsewhere.
fn above_normal(z: f64) -> f64 {
    let density = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
    if z < 0.0 {
        return 1.0 - above_normal(-z);
    }
    if z > 2.0 {
        let fraction = (1..=60).rev().fold(z, |rest, i| z + f64::from(i) / rest);
        return density / fraction;
    }
    let (mut term, mut sum) = (z, z);
    for i in 1..60 {
        term *= z * z / f64::from(2 * i + 1);
        sum += term;
    }
    0.5 - density * sum
}

fn draw_t3(rng: &mut Pcg64) -> f64 {
    let squares: f64 = (0..3).map(|_| draw_normal(rng).powi(2)).sum();
    draw_normal(rng) / (squares / 3.0).sqrt()
}

fn above_t3(t: f64) -> f64 {
    let x = t / 3.0_f64.sqrt();
    0.5 - (x / (1.0 + x * x) + x.atan()) / std::f64::consts::PI
}
