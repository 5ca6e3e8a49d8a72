//! A JSON Schema for each kind of message, made from the very types that are sent.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::publish::payload::{command, counters, event, heartbeat, part, result, status, verdict};

/// The kinds of messages, named as the last level of their topics but for [`Kind::Part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Verdict,
    /// A part's verdict, of `part/verdict`.
    Part,
    Result,
    Status,
    Heartbeat,
    Counters,
    Event,
    /// The one kind that is sent to a station.
    Command,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Verdict,
        Kind::Part,
        Kind::Result,
        Kind::Status,
        Kind::Heartbeat,
        Kind::Counters,
        Kind::Event,
        Kind::Command,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Part => "part",
            Self::Result => "result",
            Self::Status => "status",
            Self::Heartbeat => "heartbeat",
            Self::Counters => "counters",
            Self::Event => "event",
            Self::Command => "command",
        }
    }
}

/// The schema that every message of this kind satisfies.
pub fn schema(kind: Kind) -> Value {
    match kind {
        Kind::Verdict => of::<verdict::Payload<'_>>(),
        Kind::Part => of::<part::Payload<'_>>(),
        Kind::Result => of::<result::Payload<'_>>(),
        Kind::Status => of::<status::Status<'_>>(),
        Kind::Heartbeat => of::<heartbeat::Payload<'_>>(),
        Kind::Counters => of::<counters::Payload<'_>>(),
        Kind::Event => of::<event::Payload<'_>>(),
        Kind::Command => of_received::<command::Payload>(),
    }
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(WithoutNull);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn of_received<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with_transform(WithoutNull);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// An optional key is left out, never null: the schema must not allow what is never sent.
#[derive(Clone)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.get("default").is_some_and(Value::is_null) {
            schema.remove("default");
        }
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        }
        transform_subschemas(self, schema);
    }
}

/// Fails with what is wrong with a message.
#[cfg(test)]
#[track_caller]
pub(super) fn assert_valid(kind: Kind, message: &[u8]) {
    let message = serde_json::from_slice(message).unwrap();
    let validator = jsonschema::validator_for(&schema(kind)).unwrap();
    let errors: Vec<_> = validator.iter_errors(&message).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{message}: {errors:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_schema_allows_null_or_unknown_keys() {
        for kind in Kind::ALL {
            let schema = schema(kind);
            assert!(!schema.to_string().contains("null"), "{schema}");
            let is_choice = schema.get("anyOf").is_some();
            assert!(is_choice || schema["additionalProperties"] == false, "{schema}");
            for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
                let is_closed =
                    definition["additionalProperties"] == false || definition.get("enum").is_some();
                assert!(is_closed, "{name}: {definition}");
            }
        }
    }

    #[test]
    fn the_verdict_schema_bounds_what_a_plc_stores_in_small_integers() {
        let schema = schema(Kind::Verdict);
        for (key, max) in
            [("rs", 4), ("ev", 3), ("code", 99), ("n", 65_535), ("ts_ms", 999), ("trig", 0x7fff_ffff)]
        {
            let property = &schema["properties"][key];
            assert_eq!((&property["minimum"], &property["maximum"]), (&0.into(), &max.into()), "{key}");
        }
        let required = ["v", "seq", "trig", "rs", "ev", "code", "pass", "n", "ts_s", "ts_ms", "lat_ms"];
        assert_eq!(schema["required"], Value::from(required.to_vec()));
    }
}
