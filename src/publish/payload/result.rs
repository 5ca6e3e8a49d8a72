//! `result`: the full record of a verdict, by long names.
//!
//! Texts are cut, numbers rounded and regions at most 16, which keeps it below [`MAX_BYTES`] whatever happens.

use std::fmt::Write as _;
use std::time::SystemTime;

use arrayvec::ArrayString;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use ulid::{ULID_LEN, Ulid};

use super::verdict::wire_number;
use super::{Origin, VERSION, decimals, region, significant, text, times, to_json_of};
use crate::frame::{CaptureClock, Size};
use crate::verdict::{Outcome, Verdict};

/// Many clients and brokers stop at 10 kB.
pub const MAX_BYTES: usize = 8000;

/// Hardly any record without regions is longer.
const EXPECTED_BYTES: usize = 1280;

/// `2025-10-09T08:53:20.146Z`, and room for a year of more digits.
const TIME: usize = 32;

/// Digits of a probability.
const DIGITS: usize = 6;

/// The record of one verdict. Sent until the broker has acknowledged it, so it may come twice: by `seq` and
/// `late` it is known again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "csflowd result", deny_unknown_fields)]
pub struct Payload<'a> {
    /// Version of this layout.
    #[schemars(range(min = 1, max = 1))]
    v: u8,
    /// ULID.
    #[schemars(length(min = 26, max = 26))]
    result_id: ArrayString<ULID_LEN>,
    /// Names the run of the daemon.
    #[schemars(length(max = 64))]
    boot_id: &'a str,
    /// Counts the verdicts of the station; never goes back, also over a restart.
    seq: u64,
    #[schemars(length(max = 64))]
    station: &'a str,
    #[schemars(length(max = 64))]
    camera: &'a str,
    /// The trigger's number, 31 bits, wraps.
    #[schemars(range(max = 2_147_483_647))]
    trigger_id: u32,
    /// The part's id, if the PLC gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    part_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    product: Option<&'a str>,
    /// 0 undefined, 1 completed, 2 processing, 3 aborted, 4 failed.
    #[schemars(range(max = 4))]
    result_state: u8,
    /// 0 undefined, 1 OK, 2 not OK, 3 not decidable.
    #[schemars(range(max = 3))]
    evaluation: u8,
    /// Why the part was not inspected; 0 if it was.
    #[schemars(range(max = 99))]
    code: u16,
    /// `code` as a word; absent if 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_text: Option<&'static str>,
    /// Anomaly score, higher is worse.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// A score above it is not OK.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    /// Scores so far below the threshold are not decidable.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard_band: Option<f64>,
    /// Share of held-out good parts that score at least this high.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    p_value: Option<f64>,
    /// The trigger was answered with TIMEOUT before; this score came after its deadline.
    late: bool,
    /// Not sent at once: the broker was away, or the connection was lost before it acknowledged.
    replayed: bool,
    /// When the verdict was reached, RFC 3339, UTC.
    creation_time: ArrayString<TIME>,
    /// When the frame was captured, RFC 3339, UTC.
    capture_time: ArrayString<TIME>,
    /// What told the capture time. `camera`: its own clock, held by PTP. `reference`: a clock that came with the stream.
    /// `arrival`: when the frame reached csflowd.
    capture_time_source: &'static str,
    processing_times: times::Payload,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<Frame>,
    /// How coarse the anomaly map is: the longer side of one cell in frame pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    cell_px: Option<f64>,
    /// Worst first.
    #[schemars(length(max = 16))]
    regions: Vec<region::Payload>,
    /// How many there were, listed or not.
    region_count: usize,
    regions_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    bundle_sha256: Option<&'a str>,
    #[schemars(length(max = 64))]
    config_sha256: &'a str,
    software: &'static str,
}

/// Pixels of the camera's frame.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Frame {
    width: u32,
    height: u32,
}

/// The record of `verdict`, as it is sent the first time; `random` makes its id unique.
pub fn encode(verdict: &Verdict, origin: &Origin<'_>, random: u128) -> Vec<u8> {
    to_json_of(EXPECTED_BYTES, &Payload::new(verdict, origin, random))
}

