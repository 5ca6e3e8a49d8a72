//! `cmd/...`: what a station takes. Strict, because what is half understood is not what was meant.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::command::{CommandId, Order};
use crate::frame::{CameraId, PartId};

/// The largest number of a trigger: a PLC's 31 bits.
const MAX_NUMBER: u64 = 0x7fff_ffff;

/// The longest payload, in bytes.
pub const MAX_BYTES: usize = 1024;

/// The payloads of the commands, each under a topic of its own: see the description of each.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(title = "csflowd command", untagged)]
pub enum Payload {
    Trigger(Trigger),
    Product(Product),
    Reload(Reload),
}

/// `<prefix>/cmd/trigger`: a part is in view.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// All cameras that are triggered by command if left out.
    #[serde(default, deserialize_with = "given")]
    #[schemars(length(min = 1, max = 32))]
    camera: Option<String>,
    /// The part's id, printable ASCII without `"` and `\`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(length(min = 1, max = 64))]
    part: Option<String>,
    /// The trigger's number, which comes back as `trig`. Counted by the station if left out.
    #[serde(default, deserialize_with = "given")]
    #[schemars(range(max = 2_147_483_647))]
    trig: Option<u64>,
    /// Comes back in the answer, and keeps a repeated command from being carried out again.
    #[serde(default, deserialize_with = "given")]
    #[schemars(length(min = 1, max = 64))]
    id: Option<String>,
}

/// `<prefix>/cmd/product`: make this product the active one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The name of its file without `.toml`.
    #[schemars(length(min = 1, max = 64))]
    product: String,
    /// Comes back in the answer, and keeps a repeated command from being carried out again.
    #[serde(default, deserialize_with = "given")]
    #[schemars(length(min = 1, max = 64))]
    id: Option<String>,
}

/// `<prefix>/cmd/reload`: read the settings again. An empty payload will do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Comes back in the answer, and keeps a repeated command from being carried out again.
    #[serde(default, deserialize_with = "given")]
    #[schemars(length(min = 1, max = 64))]
    id: Option<String>,
}

/// `null` is not the same as a key that is left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// What a command asks for, by the last level of its topic; or why it is not taken, in words. The id comes first,
/// so that a refusal has it too, if it can be read.
pub fn read(leaf: &str, payload: &[u8]) -> (Option<CommandId>, Result<Order, String>) {
    if payload.len() > MAX_BYTES {
        let text = format!("the payload has {} bytes, {MAX_BYTES} at most are read", payload.len());
        return (None, Err(text));
    }
    let (id, order) = match leaf {
        "trigger" => parse(payload).map(|trigger: Trigger| (trigger.id.clone(), order_of(trigger))),
        "product" => {
            parse(payload).map(|Product { product, id }| (id, checked_product(&product).map(Order::Product)))
        }
        "reload" => {
            let reload = if payload.is_empty() { Ok(Reload::default()) } else { parse(payload) };
            reload.map(|Reload { id }| (id, Ok(Order::Reload)))
        }
        _ => Err("there are the commands trigger, product and reload".into()),
    }
    .unwrap_or_else(|why| (id_of(payload), Err(why)));
    match id.as_deref().map(CommandId::new) {
        None => (None, order),
        Some(Some(id)) => (Some(id), order),
        Some(None) => (None, Err("id must be 1 to 64 printable ASCII characters without \" and \\".into())),
    }
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|why| why.to_string())
}

/// The id of a payload that is otherwise not understood.
fn id_of(payload: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let id = value.get("id")?.as_str()?;
    CommandId::new(id).is_some().then(|| id.to_owned())
}

fn order_of(Trigger { camera, part, trig, id: _ }: Trigger) -> Result<Order, String> {
    let camera = camera.map(|name| CameraId::new(&name)).transpose().map_err(|bad| bad.to_string())?;
    let part = part.map(|name| PartId::new(&name)).transpose().map_err(|bad| bad.to_string())?;
    let number = match trig {
        None => None,
        Some(number) if number <= MAX_NUMBER => Some(u32::try_from(number).expect("31 bits")),
        Some(number) => return Err(format!("trig must be 0 to {MAX_NUMBER}, is {number}")),
    };
    Ok(Order::Trigger { camera, part, number })
}

