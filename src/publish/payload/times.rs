//! `processing_times` in `result`.

use schemars::JsonSchema;
use serde::Serialize;

use super::milliseconds;
use crate::verdict::Verdict;

/// Where the time went, milliseconds.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProcessingTimes", deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the contract puts the unit into each key")]
pub struct Payload {
    queue_ms: f64,
    preprocess_ms: f64,
    inference_ms: f64,
    postprocess_ms: f64,
    /// From capture to verdict.
    total_ms: f64,
}

impl Payload {
    pub(super) fn new(verdict: &Verdict) -> Self {
        let times = verdict.judgement.times;
        let ms = |duration| milliseconds(duration, 3);
        Self {
            queue_ms: ms(times.queue),
            preprocess_ms: ms(times.preprocess),
            inference_ms: ms(times.inference),
            postprocess_ms: ms(times.postprocess),
            total_ms: ms(verdict.decided.since(verdict.trigger.captured)),
        }
    }
}
