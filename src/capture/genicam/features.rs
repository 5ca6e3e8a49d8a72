//! Any feature of a camera by its GenICam name: what it takes, and setting it.

use aravis::glib::prelude::*;
use aravis::prelude::*;
use aravis::{GcAccessMode, GcBoolean, GcCommand, GcEnumeration, GcFloat, GcInteger, GcString};

use crate::config::genicam::Value;

/// Names listed in a message when the one wanted is not offered.
const SHOWN: usize = 20;

/// Whether the camera has it.
pub(super) fn has(device: &aravis::Device, name: &str) -> bool {
    device.feature(name).is_some() && device.is_feature_available(name).unwrap_or(false)
}

/// Sets feature `name`, or says why not and what the camera takes.
pub(super) fn set(device: &aravis::Device, name: &str, value: &Value) -> Result<(), String> {
    let Some(node) = device.feature(name) else {
        return Err(format!("the camera has no feature {name}"));
    };
    let refused = |error: aravis::glib::Error| format!("{name}: the camera refuses: {}", error.message());
    if !device.is_feature_available(name).map_err(refused)? {
        return Err(format!("{name}: not available now; another setting switches it off"));
    }
    if device.feature_access_mode(name) == GcAccessMode::Ro {
        return Err(format!("{name}: locked: the camera lets it be read and not written, now or ever"));
    }
    let wants = |what: &str| Err(format!("{name}: must be {what}, is {}", written(value)));
    if node.is::<GcEnumeration>() {
        let offered = device.dup_available_enumeration_feature_values_as_strings(name).map_err(refused)?;
        return match value {
            Value::Text(text) if offered.iter().any(|offer| offer == text) => {
                device.set_string_feature_value(name, text).map_err(refused)
            }
            _ => {
                let offered: Vec<&str> =
                    offered.iter().take(SHOWN).map(aravis::glib::GString::as_str).collect();
                wants(&format!("one of \"{}\"", offered.join("\", \"")))
            }
        };
    }
    if node.is::<GcCommand>() {
        return Err(format!("{name}: is a command, not a setting"));
    }
    if node.is::<GcBoolean>() {
        return match value {
            Value::Flag(flag) => device.set_boolean_feature_value(name, *flag).map_err(refused),
            _ => wants("true or false"),
        };
    }
    if node.is::<GcFloat>() {
        return set_number(device, name, value);
    }
    if node.is::<GcInteger>() {
        return set_whole(device, name, value);
    }
    match value {
        Value::Text(text) if node.is::<GcString>() => {
            device.set_string_feature_value(name, text).map_err(refused)
        }
        _ if node.is::<GcString>() => wants("text in quotes"),
        _ => Err(format!("{name}: is nothing that has a value")),
    }
}

fn set_number(device: &aravis::Device, name: &str, value: &Value) -> Result<(), String> {
    let refused = |error: aravis::glib::Error| format!("{name}: the camera refuses: {}", error.message());
    let number = match value {
        Value::Number(number) => *number,
        #[expect(clippy::cast_precision_loss, reason = "settings are small numbers")]
        Value::Whole(whole) => *whole as f64,
        Value::Flag(_) | Value::Text(_) => f64::NAN,
    };
    let (least, most) = device.float_feature_bounds(name).map_err(refused)?;
    if !(least..=most).contains(&number) {
        return Err(format!("{name}: must be {least} to {most}, is {}", written(value)));
    }
    device.set_float_feature_value(name, number).map_err(refused)
}

fn set_whole(device: &aravis::Device, name: &str, value: &Value) -> Result<(), String> {
    let refused = |error: aravis::glib::Error| format!("{name}: the camera refuses: {}", error.message());
    let (least, most) = device.integer_feature_bounds(name).map_err(refused)?;
    let step = device.integer_feature_increment(name).map_err(refused)?.max(1);
    let whole = match value {
        Value::Whole(whole) => Some(*whole),
        #[expect(clippy::cast_possible_truncation, reason = "checked to be a small whole number")]
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i64),
        Value::Number(_) | Value::Flag(_) | Value::Text(_) => None,
    };
    let fits = |whole: &i64| {
        let above = i128::from(*whole) - i128::from(least);
        (least..=most).contains(whole) && above % i128::from(step) == 0
    };
    let Some(whole) = whole.filter(fits) else {
        let steps = if step > 1 { format!(" in steps of {step}") } else { String::new() };
        return Err(format!("{name}: must be {least} to {most}{steps}, is {}", written(value)));
    };
    device.set_integer_feature_value(name, whole).map_err(refused)
}

fn written(value: &Value) -> String {
    match value {
        Value::Whole(whole) => whole.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Text(text) => format!("\"{}\"", text.escape_debug()),
    }
}
