//! From a camera's section to the camera: every setting, checked against what the camera offers.

use aravis::prelude::*;

use crate::capture::genicam::features;
use crate::config::camera::{Frames, Matching, TriggerMode};
use crate::config::genicam::{Genicam, Region, Value};

/// Cameras from before the names were agreed call it otherwise.
const EXPOSURE: [&str; 3] = ["ExposureTime", "ExposureTimeAbs", "ExposureTimeRaw"];
const GAIN: [&str; 3] = ["Gain", "GainRaw", "GainAbs"];

/// Sets the camera; every setting that it refuses is told, each with the key that says it.
pub(super) fn apply(
    camera: &aravis::Camera,
    device: &aravis::Device,
    genicam: &Genicam,
    trigger: TriggerMode,
) -> Result<(), String> {
    let mut problems = Vec::new();
    let mut set = |key: &str, name: &str, value: Value| {
        if let Err(problem) = features::set(device, name, &value) {
            problems.push(format!("source.{key}: {problem}"));
        }
    };
    if let Some(format) = &genicam.pixel_format {
        set("pixel_format", "PixelFormat", Value::Text(format.clone()));
    }
    region(device, genicam.region, &mut set);
    for (name, value) in &genicam.features {
        set("features", name, value.clone());
    }
    let of = |names: [&'static str; 3]| {
        names.into_iter().find(|name| features::has(device, name)).unwrap_or(names[0])
    };
    // An automatic that is on would overrule what is set.
    if let Some(exposure) = genicam.exposure_us {
        if features::has(device, "ExposureAuto") {
            set("exposure_us", "ExposureAuto", Value::Text("Off".into()));
        }
        set("exposure_us", of(EXPOSURE), Value::Number(exposure));
    }
    if let Some(gain) = genicam.gain {
        if features::has(device, "GainAuto") {
            set("gain", "GainAuto", Value::Text("Off".into()));
        }
        set("gain", of(GAIN), Value::Number(gain));
    }
    if camera.is_gv_device() {
        if let Some(size) = genicam.packet_size {
            set("packet_size", "GevSCPSPacketSize", Value::Whole(size.into()));
        }
        if let Some(delay) = genicam.packet_delay_ns
            && let Err(error) = camera.gv_set_packet_delay(delay)
        {
            problems.push(format!("source.packet_delay_ns: the camera refuses: {}", error.message()));
        }
    }
    triggering(camera, device, (genicam, trigger), &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// Offsets to zero first: they bound the size.
fn region(device: &aravis::Device, region: Region, set: &mut impl FnMut(&str, &str, Value)) {
    if region == Region::default() {
        return;
    }
    let moved = [(region.width, "OffsetX"), (region.height, "OffsetY")];
    for (_, name) in moved.into_iter().filter(|(size, name)| size.is_some() && features::has(device, name)) {
        set("region", name, Value::Whole(0));
    }
    let wanted = [
        ("region.width", "Width", region.width),
        ("region.height", "Height", region.height),
        ("region.x", "OffsetX", region.x),
        ("region.y", "OffsetY", region.y),
    ];
    for (key, name, value) in wanted {
        if let Some(value) = value {
            set(key, name, Value::Whole(value.into()));
        }
    }
}

/// What fires the camera. One that is to run by itself is set to do so, however it was left.
fn triggering(
    camera: &aravis::Camera,
    device: &aravis::Device,
    (genicam, trigger): (&Genicam, TriggerMode),
    problems: &mut Vec<String>,
) {
    let mut note = |key: &str, done: Result<(), String>| {
        problems.extend(done.err().map(|problem| format!("source.{key}: {problem}")));
    };
    let runs_freely =
        matches!(trigger, TriggerMode::Free | TriggerMode::Command(Matching { frames: Frames::Stream, .. }));
    if features::has(device, "AcquisitionMode") {
        note("trigger", features::set(device, "AcquisitionMode", &Value::Text("Continuous".into())));
    }
    if !features::has(device, "TriggerMode") {
        if genicam.trigger_source.is_some() {
            note("trigger_source", Err("the camera has no trigger".into()));
        }
        return;
    }
    if let Some(source) = &genicam.trigger_source {
        // Which trigger is meant, before its source is looked at.
        if let Err(error) = camera.clear_triggers() {
            note("trigger_source", Err(format!("the camera refuses: {}", error.message())));
        }
        let frame_start = Value::Text("FrameStart".into());
        if features::has(device, "TriggerSelector") {
            note("trigger_source", features::set(device, "TriggerSelector", &frame_start));
        }
        note("trigger_source", features::set(device, "TriggerSource", &Value::Text(source.clone())));
        if let Some(activation) = &genicam.trigger_activation {
            let activation = Value::Text(activation.clone());
            note("trigger_activation", features::set(device, "TriggerActivation", &activation));
        }
        note("trigger_source", features::set(device, "TriggerMode", &Value::Text("On".into())));
    } else if runs_freely && let Err(error) = camera.clear_triggers() {
        note("trigger", Err(format!("the camera cannot be set to run by itself: {}", error.message())));
    }
}
