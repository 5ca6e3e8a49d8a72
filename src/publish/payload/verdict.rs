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
    /// The trigger's number, 31 bits, wraps: the PLC's, else counted from 0, and on commanded cameras from 2^30.
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::samples::{anomalous, any_verdict, good, largest, moment, not_inspected};
    use super::*;
    use crate::frame::PartId;
    use crate::publish::schema::{Kind, schema};
    use crate::verdict::{Outcome, Reason};

    fn text_of(verdict: &Verdict) -> String {
        String::from_utf8(encode(verdict, moment(148))).unwrap()
    }

    #[test]
    fn a_good_part_passes() {
        assert_snapshot!(text_of(&good()), @r#"{"v":1,"seq":123456,"trig":7,"rs":1,"ev":1,"code":0,"pass":true,"score":8.25,"thr":10.5,"n":0,"ts_s":1760000000,"ts_ms":123,"lat_ms":25.0,"mdl":"3f9a1c2e"}"#);
    }

    #[test]
    fn an_anomalous_part_shows_its_worst_region() {
        assert_snapshot!(text_of(&anomalous()), @r#"{"v":1,"seq":123456,"trig":7,"part":"A1B2C3D4","rs":1,"ev":2,"code":0,"pass":false,"score":12.3457,"thr":10.5,"n":2,"cx":512.0,"cy":300.5,"ts_s":1760000000,"ts_ms":123,"lat_ms":25.0,"mdl":"3f9a1c2e"}"#);
    }

    #[test]
    fn a_part_nobody_looked_at_has_a_code_and_neither_score_nor_model() {
        assert_snapshot!(text_of(&not_inspected()), @r#"{"v":1,"seq":123456,"trig":7,"rs":3,"ev":0,"code":12,"pass":false,"n":0,"ts_s":1760000000,"ts_ms":123,"lat_ms":25.0}"#);
    }

    #[test]
    fn what_does_not_fit_is_left_out_first_the_centroid_then_the_score() {
        let mut verdict = anomalous();
        verdict.trigger.part_id = Some(PartId::new(&"p".repeat(64)).unwrap());
        let keys = |verdict: &Verdict| {
            let payload: Value = serde_json::from_str(&text_of(verdict)).unwrap();
            assert_eq!(payload["part"].as_str().unwrap().len(), 64);
            ["cx", "cy", "score", "thr"].map(|key| payload.get(key).is_some())
        };
        assert_eq!(keys(&verdict), [true, true, true, true], "a long part id alone costs nothing");
        verdict.seq = u64::MAX;
        assert_eq!(keys(&verdict), [false, false, true, true]);
        assert_eq!(keys(&largest()), [false, false, false, false]);

        let mut largest = largest();
        largest.judgement.outcome = Outcome::NotInspected(Reason::Timeout);
        assert_eq!(encode(&largest, moment(u64::from(u32::MAX))).len(), 242);
    }

    proptest! {
        #[test]
        fn every_verdict_fits_and_keeps_what_the_plc_acts_on(verdict in any_verdict()) {
            let validator = jsonschema::validator_for(&schema(Kind::Verdict)).unwrap();
            let bytes = encode(&verdict, verdict.decided);
            prop_assert!(bytes.len() <= MAX_BYTES, "{} bytes", bytes.len());
            prop_assert!(bytes.iter().all(|byte| (b' '..=b'~').contains(byte)));
            let payload: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert!(validator.is_valid(&payload), "{payload}");

            let outcome = verdict.judgement.outcome;
            prop_assert_eq!(&payload["seq"], &Value::from(verdict.seq));
            prop_assert_eq!(&payload["trig"], &Value::from(verdict.trigger.published_number & 0x7fff_ffff));
            prop_assert_eq!(payload.get("part").and_then(Value::as_str), verdict.trigger.part_id.as_ref().map(PartId::as_str));
            prop_assert_eq!(&payload["ev"], &Value::from(outcome.evaluation() as u8));
            prop_assert_eq!(&payload["rs"], &Value::from(outcome.result_state() as u8));
            prop_assert_eq!(&payload["code"], &Value::from(outcome.code()));
            prop_assert_eq!(&payload["pass"], &Value::from(outcome.evaluation() == Evaluation::Ok));
            if let Some(score) = payload.get("score") {
                let (read, meant) = (score.as_f64().unwrap(), verdict.judgement.score.unwrap());
                prop_assert!((read - meant).abs() <= meant.abs() * 5.1e-6, "{read} for {meant}");
            }
        }
    }
}
