//! From a score and an anomaly map to a decision and its regions.
//!
//! Pure: no clock, no files, no failure. A verdict cannot be good by accident: [`Outcome`] has no default,
//! and a score that is not a number is [`Reason::ModelError`], never [`Outcome::Good`].

pub mod map;
pub mod regions;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::frame::{CameraId, PartId, Size, Trigger};
use crate::verdict::regions::Regions;

/// What was found out about a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Score at most threshold minus guard band.
    Good,
    /// Score above the threshold.
    Anomalous,
    /// Score within the guard band.
    Undecidable,
    /// Nobody looked, or nobody can say what was seen.
    NotInspected(Reason),
}

/// Why a part was not inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    NoFrame,
    FrameCorrupt,
    FrameDropped,
    FrameFrozen,
    Timeout,
    ModelError,
    DeviceLost,
    ImageOutOfRange,
    NotReady,
    ViewMissing,
    TriggerAmbiguous,
}

/// `ResultState` of OPC 40001-101, by number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultState {
    Undefined = 0,
    Completed = 1,
    Processing = 2,
    Aborted = 3,
    Failed = 4,
}

/// `ResultEvaluationEnum` of OPC 40001-101, by number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    Undefined = 0,
    Ok = 1,
    NotOk = 2,
    NotDecidable = 3,
}

impl Reason {
    pub const ALL: [Reason; 11] = [
        Reason::NoFrame,
        Reason::FrameCorrupt,
        Reason::FrameDropped,
        Reason::FrameFrozen,
        Reason::Timeout,
        Reason::ModelError,
        Reason::DeviceLost,
        Reason::ImageOutOfRange,
        Reason::NotReady,
        Reason::ViewMissing,
        Reason::TriggerAmbiguous,
    ];

    /// The stable number published as `code`.
    pub fn code(self) -> u16 {
        match self {
            Self::NoFrame => 10,
            Self::FrameCorrupt => 11,
            Self::FrameDropped => 12,
            Self::FrameFrozen => 13,
            Self::Timeout => 20,
            Self::ModelError => 30,
            Self::DeviceLost => 31,
            Self::ImageOutOfRange => 40,
            Self::NotReady => 50,
            Self::ViewMissing => 60,
            Self::TriggerAmbiguous => 61,
        }
    }

    /// The stable word published as `code_text`.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoFrame => "NO_FRAME",
            Self::FrameCorrupt => "FRAME_CORRUPT",
            Self::FrameDropped => "FRAME_DROPPED",
            Self::FrameFrozen => "FRAME_FROZEN",
            Self::Timeout => "TIMEOUT",
            Self::ModelError => "MODEL_ERROR",
            Self::DeviceLost => "DEVICE_LOST",
            Self::ImageOutOfRange => "IMAGE_OUT_OF_RANGE",
            Self::NotReady => "NOT_READY",
            Self::ViewMissing => "VIEW_MISSING",
            Self::TriggerAmbiguous => "TRIGGER_AMBIGUOUS",
        }
    }
}

impl Outcome {
    pub fn result_state(self) -> ResultState {
        match self {
            Self::Good | Self::Anomalous | Self::Undecidable => ResultState::Completed,
            Self::NotInspected(Reason::FrameDropped | Reason::Timeout | Reason::ViewMissing) => {
                ResultState::Aborted
            }
            Self::NotInspected(
                Reason::NoFrame
                | Reason::FrameCorrupt
                | Reason::FrameFrozen
                | Reason::ModelError
                | Reason::DeviceLost
                | Reason::ImageOutOfRange
                | Reason::NotReady,
            ) => ResultState::Failed,
            // Something was seen, but nobody knows of which part.
            Self::NotInspected(Reason::TriggerAmbiguous) => ResultState::Undefined,
        }
    }

    pub fn evaluation(self) -> Evaluation {
        match self {
            Self::Good => Evaluation::Ok,
            Self::Anomalous => Evaluation::NotOk,
            Self::Undecidable => Evaluation::NotDecidable,
            Self::NotInspected(_) => Evaluation::Undefined,
        }
    }

    /// 0 when the part was inspected, else the reason's code.
    pub fn code(self) -> u16 {
        match self {
            Self::Good | Self::Anomalous | Self::Undecidable => 0,
            Self::NotInspected(reason) => reason.code(),
        }
    }

    pub fn code_text(self) -> &'static str {
        match self {
            Self::Good | Self::Anomalous | Self::Undecidable => "NONE",
            Self::NotInspected(reason) => reason.text(),
        }
    }
}

/// A finite score above which a part is not OK.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Threshold(f64);

impl Threshold {
    /// None if `value` is not finite.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

/// The rule that turns a score into an outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judge {
    threshold: Threshold,
    guard_band: f64,
}

impl Judge {
    /// None if `guard_band` is negative or not finite. It has the unit of the score.
    pub fn new(threshold: Threshold, guard_band: f64) -> Option<Self> {
        (guard_band.is_finite() && guard_band >= 0.0).then_some(Self { threshold, guard_band })
    }

    pub fn threshold(&self) -> Threshold {
        self.threshold
    }

    pub fn guard_band(&self) -> f64 {
        self.guard_band
    }

    pub fn outcome(&self, score: f64) -> Outcome {
        if !score.is_finite() {
            return Outcome::NotInspected(Reason::ModelError);
        }
        if score > self.threshold.0 {
            Outcome::Anomalous
        } else if score <= self.threshold.0 - self.guard_band {
            Outcome::Good
        } else {
            Outcome::Undecidable
        }
    }
}

