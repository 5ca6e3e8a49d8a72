//! `[camera.source]` of kind `genicam`: which device, and how it is to be set.

use std::collections::BTreeMap;

use super::camera::{Frames, Matching, TriggerMode};
use super::raw::{self, Key};
use super::section::Section;

/// Above this no network carries a packet.
const LARGEST_PACKET: i64 = 65_536;
/// A second between two packets.
const LONGEST_DELAY: i64 = 1_000_000_000;
/// Widest and highest sensor.
const LONGEST_SIDE: i64 = 1_000_000;

/// A GigE Vision or USB3 Vision camera. What is None is left as the camera has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Genicam {
    /// As `csflowd cameras` shows it, its serial number, or its IP address.
    pub device: String,
    pub pixel_format: Option<String>,
    pub exposure_us: Option<f64>,
    pub gain: Option<f64>,
    pub region: Region,
    /// Bytes, headers included. None finds the largest that the network carries.
    pub packet_size: Option<u32>,
    pub packet_delay_ns: Option<i64>,
    /// Packets are taken from the network interface past the kernel's UDP stack, where csflowd may (`CAP_NET_RAW`).
    /// Over loopback none come that way.
    pub packet_socket: bool,
    pub trigger_source: Option<String>,
    pub trigger_activation: Option<String>,
    /// Any other feature, by its GenICam name.
    pub features: BTreeMap<String, Value>,
    pub clock: ClockChoice,
}

impl Genicam {
    /// Whether csflowd fires the camera itself.
    pub fn is_fired(&self) -> bool {
        self.trigger_source.as_deref() == Some(SOFTWARE)
    }
}

/// `TriggerSource` of a camera that is fired by its driver.
pub const SOFTWARE: &str = "Software";

/// The part of the sensor that is read out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    pub x: Option<i32>,
    pub y: Option<i32>,
    pub width: Option<i32>,
    pub height: Option<i32>,
}

/// The value of a feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Whole(i64),
    Number(f64),
    Flag(bool),
    Text(String),
}

/// What tells the capture time of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockChoice {
    /// The camera if it says that PTP holds its clock, else the arrival.
    #[default]
    Auto,
    /// The camera: its clock counts UTC or TAI by other means than PTP, or it does not say so.
    Camera,
    Arrival,
}

/// The keys of [`raw::Source`] that go with this kind alone.
pub(super) fn given(raw: &raw::Source) -> Vec<&'static str> {
    let keys = [
        ("device", raw.device.is_absent()),
        ("pixel_format", raw.pixel_format.is_absent()),
        ("exposure_us", raw.exposure_us.is_absent()),
        ("gain", raw.gain.is_absent()),
        ("region", raw.region.is_absent()),
        ("packet_size", raw.packet_size.is_absent()),
        ("packet_delay_ns", raw.packet_delay_ns.is_absent()),
        ("packet_socket", raw.packet_socket.is_absent()),
        ("trigger_source", raw.fired_by.is_absent()),
        ("trigger_activation", raw.trigger_activation.is_absent()),
        ("features", raw.features.is_absent()),
        ("clock", raw.clock.is_absent()),
    ];
    keys.into_iter().filter(|(_, absent)| !absent).map(|(key, _)| key).collect()
}

pub(super) fn read(raw: raw::Source, section: &mut Section<'_>) -> Option<Genicam> {
    if raw.device.is_absent() {
        section
            .wrong("device", "is missing: the camera's id as `csflowd cameras` shows it, or its IP address");
    }
    let device = section.get("device", raw.device).filter(|device| named("device", device, section));
    let exposure_us = section.number("exposure_us", raw.exposure_us, 0.0..=f64::MAX);
    let gain = section.number("gain", raw.gain, f64::MIN..=f64::MAX);
    let region = section.get("region", raw.region).map(|raw| region(raw, &mut section.inner("region")));
    let packet_size = section.whole("packet_size", raw.packet_size, 64..=LARGEST_PACKET);
    let packet_delay_ns = section.whole("packet_delay_ns", raw.packet_delay_ns, 0..=LONGEST_DELAY);
    let packet_socket = section.get("packet_socket", raw.packet_socket).unwrap_or(false);
    let mut text = |key, value| section.get(key, value).filter(|text: &String| named(key, text, section));
    let pixel_format = text("pixel_format", raw.pixel_format);
    let trigger_source = text("trigger_source", raw.fired_by);
    let trigger_activation = text("trigger_activation", raw.trigger_activation);
    let clock = match section.get("clock", raw.clock) {
        Some(raw::CaptureClock::Auto) | None => ClockChoice::Auto,
        Some(raw::CaptureClock::Camera) => ClockChoice::Camera,
        Some(raw::CaptureClock::Arrival) => ClockChoice::Arrival,
    };
    let features = section.get("features", raw.features).unwrap_or_default();
    Some(Genicam {
        features: values(features, &mut section.inner("features")),
        device: device?,
        pixel_format,
        exposure_us,
        gain,
        region: region.unwrap_or_default(),
        packet_size,
        packet_delay_ns,
        packet_socket,
        trigger_source,
        trigger_activation,
        clock,
    })
}

