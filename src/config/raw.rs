//! The keys as people write them: one struct for each section, nothing checked yet.
//!
//! A key that cannot be read spoils neither its section nor its neighbours ([`Key::Wrong`]), so that one pass
//! finds every problem. Defaults stand beside the meaning, in the file of the section.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// The value of one key.
#[derive(Debug, Default)]
pub(super) enum Key<T> {
    #[default]
    Absent,
    /// Written, but not a `T`; the text says why.
    Wrong(String),
    Given(T),
}

impl<T> Key<T> {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Key<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match T::deserialize(deserializer) {
            Ok(value) => Self::Given(value),
            Err(why) => Self::Wrong(why.to_string()),
        })
    }
}

/// In a schema a key is what its value is.
impl<T: JsonSchema> JsonSchema for Key<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The station file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct File {
    pub(super) station: Key<Station>,
    pub(super) mqtt: Key<Mqtt>,
    pub(super) outbox: Key<Outbox>,
    pub(super) engine: Key<Engine>,
    pub(super) camera: Key<Vec<Key<Camera>>>,
    pub(super) group: Key<Vec<Key<Group>>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Station {
    pub(super) name: Key<String>,
    pub(super) product: Key<String>,
    pub(super) products_dir: Key<String>,
    pub(super) state_dir: Key<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Mqtt {
    pub(super) host: Key<String>,
    pub(super) port: Key<i64>,
    pub(super) prefix: Key<String>,
    pub(super) client_id: Key<String>,
    pub(super) keep_alive_s: Key<i64>,
    pub(super) username: Key<String>,
    pub(super) password_file: Key<String>,
    pub(super) password_credential: Key<String>,
    pub(super) tls: Key<Tls>,
    pub(super) allow_plaintext: Key<bool>,
    pub(super) retry_first_s: Key<f64>,
    pub(super) retry_max_s: Key<f64>,
    pub(super) commands: Key<bool>,
    pub(super) commands_per_s: Key<i64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) ca_file: Key<String>,
    pub(super) client_cert: Key<String>,
    pub(super) client_key: Key<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Outbox {
    pub(super) max_mb: Key<i64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Engine {
    pub(super) device: Key<String>,
    pub(super) precision: Key<String>,
    pub(super) threads: Key<i64>,
    pub(super) batch_max: Key<i64>,
    pub(super) frame_queue: Key<i64>,
    pub(super) swap: Key<Swap>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Swap {
    Seamless,
    Gap,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Camera {
    pub(super) id: Key<String>,
    pub(super) pipeline: Key<String>,
    pub(super) parameters: Key<BTreeMap<String, Key<Parameter>>>,
    pub(super) format: Key<Format>,
    pub(super) width: Key<i64>,
    pub(super) height: Key<i64>,
    pub(super) trigger: Key<TriggerMode>,
    pub(super) frames: Key<Frames>,
    pub(super) early_ms: Key<i64>,
    pub(super) window_ms: Key<i64>,
    pub(super) stall_s: Key<f64>,
    pub(super) retry_first_s: Key<f64>,
    pub(super) retry_max_s: Key<f64>,
    pub(super) frozen_after: Key<i64>,
    pub(super) source: Key<Source>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TriggerMode {
    Free,
    Hardware,
    Command,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Frames {
    Stream,
    Pulse,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) name: Key<String>,
    pub(super) cameras: Key<Vec<Key<String>>>,
    pub(super) window_ms: Key<i64>,
}

/// `width = 640` is as good as `width = "640"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "must be text in quotes, a number, true or false")]
pub(super) enum Parameter {
    Whole(i64),
    Number(f64),
    Flag(bool),
    Text(String),
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) enum Format {
    #[serde(rename = "RGB")]
    Rgb8,
    #[serde(rename = "BGR")]
    Bgr8,
    #[serde(rename = "GRAY8")]
    Gray8,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) kind: Key<SourceKind>,
    pub(super) folder: Key<String>,
    pub(super) rate_hz: Key<f64>,
    pub(super) repeat: Key<bool>,
    pub(super) order: Key<Order>,
    pub(super) seed: Key<i64>,
    pub(super) device: Key<String>,
    pub(super) pixel_format: Key<String>,
    pub(super) exposure_us: Key<f64>,
    pub(super) gain: Key<f64>,
    pub(super) region: Key<Region>,
    pub(super) packet_size: Key<i64>,
    pub(super) packet_delay_ns: Key<i64>,
    pub(super) packet_socket: Key<bool>,
    #[serde(rename = "trigger_source")]
    pub(super) fired_by: Key<String>,
    pub(super) trigger_activation: Key<String>,
    pub(super) features: Key<BTreeMap<String, Key<Parameter>>>,
    pub(super) clock: Key<CaptureClock>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SourceKind {
    Pipeline,
    Files,
    Genicam,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Region {
    pub(super) x: Key<i64>,
    pub(super) y: Key<i64>,
    pub(super) width: Key<i64>,
    pub(super) height: Key<i64>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CaptureClock {
    Auto,
    Camera,
    Arrival,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Sorted,
    Shuffled,
}

/// A product file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Product {
    pub(super) bundle: Key<String>,
    pub(super) threshold: Key<f64>,
    pub(super) guard_band: Key<f64>,
    pub(super) deadline_ms: Key<i64>,
    pub(super) mm_per_px: Key<f64>,
    pub(super) regions: Key<Regions>,
    pub(super) roi: Key<Roi>,
    pub(super) image: Key<Image>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Image {
    pub(super) check: Key<bool>,
    pub(super) brightness_min: Key<f64>,
    pub(super) brightness_max: Key<f64>,
    pub(super) black_max: Key<f64>,
    pub(super) white_max: Key<f64>,
    pub(super) sharpness_min: Key<f64>,
    pub(super) shift_max: Key<f64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Regions {
    pub(super) map_threshold: Key<f64>,
    pub(super) min_area_px: Key<f64>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct Roi {
    pub(super) width: Key<i64>,
    pub(super) height: Key<i64>,
    pub(super) include: Key<Vec<Key<Polygon>>>,
    pub(super) exclude: Key<Vec<Key<Polygon>>>,
    pub(super) mask: Key<String>,
}

/// `[[x, y], ...]`.
pub(super) type Polygon = Vec<Key<[f64; 2]>>;
