//! What is connected to this machine: the cameras that GStreamer's device monitor finds, and what they can send.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::capture::error::CaptureError;
use crate::frame::Size;

/// Names of video devices that stay the same after a restart: by what the device is, else by where it is plugged in.
const STABLE: [&str; 2] = ["/dev/v4l/by-id", "/dev/v4l/by-path"];

/// A camera that can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    /// The GStreamer element that opens it.
    pub element: String,
    /// Of a camera of Linux (V4L2): its device file, under a name that stays the same if there is one.
    pub path: Option<PathBuf>,
    pub modes: Vec<Mode>,
}

/// A format and size that a camera has, with its rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// In GStreamer's words, as `YUY2` or `image/jpeg`.
    pub format: String,
    /// Where a range of sizes is offered, the largest.
    pub size: Size,
    /// The highest rate, in whole frames a second; 0 if the camera does not say.
    pub fps: u32,
}

/// Asks once, and does not wait for what is plugged in later.
pub fn list() -> Result<Vec<Device>, CaptureError> {
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Video/Source"), None);
    monitor.start().map_err(|_| CaptureError::NoMonitor)?;
    let devices = monitor.devices().iter().map(device).collect();
    monitor.stop();
    Ok(devices)
}

fn device(device: &gst::Device) -> Device {
    let properties = device.properties();
    let path = properties.and_then(|properties| {
        let keys = ["device.path", "api.v4l2.path"];
        keys.iter().find_map(|key| properties.get::<String>(*key).ok()).map(PathBuf::from)
    });
    let element = device.create_element(None).ok();
    let factory = element.and_then(|element| element.factory());
    Device {
        name: device.display_name().into(),
        element: factory.map_or_else(|| "unknown".into(), |factory| factory.name().into()),
        path: path.map(|path| stable(&path)),
        modes: device.caps().map_or(Vec::new(), |caps| modes(&caps)),
    }
}

/// Another name of the same device file, that stays the same.
fn stable(path: &Path) -> PathBuf {
    let Ok(device) = path.canonicalize() else { return path.into() };
    let names = STABLE.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut names =
        names.map(|entry| entry.path()).filter(|name| name.canonicalize().ok().as_ref() == Some(&device));
    names.next().unwrap_or_else(|| path.into())
}

/// Each format and size once, with its highest rate, the largest first.
fn modes(caps: &gst::CapsRef) -> Vec<Mode> {
    let mut found: BTreeMap<(String, u32, u32), u32> = BTreeMap::new();
    for structure in caps.iter() {
        let (Some(width), Some(height)) = (largest(structure, "width"), largest(structure, "height")) else {
            continue;
        };
        let fps = structure.value("framerate").ok().map_or(0, highest_rate);
        for format in formats(structure) {
            let known = found.entry((format, width, height)).or_default();
            *known = fps.max(*known);
        }
    }
    let mode = |((format, width, height), fps)| Mode { format, size: Size { width, height }, fps };
    let mut modes: Vec<Mode> = found.into_iter().map(mode).collect();
    modes.sort_by_key(|mode| std::cmp::Reverse(mode.size.pixels()));
    modes
}

fn formats(structure: &gst::StructureRef) -> Vec<String> {
    if let Ok(format) = structure.get::<String>("format") {
        return vec![format];
    }
    if let Ok(list) = structure.get::<gst::List>("format") {
        return list.iter().filter_map(|value| value.get::<String>().ok()).collect();
    }
    vec![structure.name().to_string()]
}

fn largest(structure: &gst::StructureRef, key: &str) -> Option<u32> {
    if let Ok(one) = structure.get::<i32>(key) {
        return u32::try_from(one).ok();
    }
    if let Ok(range) = structure.get::<gst::IntRange<i32>>(key) {
        return u32::try_from(range.max()).ok();
    }
    let list = structure.get::<gst::List>(key).ok()?;
    list.iter().filter_map(|value| u32::try_from(value.get::<i32>().ok()?).ok()).max()
}

fn highest_rate(value: &gst::glib::SendValue) -> u32 {
    let whole =
        |rate: gst::Fraction| u32::try_from(rate.numer().checked_div(rate.denom()).unwrap_or(0)).unwrap_or(0);
    if let Ok(one) = value.get::<gst::Fraction>() {
        return whole(one);
    }
    if let Ok(range) = value.get::<gst::FractionRange>() {
        return whole(range.max());
    }
    let list = value.get::<gst::List>();
    list.map_or(0, |list| list.iter().filter_map(|rate| rate.get().ok()).map(whole).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn each_mode_of_a_camera_is_told_once_the_largest_first() {
        gst::init().unwrap();
        let caps = gst::Caps::from_str(
            "video/x-raw, format=YUY2, width=640, height=480, framerate={ 30/1, 15/1 }; \
             video/x-raw, format={ NV12, YUY2 }, width=640, height=480, framerate=60/1; \
             image/jpeg, width=1920, height=1080, framerate=[ 1/1, 30/1 ]; \
             video/x-bayer, format=rggb, width=[ 16, 2592 ], height=[ 16, 1944 ]",
        )
        .unwrap();
        let told: Vec<_> =
            modes(&caps).iter().map(|mode| format!("{} {} {}", mode.format, mode.size, mode.fps)).collect();
        assert_eq!(
            told,
            ["rggb 2592x1944 0", "image/jpeg 1920x1080 30", "NV12 640x480 60", "YUY2 640x480 60"]
        );
    }

    #[test]
    fn the_monitor_finds_what_there_is_or_nothing() {
        gst::init().unwrap();
        let devices = list().unwrap();
        assert!(devices.iter().all(|device| !device.name.is_empty() && !device.element.is_empty()));
    }
}
