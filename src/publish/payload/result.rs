//! `result`: the full record of a verdict, by long names.
//!
//! At most [`MAX_BYTES`]: if the regions would not fit, the least of them are left out and
//! `regions_truncated` says so.

use std::time::SystemTime;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use ulid::Ulid;

use super::verdict::wire_number;
use super::{Origin, VERSION, decimals, milliseconds, significant, text, to_json};
use crate::frame::Size;
use crate::verdict::regions::Region;
use crate::verdict::{Evaluation, Outcome, StageTimes, Verdict};

pub const MAX_BYTES: usize = 8000;

/// Digits of map values and probabilities.
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
    result_id: String,
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
    /// True only if `evaluation` is 1.
    pass: bool,
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
    creation_time: String,
    /// When the frame was captured, RFC 3339, UTC.
    capture_time: String,
    /// `arrival`: the capture time is when the frame reached csflowd.
    capture_time_source: &'static str,
    processing_times: ProcessingTimes,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<Frame>,
    /// How coarse the anomaly map is: the longer side of one cell in frame pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    cell_px: Option<f64>,
    /// Worst first.
    #[schemars(length(max = 16))]
    regions: Vec<RegionPayload>,
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

/// Where the time went, milliseconds.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the contract puts the unit into each key")]
struct ProcessingTimes {
    queue_ms: f64,
    preprocess_ms: f64,
    inference_ms: f64,
    postprocess_ms: f64,
    /// From capture to verdict.
    total_ms: f64,
}

/// Pixels of the camera's frame.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Frame {
    width: u32,
    height: u32,
}

/// A connected defect area: frame pixels, origin top left, and millimetres if the product is calibrated.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Region", deny_unknown_fields)]
struct RegionPayload {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
    /// Centroid.
    cx: f64,
    cy: f64,
    area_px: f64,
    /// Largest value of the anomaly map inside.
    peak: f64,
    /// Mean value of the anomaly map inside.
    mean: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    w_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    h_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cx_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cy_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    area_mm2: Option<f64>,
}

/// The record of `verdict`, as it is sent the first time; `random` makes its id unique.
pub fn encode(verdict: &Verdict, origin: &Origin<'_>, random: u128) -> Vec<u8> {
    let mut payload = Payload::new(verdict, origin, random);
    let mut bytes = to_json(&payload);
    while bytes.len() > MAX_BYTES && payload.regions.pop().is_some() {
        payload.regions_truncated = true;
        bytes = to_json(&payload);
    }
    bytes
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
            pass: outcome.evaluation() == Evaluation::Ok,
            score: judgement.score.filter(|score| score.is_finite()),
            threshold: recipe.map(|recipe| recipe.threshold).filter(|threshold| threshold.is_finite()),
            guard_band: recipe.map(|recipe| recipe.guard_band).filter(|band| band.is_finite()),
            p_value: judgement.p_value.and_then(|p| significant(p, DIGITS)),
            late: verdict.late,
            replayed: false,
            creation_time: rfc3339(verdict.decided.utc),
            capture_time: rfc3339(trigger.captured.utc),
            capture_time_source: "arrival",
            processing_times: ProcessingTimes::new(verdict, judgement.times),
            device: recipe.map(|recipe| text(&recipe.device)),
            precision: recipe.map(|recipe| recipe.precision),
            frame: judgement.frame.map(|Size { width, height }| Frame { width, height }),
            cell_px: Some(decimals(regions.cell_px, 1)).filter(|&cell| cell > 0.0),
            regions: regions.worst.iter().map(|region| RegionPayload::new(region, mm_per_px)).collect(),
            region_count: regions.total,
            regions_truncated: regions.total > regions.worst.len(),
            bundle_sha256: recipe.map(|recipe| text(&recipe.bundle_sha256)),
            config_sha256: text(origin.config_sha256),
            software: concat!("csflowd ", env!("CARGO_PKG_VERSION")),
        }
    }
}

impl ProcessingTimes {
    fn new(verdict: &Verdict, times: StageTimes) -> Self {
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

impl RegionPayload {
    fn new(region: &Region, mm_per_px: Option<f64>) -> Self {
        let px = |length| decimals(length, 1);
        let mm = |length: f64| mm_per_px.map(|scale| decimals(length * scale, 3));
        Self {
            x: px(region.x),
            y: px(region.y),
            w: px(region.w),
            h: px(region.h),
            cx: px(region.cx),
            cy: px(region.cy),
            area_px: px(region.area_px),
            peak: map_value(region.peak),
            mean: map_value(region.mean),
            x_mm: mm(region.x),
            y_mm: mm(region.y),
            w_mm: mm(region.w),
            h_mm: mm(region.h),
            cx_mm: mm(region.cx),
            cy_mm: mm(region.cy),
            area_mm2: mm_per_px.map(|scale| decimals(region.area_px * scale * scale, 3)),
        }
    }
}

/// What is not finite is worse than can be said, as in the map itself.
fn map_value(value: f64) -> f64 {
    significant(value, DIGITS).unwrap_or(f64::from(f32::MAX))
}

fn result_id(created: SystemTime, random: u128) -> String {
    let since = created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ulid::from_parts(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), random).to_string()
}

fn rfc3339(time: SystemTime) -> String {
    format!("{:.3}", Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH))
}
