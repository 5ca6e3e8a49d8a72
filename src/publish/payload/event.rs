//! `event`: what an operator should know, one message each.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Origin, VERSION, cut, text, to_json, unix_time};
use crate::events::{Level, Told};
use crate::frame::CameraId;

/// The sentence is at most this long on the wire; other strings keep to 64.
const MAX_SENTENCE: usize = 256;

/// Something that happened to the station.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "csflowd event", deny_unknown_fields)]
pub struct Payload<'a> {
    /// Version of this layout.
    #[schemars(range(min = 1, max = 1))]
    v: u8,
    /// A stable word for programs.
    #[schemars(length(max = 64))]
    event: &'static str,
    level: &'static str,
    #[schemars(length(max = 64))]
    station: &'a str,
    /// The camera it happened to, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    camera: Option<&'a str>,
    /// A sentence for people.
    #[schemars(length(max = 256))]
    text: &'a str,
    /// When it happened, seconds since 1970, UTC.
    ts_s: u32,
    /// Milliseconds beyond `ts_s`.
    #[schemars(range(max = 999))]
    ts_ms: u16,
}

pub fn encode(told: &Told, origin: &Origin<'_>) -> Vec<u8> {
    let sentence = told.event.text();
    let (ts_s, ts_ms) = unix_time(told.at.utc);
    to_json(&Payload {
        v: VERSION,
        event: told.event.name(),
        level: match told.event.level() {
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
        },
        station: text(origin.station),
        camera: told.event.camera().map(CameraId::as_str),
        text: cut(&sentence, MAX_SENTENCE),
        ts_s,
        ts_ms,
    })
}