/// The recipe a frame was judged by: what a verdict says about its origin. Shared, never changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipe {
    pub product: String,
    /// Lower-case hex, 64 characters.
    pub bundle_sha256: String,
    /// Of the settings in force, lower-case hex.
    pub config_sha256: String,
    pub threshold: f64,
    pub guard_band: f64,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// `plain` or `fused`.
    pub engine: &'static str,
    /// `f32`, `bf16` or `f16`.
    pub precision: &'static str,
    /// Scale of the part, if the product is calibrated: millimetres of one frame pixel.
    pub mm_per_px: Option<f64>,
}

/// Where the time of one frame went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// From capture until inference took it up.
    pub queue: Duration,
    pub preprocess: Duration,
    pub inference: Duration,
    pub postprocess: Duration,
}

/// What was measured on a frame; absent parts were not reached.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub outcome: Outcome,
    pub score: Option<f64>,
    /// Share of held-out good parts that score at least this high, `(1 + #{>= score}) / (n + 1)`.
    pub p_value: Option<f64>,
    pub regions: Regions,
    pub frame: Option<Size>,
    pub times: StageTimes,
    pub recipe: Option<Arc<Recipe>>,
}

impl Judgement {
    /// The answer for a part that nobody could look at.
    pub fn not_inspected(reason: Reason, recipe: Option<Arc<Recipe>>) -> Self {
        Self {
            outcome: Outcome::NotInspected(reason),
            score: None,
            p_value: None,
            regions: Regions::default(),
            frame: None,
            times: StageTimes::default(),
            recipe,
        }
    }
}

/// The answer for a trigger.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Counts the verdicts of this station; never goes back. A late verdict repeats the number of the one it
    /// comes after.
    pub seq: u64,
    pub trigger: Trigger,
    pub judgement: Judgement,
    pub decided: Moment,
    /// The trigger was answered with TIMEOUT before: this goes to `result` only.
    pub late: bool,
}

/// The answer for a part that several cameras see.
#[derive(Clone, Debug)]
pub struct PartVerdict {
    /// From the same count as [`Verdict::seq`].
    pub seq: u64,
    /// Name of the cameras' group.
    pub group: String,
    /// The PLC's number if it gave one, else parts of the group counted from 0; 31 bits, wraps.
    pub number: u32,
    pub part_id: Option<PartId>,
    /// When the first view was captured.
    pub captured: Moment,
    pub outcome: Outcome,
    /// Views that had their verdict, of those that make a part.
    pub views: usize,
    pub of: usize,
    /// The camera whose view decided, if one did.
    pub worst: Option<CameraId>,
}

/// What the ledger gives to the publisher.
#[derive(Clone, Debug)]
pub enum Decided {
    View(Verdict),
    Part(PartVerdict),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(threshold: f64, guard_band: f64) -> Judge {
        Judge::new(Threshold::new(threshold).unwrap(), guard_band).unwrap()
    }

    #[test]
    fn the_guard_band_lies_below_the_threshold() {
        let judge = judge(10.0, 1.0);
        for (score, expected) in [
            (8.9, Outcome::Good),
            (9.0, Outcome::Good),
            (9.001, Outcome::Undecidable),
            (10.0, Outcome::Undecidable),
            (10.001, Outcome::Anomalous),
        ] {
            assert_eq!(judge.outcome(score), expected, "score {score}");
        }
    }

    #[test]
    fn without_a_guard_band_the_threshold_itself_is_good() {
        assert_eq!(judge(10.0, 0.0).outcome(10.0), Outcome::Good);
    }

    #[test]
    fn a_score_that_is_not_a_number_is_a_model_error() {
        for score in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(judge(10.0, 0.0).outcome(score), Outcome::NotInspected(Reason::ModelError));
        }
    }

    #[test]
    fn only_good_evaluates_to_ok() {
        let mut outcomes = vec![Outcome::Anomalous, Outcome::Undecidable];
        outcomes.extend(Reason::ALL.map(Outcome::NotInspected));
        for outcome in outcomes {
            assert_ne!(outcome.evaluation(), Evaluation::Ok, "{outcome:?}");
        }
        assert_eq!(Outcome::Good.evaluation(), Evaluation::Ok);
    }

    #[test]
    fn every_reason_has_the_state_and_code_of_the_table() {
        let table = [
            (Reason::NoFrame, 4, 10),
            (Reason::FrameCorrupt, 4, 11),
            (Reason::FrameDropped, 3, 12),
            (Reason::FrameFrozen, 4, 13),
            (Reason::Timeout, 3, 20),
            (Reason::ModelError, 4, 30),
            (Reason::DeviceLost, 4, 31),
            (Reason::ImageOutOfRange, 4, 40),
            (Reason::NotReady, 4, 50),
            (Reason::ViewMissing, 3, 60),
            (Reason::TriggerAmbiguous, 0, 61),
        ];
        assert_eq!(table.len(), Reason::ALL.len());
        for (reason, state, code) in table {
            let outcome = Outcome::NotInspected(reason);
            assert_eq!(outcome.result_state() as u8, state, "{reason:?}");
            assert_eq!(outcome.code(), code, "{reason:?}");
        }
    }

    #[test]
    fn thresholds_and_guard_bands_must_be_finite() {
        assert!(Threshold::new(f64::NAN).is_none());
        assert!(Judge::new(Threshold::new(1.0).unwrap(), -0.1).is_none());
        assert!(Judge::new(Threshold::new(1.0).unwrap(), f64::NAN).is_none());
    }
}