fn checked_product(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        return Ok(name.into());
    }
    Err("product must be 1 to 64 characters of A-Z a-z 0-9 _ . -".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::publish::schema::{Kind, schema};

    #[track_caller]
    fn taken(leaf: &str, payload: &str) -> Order {
        let (_, order) = read(leaf, payload.as_bytes());
        if !payload.is_empty() {
            let value = serde_json::from_str(payload).unwrap();
            assert!(jsonschema::is_valid(&schema(Kind::Command), &value), "{payload}");
        }
        order.unwrap()
    }

    #[test]
    fn commands_are_read_as_they_are_meant() {
        let camera = Some(CameraId::new("top").unwrap());
        let part = Some(PartId::new("A1").unwrap());
        assert_eq!(
            taken("trigger", r#"{"camera":"top","part":"A1","trig":2147483647,"id":"7"}"#),
            Order::Trigger { camera, part, number: Some(0x7fff_ffff) }
        );
        assert_eq!(taken("trigger", "{}"), Order::Trigger { camera: None, part: None, number: None });
        assert_eq!(taken("product", r#"{"product":"cover_2"}"#), Order::Product("cover_2".into()));
        assert_eq!(taken("reload", r#"{"id":"x"}"#), Order::Reload);
        assert_eq!(taken("reload", ""), Order::Reload);
        let (id, _) = read("reload", br#"{"id":"night shift 3"}"#);
        assert_eq!(id.unwrap().as_str(), "night shift 3");
    }

    #[test]
    fn what_is_not_understood_is_refused_and_says_what_is_wrong() {
        let long = format!(r#"{{"part":"{}"}}"#, "x".repeat(65));
        let huge = format!(r#"{{"part":"{}"}}"#, "x".repeat(1024));
        for (leaf, payload, wanted) in [
            ("trigger", r#"{"camera":"top""#, "EOF"),
            ("trigger", r#"{"cam":"top"}"#, "unknown field `cam`"),
            ("trigger", r#"{"trig":1,"trig":2}"#, "duplicate field"),
            ("trigger", r#"{"part":null}"#, "null"),
            ("trigger", r#"{"trig":2147483648}"#, "trig must be 0 to 2147483647, is 2147483648"),
            ("trigger", r#"{"trig":-1}"#, "-1"),
            ("trigger", r#"{"trig":1.5}"#, "1.5"),
            ("trigger", r#"{"camera":"no such/camera"}"#, "camera id"),
            ("trigger", r#"{"part":"Kühler"}"#, "part id"),
            ("trigger", long.as_str(), "part id"),
            ("trigger", huge.as_str(), "1024 at most"),
            ("trigger", "", "EOF"),
            ("product", r#"{"product":"../etc/passwd"}"#, "product must be"),
            ("product", "{}", "missing field `product`"),
            ("reload", "now", "expected"),
            ("reload", "[]x", "trailing"),
            ("reload", r#"{"id":"ä"}"#, "id must be"),
            ("stop", "{}", "there are the commands"),
            ("trigger/top", "{}", "there are the commands"),
        ] {
            let (_, order) = read(leaf, payload.as_bytes());
            let why = order.expect_err(payload);
            assert!(why.contains(wanted), "{leaf} {payload}: {why}");
        }
    }

    #[test]
    fn a_refusal_has_the_id_where_it_can_be_read() {
        let (id, order) = read("trigger", br#"{"id":"42","cam":"top"}"#);
        assert_eq!((id.unwrap().as_str(), order.is_err()), ("42", true));
    }

    proptest! {
        #[test]
        fn no_payload_does_harm(leaf in "trigger|product|reload|.*", payload: Vec<u8>) {
            let (id, _) = read(&leaf, &payload);
            prop_assert!(id.is_none_or(|id| id.as_str().len() <= 64));
        }
    }
}
