//! A JSON Schema for each kind of message, made from the very types that are sent.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::publish::payload::{counters, event, heartbeat, result, status, verdict};

/// The kinds of messages, named as the last level of their topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Verdict,
    Result,
    Status,
    Heartbeat,
    Counters,
    Event,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Verdict, Kind::Result, Kind::Status, Kind::Heartbeat, Kind::Counters, Kind::Event];

    pub fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Result => "result",
            Self::Status => "status",
            Self::Heartbeat => "heartbeat",
            Self::Counters => "counters",
            Self::Event => "event",
        }
    }
}

/// The schema that every message of this kind satisfies.
pub fn schema(kind: Kind) -> Value {
    match kind {
        Kind::Verdict => of::<verdict::Payload<'_>>(),
        Kind::Result => of::<result::Payload<'_>>(),
        Kind::Status => of::<status::Status<'_>>(),
        Kind::Heartbeat => of::<heartbeat::Payload<'_>>(),
        Kind::Counters => of::<counters::Payload<'_>>(),
        Kind::Event => of::<event::Payload<'_>>(),
    }
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(WithoutNull);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// An optional key is left out, never null: the schema must not allow what is never sent.
#[derive(Clone)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
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