/// What fires the camera must be what the camera's frames mean.
pub(super) fn check_trigger(genicam: &Genicam, trigger: TriggerMode, section: &mut Section<'_>) {
    let Some(source) = &genicam.trigger_source else {
        if genicam.trigger_activation.is_some() {
            section.wrong("source.trigger_activation", "goes with source.trigger_source only");
        }
        return;
    };
    let runs_freely =
        matches!(trigger, TriggerMode::Free | TriggerMode::Command(Matching { frames: Frames::Stream, .. }));
    if genicam.is_fired() && (runs_freely || trigger == TriggerMode::Hardware) {
        let text = "\"Software\" is fired by csflowd when a trigger command comes: it goes with \
                    trigger = \"command\" and frames = \"pulse\"";
        section.wrong("source.trigger_source", text);
    } else if runs_freely {
        let text = format!(
            "with \"{source}\" each frame shows a part: set trigger = \"hardware\", or \"command\" with frames = \"pulse\""
        );
        section.wrong("source.trigger_source", text);
    }
}

fn region(raw: raw::Region, section: &mut Section<'_>) -> Region {
    Region {
        x: section.whole("x", raw.x, 0..=LONGEST_SIDE),
        y: section.whole("y", raw.y, 0..=LONGEST_SIDE),
        width: section.whole("width", raw.width, 1..=LONGEST_SIDE),
        height: section.whole("height", raw.height, 1..=LONGEST_SIDE),
    }
}

fn values(raw: BTreeMap<String, Key<raw::Parameter>>, section: &mut Section<'_>) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (name, value) in raw {
        if let Some(owner) = OWNED.iter().find(|(feature, _)| *feature == name).map(|(_, owner)| owner) {
            section.wrong(&name, format!("is what source.{owner} says: set it there"));
            continue;
        }
        let value = match section.get(&name, value) {
            None => continue,
            Some(raw::Parameter::Whole(whole)) => Value::Whole(whole),
            Some(raw::Parameter::Number(number)) if number.is_finite() => Value::Number(number),
            Some(raw::Parameter::Number(number)) => {
                section.wrong(&name, format!("must be a finite number, is {number}"));
                continue;
            }
            Some(raw::Parameter::Flag(flag)) => Value::Flag(flag),
            Some(raw::Parameter::Text(text)) => Value::Text(text),
        };
        values.insert(name, value);
    }
    values
}

/// Features that have a key of their own.
const OWNED: [(&str, &str); 11] = [
    ("PixelFormat", "pixel_format"),
    ("ExposureTime", "exposure_us"),
    ("Gain", "gain"),
    ("OffsetX", "region.x"),
    ("OffsetY", "region.y"),
    ("Width", "region.width"),
    ("Height", "region.height"),
    ("GevSCPSPacketSize", "packet_size"),
    ("GevSCPD", "packet_delay_ns"),
    ("TriggerSource", "trigger_source"),
    ("TriggerActivation", "trigger_activation"),
];

fn named(key: &str, text: &str, section: &mut Section<'_>) -> bool {
    let is_name = !text.is_empty() && text.chars().all(|c| (' '..='~').contains(&c));
    if !is_name {
        section.wrong(
            key,
            format!("must be a name of printable ASCII characters, is \"{}\"", text.escape_debug()),
        );
    }
    is_name
}
