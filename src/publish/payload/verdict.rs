//! `verdict`: flat and at most 256 bytes, for the PLC.
//!
//! The rule that keeps the size: `cx` and `cy` are left out first, then `score` and `thr`; both stand in `result`
//! too. What then remains is at most 242 bytes. In practice only part ids near their 64 characters get there.

use schemars::JsonSchema;
use serde::Serialize;

use super::{VERSION, decimals, milliseconds, significant, text, to_json, unix_time};
use crate::clock::Moment;
use crate::verdict::{Evaluation, Verdict};

/// PLC programs reserve this much.
pub const MAX_BYTES: usize = 256;

/// Digits of a score: as many as 32-bit arithmetic can mean.
const DIGITS: usize = 6;

/// The answer for one trigger. Sent once and never again. Reject the part unless `ev` is 1.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "csflowd verdict", deny_unknown_fields)]
pub struct Payload<'a> {
    /// Version of this layout.
    #[schemars(range(min = 1, max = 1))]
    v: u8,
    /// Counts the verdicts of the station; never goes back, also over a restart.
    seq: u64,
    /// The trigger's number, 31 bits, wraps.
    #[schemars(range(max = 2_147_483_647))]
    trig: u32,
    /// The part's id, if the PLC gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    part: Option<&'a str>,
    /// Result state: 0 undefined, 1 completed, 2 processing, 3 aborted, 4 failed.
    #[schemars(range(max = 4))]
    rs: u8,
    /// Evaluation: 0 undefined, 1 OK, 2 not OK, 3 not decidable.
    #[schemars(range(max = 3))]
    ev: u8,
    /// Why the part was not inspected; 0 if it was.
    #[schemars(range(max = 99))]
    code: u16,
    /// True only if `ev` is 1.
    pass: bool,
    /// Anomaly score, higher is worse, to 6 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// Threshold the score was held against, to 6 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    thr: Option<f64>,
    /// Number of defect regions.
    n: u16,
    /// Centroid of the worst region in pixels of the camera's frame, from the left.
    #[serde(skip_serializing_if = "Option::is_none")]
    cx: Option<f64>,
    /// The same from the top.
    #[serde(skip_serializing_if = "Option::is_none")]
    cy: Option<f64>,
    /// Capture time, seconds since 1970, UTC.
    ts_s: u32,
    /// Milliseconds beyond `ts_s`.
    #[schemars(range(max = 999))]
    ts_ms: u16,
    /// Capture to publish, milliseconds.
    #[schemars(range(min = 0))]
    lat_ms: f64,
    /// The first 8 hex digits of the bundle's SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    mdl: Option<&'a str>,
}

/// The payload of a verdict that leaves the station at `now`.
pub fn encode(verdict: &Verdict, now: Moment) -> Vec<u8> {
    let mut payload = Payload::new(verdict, now);
    let mut bytes = to_json(&payload);
    if bytes.len() > MAX_BYTES {
        (payload.cx, payload.cy) = (None, None);
        bytes = to_json(&payload);
    }
    if bytes.len() > MAX_BYTES {
        (payload.score, payload.thr) = (None, None);
        bytes = to_json(&payload);
    }
    bytes
}

impl<'a> Payload<'a> {
    fn new(verdict: &'a Verdict, now: Moment) -> Self {
        let (trigger, judgement) = (&verdict.trigger, &verdict.judgement);
        let outcome = judgement.outcome;
        let recipe = judgement.recipe.as_deref();
        let worst = judgement.regions.worst.first();
        let (ts_s, ts_ms) = unix_time(trigger.captured.utc);
        Self {
            v: VERSION,
            seq: verdict.seq,
            trig: wire_number(trigger.published_number),
            part: trigger.part_id.as_ref().map(|part| text(part.as_str())),
            rs: outcome.result_state() as u8,
            ev: outcome.evaluation() as u8,
            code: outcome.code(),
            pass: outcome.evaluation() == Evaluation::Ok,
            score: judgement.score.and_then(|score| significant(score, DIGITS)),
            thr: recipe.and_then(|recipe| significant(recipe.threshold, DIGITS)),
            n: u16::try_from(judgement.regions.total).unwrap_or(u16::MAX),
            cx: worst.map(|region| decimals(region.cx, 1)),
            cy: worst.map(|region| decimals(region.cy, 1)),
            ts_s,
            ts_ms,
            lat_ms: milliseconds(now.since(trigger.captured), 1),
            mdl: recipe.map(|recipe| recipe.bundle_sha256.get(..8).unwrap_or_default()),
        }
    }
}

/// A trigger's number as it is published: 31 bits, for PLCs whose integers have a sign.
pub fn wire_number(number: u32) -> u32 {
    number & 0x7fff_ffff
}