/// The same record, marked as one that did not go out at once.
pub fn replayed(payload: &[u8]) -> Vec<u8> {
    // Within a string the quote would stand behind a backslash: the first match is the key.
    const KEY: &[u8] = br#","replayed":false"#;
    match payload.windows(KEY.len()).position(|window| window == KEY) {
        Some(at) => [&payload[..at], br#","replayed":true"#, &payload[at + KEY.len()..]].concat(),
        None => payload.to_vec(),
    }
}

impl<'a> Payload<'a> {
    fn new(verdict: &'a Verdict, origin: &Origin<'a>, random: u128) -> Self {
        let (trigger, judgement) = (&verdict.trigger, &verdict.judgement);
        let (outcome, recipe) = (judgement.outcome, judgement.recipe.as_deref());
        let regions = &judgement.regions;
        let mm_per_px = recipe.and_then(|recipe| recipe.mm_per_px);
        Self {
            v: VERSION,
            result_id: result_id(verdict.decided.utc, random),
            boot_id: text(origin.boot_id),
            seq: verdict.seq,
            station: text(origin.station),
            camera: trigger.camera.as_str(),
            trigger_id: wire_number(trigger.published_number),
            part_id: trigger.part_id.as_ref().map(|part| text(part.as_str())),
            product: recipe.map(|recipe| text(&recipe.product)),
            result_state: outcome.result_state() as u8,
            evaluation: outcome.evaluation() as u8,
            code: outcome.code(),
            code_text: match outcome {
                Outcome::NotInspected(reason) => Some(reason.text()),
                Outcome::Good | Outcome::Anomalous | Outcome::Undecidable => None,
            },
            score: judgement.score.filter(|score| score.is_finite()),
            threshold: recipe.map(|recipe| recipe.threshold).filter(|threshold| threshold.is_finite()),
            guard_band: recipe.map(|recipe| recipe.guard_band).filter(|band| band.is_finite()),
            p_value: judgement.p_value.and_then(|p| significant(p, DIGITS)),
            late: verdict.late,
            replayed: false,
            creation_time: rfc3339(verdict.decided.utc),
            capture_time: rfc3339(trigger.captured.utc),
            capture_time_source: match trigger.clock {
                CaptureClock::Arrival => "arrival",
                CaptureClock::Reference => "reference",
                CaptureClock::Camera => "camera",
            },
            processing_times: times::Payload::new(verdict),
            device: recipe.map(|recipe| text(&recipe.device)),
            engine: recipe.map(|recipe| recipe.engine),
            precision: recipe.map(|recipe| recipe.precision),
            frame: judgement.frame.map(|Size { width, height }| Frame { width, height }),
            cell_px: Some(decimals(regions.cell_px, 1)).filter(|&cell| cell > 0.0),
            regions: regions.worst.iter().map(|region| region::Payload::new(region, mm_per_px)).collect(),
            region_count: regions.total,
            regions_truncated: regions.total > regions.worst.len(),
            bundle_sha256: recipe.map(|recipe| text(&recipe.bundle_sha256)),
            config_sha256: text(recipe.map_or(origin.config_sha256, |recipe| &recipe.config_sha256)),
            software: concat!("csflowd ", env!("CARGO_PKG_VERSION")),
        }
    }
}

fn result_id(created: SystemTime, random: u128) -> ArrayString<ULID_LEN> {
    let since = created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let id = Ulid::from_parts(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), random);
    ArrayString::from(id.array_to_str(&mut [0; ULID_LEN])).expect("of this length")
}

