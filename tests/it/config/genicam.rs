//! `[camera.source]` of kind `genicam`.

use std::collections::BTreeMap;
use std::time::Duration;

use csflowd::config::camera::{Frames, Matching, Source, TriggerMode};
use csflowd::config::genicam::{ClockChoice, Genicam, Region, Value};
use insta::assert_snapshot;

use super::{CAMERA, Etc, MQTT, STATION};

const SOURCE: &str = "[camera.source]\nkind = \"genicam\"\ndevice = \"Fake-1\"\n";

fn refused(camera: &str, source: &str) -> String {
    let etc = Etc::new();
    let mqtt = [MQTT, "commands = true\n"].concat();
    etc.write("csflowd.toml", &[STATION, &mqtt, CAMERA, camera, source].concat());
    etc.refused()
}

#[test]
fn all_that_can_be_said_of_a_genicam_camera_arrives() {
    let etc = Etc::new();
    let keys = "pixel_format = \"Mono8\"\nexposure_us = 800\ngain = 1.5\n\
        region = { x = 1, y = 2, width = 640, height = 480 }\npacket_size = 1500\npacket_delay_ns = 100\n\
        packet_socket = true\ntrigger_source = \"Line1\"\ntrigger_activation = \"FallingEdge\"\nclock = \"camera\"\n\
        features = { A = 1, B = 1.5, C = true, D = \"On\" }\n";
    let station = [STATION, MQTT, CAMERA, "trigger = \"hardware\"\n", SOURCE, keys].concat();
    etc.write("csflowd.toml", &station);
    let features = [
        ("A", Value::Whole(1)),
        ("B", Value::Number(1.5)),
        ("C", Value::Flag(true)),
        ("D", Value::Text("On".into())),
    ];
    let genicam = Genicam {
        device: "Fake-1".into(),
        pixel_format: Some("Mono8".into()),
        exposure_us: Some(800.0),
        gain: Some(1.5),
        region: Region { x: Some(1), y: Some(2), width: Some(640), height: Some(480) },
        packet_size: Some(1500),
        packet_delay_ns: Some(100),
        packet_socket: true,
        trigger_source: Some("Line1".into()),
        trigger_activation: Some("FallingEdge".into()),
        features: BTreeMap::from(features.map(|(name, value)| (name.into(), value))),
        clock: ClockChoice::Camera,
    };
    assert_eq!(etc.load().unwrap().cameras[0].source, Source::Genicam(genicam));
}

#[test]
fn a_camera_that_csflowd_fires_shows_a_part_in_each_frame() {
    let etc = Etc::new();
    let keys = "trigger_source = \"Software\"\n";
    let mqtt = [MQTT, "commands = true\n"].concat();
    etc.write("csflowd.toml", &[STATION, &mqtt, CAMERA, "trigger = \"command\"\n", SOURCE, keys].concat());
    let window = Duration::from_millis(200);
    let rule = Matching { frames: Frames::Pulse, early: Duration::ZERO, window };
    assert_eq!(etc.load().unwrap().cameras[0].trigger, TriggerMode::Command(rule));
}

#[test]
fn what_does_not_go_together_is_told() {
    assert_snapshot!(refused("", "[camera.source]\nkind = \"genicam\"\n"), @"ETC/csflowd.toml: camera.top.source.device: is missing: the camera's id as `csflowd cameras` shows it, or its IP address");
    assert_snapshot!(refused("", "[camera.source]\nkind = \"pipeline\"\ndevice = \"Fake-1\"\n"), @r#"ETC/csflowd.toml: camera.top.source.device: goes with kind = "genicam" only"#);
    assert_snapshot!(refused("", &[SOURCE, "rate_hz = 1\n"].concat()), @r#"ETC/csflowd.toml: camera.top.source.rate_hz: goes with kind = "files" only"#);
    assert_snapshot!(refused("", &[SOURCE, "trigger_source = \"Line1\"\n"].concat()), @r#"ETC/csflowd.toml: camera.top.source.trigger_source: with "Line1" each frame shows a part: set trigger = "hardware", or "command" with frames = "pulse""#);
    let software = [SOURCE, "trigger_source = \"Software\"\n"].concat();
    let told = refused("", &software);
    assert_snapshot!(told, @r#"ETC/csflowd.toml: camera.top.source.trigger_source: "Software" is fired by csflowd when a trigger command comes: it goes with trigger = "command" and frames = "pulse""#);
    for camera in ["trigger = \"hardware\"\n", "trigger = \"command\"\nframes = \"stream\"\n"] {
        assert_eq!(refused(camera, &software), told);
    }
    assert_snapshot!(refused("", &[SOURCE, "trigger_activation = \"RisingEdge\"\n"].concat()), @"ETC/csflowd.toml: camera.top.source.trigger_activation: goes with source.trigger_source only");
    assert_snapshot!(refused("", &[SOURCE, "features = { Gain = 1 }\n"].concat()), @"ETC/csflowd.toml: camera.top.source.features.Gain: is what source.gain says: set it there");
    assert_snapshot!(refused("", &[SOURCE, "features = { X = nan }\n"].concat()), @"ETC/csflowd.toml: camera.top.source.features.X: must be a finite number, is NaN");
    let other = CAMERA.replace("top", "side");
    assert_snapshot!(refused("", &[SOURCE, &other, SOURCE].concat()), @"ETC/csflowd.toml: camera.side.source.device: camera top has this device already: give each device one section");
}
