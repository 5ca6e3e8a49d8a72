//! `event`: what an operator should know, one message each.

use schemars::JsonSchema;
use serde::Serialize;

use super::{MAX_SENTENCE, Origin, VERSION, cut, text, to_json, unix_time};
use crate::events::{Level, Told};
use crate::frame::CameraId;

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
    /// The command that this answers, as its topic ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    command: Option<&'a str>,
    /// The id that came with the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    id: Option<&'a str>,
    /// Why the command was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    cause: Option<&'a str>,
    /// The command came before with the same id, and is not carried out again. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<bool>,
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
    let said = told.event.said();
    let (ts_s, ts_ms) = unix_time(told.at.utc);
    let answer = told.event.answer();
    to_json(&Payload {
        v: VERSION,
        event: said.name,
        level: match said.level {
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
        },
        station: text(origin.station),
        camera: told.event.camera().map(CameraId::as_str),
        command: answer.map(|answer| text(answer.command)),
        id: answer.and_then(|answer| answer.id).map(text),
        cause: answer.and_then(|answer| answer.cause).map(|cause| cut(cause, MAX_SENTENCE)),
        repeated: answer.and_then(|answer| answer.is_repeat.then_some(true)),
        text: cut(&said.text, MAX_SENTENCE),
        ts_s,
        ts_ms,
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{ORIGIN, moment};
    use super::*;
    use crate::events::Event;
    use crate::publish::schema::{Kind, assert_valid};

    fn text_of(event: Event) -> String {
        let bytes = encode(&Told { event, at: moment(5) }, &ORIGIN);
        assert_valid(Kind::Event, &bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_names_its_camera_and_its_text_is_ascii() {
        let camera = CameraId::new("top").unwrap();
        let (cause, retry_in) = ("Gerät nicht gefunden".into(), std::time::Duration::from_secs(1));
        assert_snapshot!(text_of(Event::CameraLost { camera, cause, retry_in }), @r#"{"v":1,"event":"CAMERA_LOST","level":"WARNING","station":"cell-2","camera":"top","text":"Ger\u00e4t nicht gefunden; next try in 1.0 s","ts_s":1760000000,"ts_ms":5}"#);
    }

    #[test]
    fn an_answer_names_its_command_with_the_id_and_the_cause() {
        let (command, id, cause) = ("product".into(), Some("17".into()), "there is no product lid".into());
        assert_snapshot!(text_of(Event::CommandRefused { command, id, cause, untold: 3 }), @r#"{"v":1,"event":"COMMAND_REFUSED","level":"WARNING","station":"cell-2","command":"product","id":"17","cause":"there is no product lid","text":"command product refused (and 3 more before): there is no product lid","ts_s":1760000000,"ts_ms":5}"#);
    }

    #[test]
    fn an_answer_says_that_the_command_is_a_repeat() {
        let (command, id) = ("trigger".into(), Some("17".into()));
        let answer = text_of(Event::CommandAccepted { command, id, is_repeat: true });
        assert!(answer.contains(r#""id":"17","repeated":true"#), "{answer}");
    }

    #[test]
    fn a_long_sentence_is_cut() {
        let text = text_of(Event::ConfigRefused { cause: "x".repeat(1000) });
        assert!(text.contains(&"x".repeat(256)) && !text.contains(&"x".repeat(257)), "{text}");
    }
}
