//! `part/verdict`: flat and at most 256 bytes, for the PLC; one for each part that several cameras see.

use schemars::JsonSchema;
use serde::Serialize;

use super::verdict::{MAX_BYTES, wire_number};
use super::{VERSION, milliseconds, text, to_json, unix_time};
use crate::clock::Moment;
use crate::frame::CameraId;
use crate::verdict::{Evaluation, PartVerdict};

/// The answer for one part, from all its views. Sent once and never again. Reject the part unless `ev` is 1.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "csflowd part verdict", deny_unknown_fields)]
pub struct Payload<'a> {
    /// Version of this layout.
    #[schemars(range(min = 1, max = 1))]
    v: u8,
    /// Counts the verdicts of the station, those of views and those of parts; never goes back, also over a restart.
    seq: u64,
    /// The trigger's number if the PLC gave one, else parts counted from 0, on commanded cameras from 2^30; 31 bits, wraps.
    #[schemars(range(max = 2_147_483_647))]
    trig: u32,
    /// The part's id, if the PLC gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    part: Option<&'a str>,
    /// Name of the group of cameras. Left out only where the longest of names leave no room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    group: Option<&'a str>,
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
    /// Views that had their verdict when the part had its own.
    n: u16,
    /// Views that make a part.
    of: u16,
    /// The camera whose view decided, if one did and the part is not OK.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    cam: Option<&'a str>,
    /// Capture time of the first view, seconds since 1970, UTC.
    ts_s: u32,
    /// Milliseconds beyond `ts_s`.
    #[schemars(range(max = 999))]
    ts_ms: u16,
    /// First capture to publish, milliseconds.
    #[schemars(range(min = 0))]
    lat_ms: f64,
}

/// The payload of a part's verdict that leaves the station at `now`, of at most [`MAX_BYTES`].
pub fn encode(part: &PartVerdict, now: Moment) -> Vec<u8> {
    let outcome = part.outcome;
    let (ts_s, ts_ms) = unix_time(part.captured.utc);
    let passes = outcome.evaluation() == Evaluation::Ok;
    let mut payload = Payload {
        v: VERSION,
        seq: part.seq,
        trig: wire_number(part.number),
        part: part.part_id.as_ref().map(|id| text(id.as_str())),
        group: Some(text(&part.group)),
        rs: outcome.result_state() as u8,
        ev: outcome.evaluation() as u8,
        code: outcome.code(),
        pass: passes,
        n: u16::try_from(part.views).unwrap_or(u16::MAX),
        of: u16::try_from(part.of).unwrap_or(u16::MAX),
        cam: part.worst.as_ref().filter(|_| !passes).map(CameraId::as_str),
        ts_s,
        ts_ms,
        lat_ms: milliseconds(now.since(part.captured), 1),
    };
    let mut bytes = to_json(&payload);
    if bytes.len() > MAX_BYTES {
        payload.cam = None;
        bytes = to_json(&payload);
    }
    if bytes.len() > MAX_BYTES {
        payload.group = None;
        bytes = to_json(&payload);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::moment;
    use super::*;
    use crate::frame::PartId;
    use crate::publish::schema::{Kind, assert_valid};
    use crate::verdict::{Outcome, Reason};

    fn part(outcome: Outcome) -> PartVerdict {
        PartVerdict {
            seq: 123_457,
            group: "cover".into(),
            number: 7,
            part_id: Some(PartId::new("A1B2C3D4").unwrap()),
            captured: moment(123),
            outcome,
            views: 2,
            of: 2,
            worst: Some(CameraId::new("side").unwrap()),
        }
    }

    fn text_of(part: &PartVerdict) -> String {
        let bytes = encode(part, moment(148));
        assert_valid(Kind::Part, &bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_part_passes_when_all_views_do_and_else_names_the_view_that_decided() {
        assert_snapshot!(text_of(&part(Outcome::Good)), @r#"{"v":1,"seq":123457,"trig":7,"part":"A1B2C3D4","group":"cover","rs":1,"ev":1,"code":0,"pass":true,"n":2,"of":2,"ts_s":1760000000,"ts_ms":123,"lat_ms":25.0}"#);
        assert_snapshot!(text_of(&part(Outcome::Anomalous)), @r#"{"v":1,"seq":123457,"trig":7,"part":"A1B2C3D4","group":"cover","rs":1,"ev":2,"code":0,"pass":false,"n":2,"of":2,"cam":"side","ts_s":1760000000,"ts_ms":123,"lat_ms":25.0}"#);
        let missing =
            PartVerdict { views: 1, worst: None, ..part(Outcome::NotInspected(Reason::ViewMissing)) };
        assert_snapshot!(text_of(&missing), @r#"{"v":1,"seq":123457,"trig":7,"part":"A1B2C3D4","group":"cover","rs":3,"ev":0,"code":60,"pass":false,"n":1,"of":2,"ts_s":1760000000,"ts_ms":123,"lat_ms":25.0}"#);
    }

    #[test]
    fn the_largest_fits_into_what_a_plc_reserves() {
        let largest = PartVerdict {
            seq: u64::MAX,
            group: "g".repeat(32),
            number: u32::MAX,
            part_id: Some(PartId::new(&"p".repeat(64)).unwrap()),
            views: usize::MAX,
            of: usize::MAX,
            worst: Some(CameraId::new(&"c".repeat(32)).unwrap()),
            ..part(Outcome::NotInspected(Reason::TriggerAmbiguous))
        };
        let bytes = encode(&largest, moment(u64::from(u32::MAX)));
        assert!(bytes.len() <= MAX_BYTES, "{} bytes", bytes.len());
    }
}
