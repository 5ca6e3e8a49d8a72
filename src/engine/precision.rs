//! How finely a network computes, and whether that is fine enough for what its scores decide.
//!
//! A coarser precision is let in by the bundle's self-test alone. Its scores must lie close to those in f32 and give the
//! same verdicts; and by how far they moved, times a margin, must not matter at the threshold: it is small against the
//! guard band, and hardly any of the good parts that the threshold rests on lies so close to it.

use tch::Kind;

use crate::calibrate::Calibration;
use crate::config::engine::Precision;
use crate::cpu;
use crate::verdict::Judge;

/// How far a score in a coarser precision may lie from that in f32, relative to it, or to 1 where scores are in deviations.
pub const TOLERANCE: f64 = 0.01;

/// A few pictures stand for all: others may move by so much more.
const MARGIN: f64 = 2.0;

/// Largest shift as a share of the guard band.
const OF_GUARD_BAND: f64 = 0.5;

/// In what a network computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Computed {
    F32,
    /// What a GPU multiplies in the flow's convolutions is f32 rounded to ten bits.
    Tf32,
    /// The flow's convolutions, and the backbone where features are not whitened; the rest is in f32.
    Bf16,
    /// The same. What is beyond its largest number, 65504, makes a score that is none, or one far above all thresholds: never a good
    /// one.
    F16,
}

/// A precision that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PrecisionError {
    #[error("precision \"{precision}\" is for CUDA devices: on a CPU set \"auto\", \"f32\" or \"bf16\"")]
    NotOnCpu { precision: &'static str },
    #[error("precision \"{precision}\" is not to be had here: {cause}")]
    Missing { precision: &'static str, cause: String },
    #[error("precision \"{precision}\" is too coarse for this bundle: {cause}")]
    TooCoarse { precision: &'static str, cause: TooCoarse },
}

/// What the self-test says against a precision.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TooCoarse {
    #[error("picture {index} scores {found} instead of {expected}, more than {TOLERANCE} of it apart")]
    Score { index: usize, found: f64, expected: f64 },
    #[error("picture {index} scores {found} instead of {expected} and is judged differently")]
    Verdict { index: usize, found: f64, expected: f64 },
    #[error("scores at the threshold may move by {shift:.3}, and the guard band is {guard_band}")]
    GuardBand { shift: f64, guard_band: f64 },
    #[error(
        "scores at the threshold may move by {shift:.3}, and {close} of the good parts that it rests on lie so close to \
         it, more than {most}"
    )]
    Threshold { shift: f64, close: usize, most: usize },
}

impl Computed {
    /// As it stands in results and bundles.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::F32 | Self::Tf32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }

    /// In what the backbone is.
    pub(super) fn of_backbone(self, is_whitened: bool) -> Self {
        if is_whitened { Self::F32 } else { self }
    }
}

/// What to try, one after the other; the last has to do.
pub(super) fn candidates(
    wanted: Precision,
    device: tch::Device,
) -> Result<&'static [Computed], PrecisionError> {
    match (wanted, device.is_cuda()) {
        (Precision::F16, false) => Err(PrecisionError::NotOnCpu { precision: "f16" }),
        (Precision::Tf32, false) => Err(PrecisionError::NotOnCpu { precision: "tf32" }),
        (Precision::F16, true) => Ok(&[Computed::F16]),
        (Precision::Tf32, true) => Ok(&[Computed::Tf32]),
        (Precision::Bf16, _) => Ok(&[Computed::Bf16]),
        (Precision::Auto, true) => Ok(&[Computed::F16, Computed::Tf32, Computed::F32]),
        (Precision::Auto, false) if is_bf16_fast() => Ok(&[Computed::Bf16, Computed::F32]),
        (Precision::Auto, false) | (Precision::F32, _) => Ok(&[Computed::F32]),
    }
}

/// Whether the CPU has instructions for it; a CPU that has none is slower in bf16 than in f32.
fn is_bf16_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has_it = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has_it = false;
    has_it && cpu::is_available()
}

/// Whether `found`, the self-test's scores, are close enough to the `expected` ones in f32. `unit` is the least size of
/// a score that a difference is measured by.
pub(super) fn check(
    found: &[f64],
    expected: &[f64],
    unit: f64,
    (judge, calibration): (&Judge, &Calibration),
) -> Result<(), TooCoarse> {
    let mut moved: f64 = 0.0;
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let relative = (found - expected).abs() / expected.abs().max(unit);
        // A score that is not a number is within no tolerance, whatever it is compared with.
        if !(found.is_finite() && relative <= TOLERANCE) {
            return Err(TooCoarse::Score { index, found, expected });
        }
        if judge.outcome(found) != judge.outcome(expected) {
            return Err(TooCoarse::Verdict { index, found, expected });
        }
        moved = moved.max(relative);
    }
    let (threshold, guard_band) = (judge.threshold().get(), judge.guard_band());
    let shift = MARGIN * moved * threshold.abs().max(unit);
    if guard_band > 0.0 && shift > OF_GUARD_BAND * guard_band {
        return Err(TooCoarse::GuardBand { shift, guard_band });
    }
    let distance = |score: f64| (score - threshold).abs();
    let close = calibration.parts.iter().filter(|part| (0.0..=shift).contains(&distance(part.score)));
    // The part that the threshold is the score of lies on it.
    let close = close.filter(|part| part.score != threshold).count();
    let above = calibration.parts.iter().filter(|part| part.score > threshold).count();
    let most = most_close(above);
    if close > most {
        return Err(TooCoarse::Threshold { shift, close, most });
    }
    Ok(())
}