fn rfc3339(time: SystemTime) -> ArrayString<TIME> {
    let mut text = ArrayString::new();
    write!(text, "{:.3}", Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH))
        .expect("years have four digits");
    text
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::samples::{ORIGIN, anomalous, any_verdict, good, largest, not_inspected};
    use super::*;
    use crate::publish::schema::{Kind, schema};

    fn text_of(verdict: &Verdict) -> String {
        String::from_utf8(encode(verdict, &ORIGIN, 7)).unwrap()
    }

    #[test]
    fn a_good_part_has_no_regions() {
        assert_snapshot!(text_of(&good()), @r#"{"v":1,"result_id":"01K742SG4J0000000000000007","boot_id":"01K7000000000000000000BOOT","seq":123456,"station":"cell-2","camera":"top","trigger_id":7,"product":"cover","result_state":1,"evaluation":1,"code":0,"score":8.25,"threshold":10.5,"guard_band":0.5,"p_value":0.00497512,"late":false,"replayed":false,"creation_time":"2025-10-09T08:53:20.146Z","capture_time":"2025-10-09T08:53:20.123Z","capture_time_source":"arrival","processing_times":{"queue_ms":0.31,"preprocess_ms":2.045,"inference_ms":18.5,"postprocess_ms":0.4,"total_ms":23.0},"device":"cpu","engine":"fused","precision":"f32","frame":{"width":1024,"height":768},"cell_px":32.0,"regions":[],"region_count":0,"regions_truncated":false,"bundle_sha256":"3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e","config_sha256":"c0ffee","software":"csflowd 0.1.0"}"#);
    }

    #[test]
    fn an_anomalous_part_has_regions_in_pixels_and_millimetres() {
        assert_snapshot!(text_of(&anomalous()), @r#"{"v":1,"result_id":"01K742SG4J0000000000000007","boot_id":"01K7000000000000000000BOOT","seq":123456,"station":"cell-2","camera":"top","trigger_id":7,"part_id":"A1B2C3D4","product":"cover","result_state":1,"evaluation":2,"code":0,"score":12.345678,"threshold":10.5,"guard_band":0.5,"p_value":0.00497512,"late":false,"replayed":false,"creation_time":"2025-10-09T08:53:20.146Z","capture_time":"2025-10-09T08:53:20.123Z","capture_time_source":"arrival","processing_times":{"queue_ms":0.31,"preprocess_ms":2.045,"inference_ms":18.5,"postprocess_ms":0.4,"total_ms":23.0},"device":"cpu","engine":"fused","precision":"f32","frame":{"width":1024,"height":768},"cell_px":32.0,"regions":[{"x":500.0,"y":290.0,"w":24.0,"h":21.0,"cx":512.0,"cy":300.5,"area_px":504.0,"peak":31.5,"mean":10.5,"x_mm":25.0,"y_mm":14.5,"w_mm":1.2,"h_mm":1.05,"cx_mm":25.602,"cy_mm":15.025,"area_mm2":1.26},{"x":96.0,"y":290.0,"w":24.0,"h":21.0,"cx":108.0,"cy":300.5,"area_px":504.0,"peak":14.0,"mean":4.66667,"x_mm":4.8,"y_mm":14.5,"w_mm":1.2,"h_mm":1.05,"cx_mm":5.402,"cy_mm":15.025,"area_mm2":1.26}],"region_count":2,"regions_truncated":false,"bundle_sha256":"3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e3f9a1c2e","config_sha256":"c0ffee","software":"csflowd 0.1.0"}"#);
    }

    #[test]
    fn a_part_nobody_looked_at_says_why() {
        assert_snapshot!(text_of(&not_inspected()), @r#"{"v":1,"result_id":"01K742SG4J0000000000000007","boot_id":"01K7000000000000000000BOOT","seq":123456,"station":"cell-2","camera":"top","trigger_id":7,"result_state":3,"evaluation":0,"code":12,"code_text":"FRAME_DROPPED","late":false,"replayed":false,"creation_time":"2025-10-09T08:53:20.146Z","capture_time":"2025-10-09T08:53:20.123Z","capture_time_source":"arrival","processing_times":{"queue_ms":0.0,"preprocess_ms":0.0,"inference_ms":0.0,"postprocess_ms":0.0,"total_ms":23.0},"regions":[],"region_count":0,"regions_truncated":false,"config_sha256":"c0ffee","software":"csflowd 0.1.0"}"#);
    }

    #[test]
    fn the_clock_that_told_the_capture_time_is_named() {
        for (clock, name) in [
            (CaptureClock::Arrival, "arrival"),
            (CaptureClock::Reference, "reference"),
            (CaptureClock::Camera, "camera"),
        ] {
            let mut verdict = good();
            verdict.trigger.clock = clock;
            let payload: Value = serde_json::from_str(&text_of(&verdict)).unwrap();
            assert_eq!(payload["capture_time_source"], name);
        }
    }

    #[test]
    fn the_largest_record_fits_with_all_its_regions() {
        let text = text_of(&largest());
        assert!((6000..MAX_BYTES).contains(&text.len()), "{} bytes", text.len());
        let payload: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(payload["regions"].as_array().unwrap().len(), 16);
        assert_eq!(payload["regions_truncated"], true);
    }

    #[test]
    fn only_the_key_replayed_changes_in_a_replay() {
        let mut verdict = good();
        let recipe = verdict.judgement.recipe.as_mut().unwrap();
        std::sync::Arc::get_mut(recipe).unwrap().product = r#"","replayed":false"#.into();
        let first = text_of(&verdict);
        let again = String::from_utf8(replayed(first.as_bytes())).unwrap();
        assert_eq!(again.replace(r#""replayed":true"#, r#""replayed":false"#), first);
        let payload: Value = serde_json::from_str(&again).unwrap();
        assert_eq!(
            (&payload["replayed"], &payload["product"]),
            (&true.into(), &r#"","replayed":false"#.into())
        );
    }

    proptest! {
        #[test]
        fn every_record_fits_and_is_valid(verdict in any_verdict()) {
            let validator = jsonschema::validator_for(&schema(Kind::Result)).unwrap();
            let bytes = encode(&verdict, &ORIGIN, 7);
            prop_assert!(bytes.len() <= MAX_BYTES, "{} bytes", bytes.len());
            prop_assert!(bytes.iter().all(|byte| (b' '..=b'~').contains(byte)));
            let payload: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert!(validator.is_valid(&payload), "{payload}");
            prop_assert_eq!(&payload["seq"], &Value::from(verdict.seq));
            prop_assert_eq!(&payload["camera"], &Value::from(verdict.trigger.camera.as_str()));
            prop_assert_eq!(&payload["late"], &Value::from(verdict.late));
            prop_assert_eq!(&payload["evaluation"], &Value::from(verdict.judgement.outcome.evaluation() as u8));
            if let Some(score) = payload.get("score") {
                // serde_json reads a float to the last digit but one.
                let (read, meant) = (score.as_f64().unwrap(), verdict.judgement.score.unwrap());
                prop_assert!((read - meant).abs() <= meant.abs() * 1e-15, "{read} for {meant}");
            }
            let again: Value = serde_json::from_slice(&replayed(&bytes)).unwrap();
            prop_assert_eq!(&again["replayed"], &Value::from(true));
        }
    }
}