/// Half the standard deviation of a count of good parts above the threshold: so many more or less are its own chance.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count"
)]
fn most_close(above: usize) -> usize {
    ((above as f64 + 1.0).sqrt() / 2.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::evidence::Evidence;
    use crate::calibrate::{Shortfall, Target, calibrate};
    use crate::verdict::Threshold;

    /// Forty good parts that score 1.0 to 1.39, and the largest as the threshold.
    fn calibration() -> Calibration {
        let scores: Vec<f64> = (0..40).map(|i| 1.0 + f64::from(i) * 0.01).collect();
        calibrate(&Evidence::ungrouped(&scores, &scores), Target::default(), Shortfall::Flag).unwrap()
    }

    fn checked(found: &[f64], expected: &[f64], guard_band: f64) -> Result<(), TooCoarse> {
        let calibration = calibration();
        let threshold = Threshold::new(calibration.threshold).unwrap();
        check(found, expected, 0.0, (&Judge::new(threshold, guard_band).unwrap(), &calibration))
    }

    #[test]
    fn small_moves_far_from_the_threshold_are_let_in() {
        assert_eq!(checked(&[1.001, 1.2], &[1.0, 1.2], 0.0), Ok(()));
        assert_eq!(checked(&[1.001, 1.2], &[1.0, 1.2], 0.1), Ok(()));
    }

    #[test]
    fn large_moves_and_no_numbers_are_not() {
        for found in [1.011, 0.98, f64::NAN, f64::INFINITY] {
            let error = checked(&[1.0, found], &[1.0, 1.0], 0.0).unwrap_err();
            assert!(matches!(error, TooCoarse::Score { index: 1, .. }), "{error}");
        }
    }

    #[test]
    fn a_verdict_that_changes_is_not() {
        let error = checked(&[1.391], &[1.389], 0.0).unwrap_err();
        assert!(matches!(error, TooCoarse::Verdict { index: 0, .. }), "{error}");
        // Good turns undecidable.
        let error = checked(&[1.341], &[1.339], 0.05).unwrap_err();
        assert!(matches!(error, TooCoarse::Verdict { index: 0, .. }), "{error}");
    }

    #[test]
    fn a_shift_that_is_not_small_against_the_guard_band_is_not() {
        // Twice 0.2 % of 1.39 are 0.0056.
        let error = checked(&[1.002], &[1.0], 0.01).unwrap_err();
        assert!(matches!(error, TooCoarse::GuardBand { .. }), "{error}");
        assert_eq!(checked(&[1.002], &[1.0], 0.012), Ok(()));
    }

    #[test]
    fn a_shift_that_reaches_other_parts_is_not() {
        // Twice 0.5 % of 1.39 are 0.0139, and the next part is 0.01 below.
        let error = checked(&[1.005], &[1.0], 0.0).unwrap_err();
        assert!(matches!(error, TooCoarse::Threshold { close: 1, most: 0, .. }), "{error}");
        assert_eq!(checked(&[1.003], &[1.0], 0.0), Ok(()));
    }

    #[test]
    fn more_parts_above_the_threshold_bear_more_close_to_it() {
        assert_eq!([0, 3, 15, 35].map(most_close), [0, 1, 2, 3]);
    }

    #[test]
    fn what_is_asked_for_is_tried_or_refused() {
        let on_cpu = |wanted| candidates(wanted, tch::Device::Cpu);
        assert_eq!(on_cpu(Precision::F32).unwrap(), [Computed::F32]);
        assert_eq!(on_cpu(Precision::Bf16).unwrap(), [Computed::Bf16]);
        assert_eq!(on_cpu(Precision::Auto).unwrap().last(), Some(&Computed::F32));
        for wanted in [Precision::F16, Precision::Tf32] {
            assert!(matches!(on_cpu(wanted), Err(PrecisionError::NotOnCpu { .. })));
        }
        let on_cuda = |wanted| candidates(wanted, tch::Device::Cuda(0)).unwrap();
        assert_eq!(on_cuda(Precision::Auto), [Computed::F16, Computed::Tf32, Computed::F32]);
        assert_eq!(on_cuda(Precision::Tf32), [Computed::Tf32]);
        assert_eq!(on_cuda(Precision::Bf16), [Computed::Bf16]);
    }
}
