//! What keeps a station from starting: an exit code and a sentence that says what to do.

use std::fs;
use std::io::{self, Write};

use csflowd::config::engine::Device;
use csflowd::cuda;

use super::{Station, csflowd};
use crate::fixture;

/// Nobody listens there, and nobody needs to.
const NO_BROKER: u16 = 1;

const BUNDLE: &str = "STATION/state/bundles/part.csflow";

fn station() -> Station {
    Station::new(NO_BROKER, "").with_parts(1, 0)
}

/// How `csflowd run` ends with such a bundle: its exit code and its last line.
#[track_caller]
fn run_with_bundle(bytes: &[u8]) -> (Option<i32>, String) {
    let station = station();
    station.set_bundle(bytes);
    let (code, _, stderr) = station.outcome("run", &[]);
    (code, stderr.lines().last().unwrap().to_owned())
}

#[test]
fn a_good_station_passes_the_check() {
    for arguments in [&["--no-hardware"][..], &[]] {
        let (code, stdout, stderr) = station().outcome("check", arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(stdout.ends_with("product part: nothing is wrong\n"), "{stdout}");
    }
}

#[test]
fn every_mistake_is_told_at_once_by_check_and_by_run() {
    let station = station();
    station.set_product("threshold = nan\ndeadline = 5\n");
    let mistakes = ["--set", "engine.device=tpu", "--set", "mqtt.prot=1", "--set", "mqtt.prefix=a//b"];
    let (code, stdout, stderr) = station.outcome("check", &mistakes);
    assert_eq!((code, stdout.as_str()), (Some(78), ""));
    for beginning in [
        "command line: engine.device: must be ",
        "command line: mqtt.prot: is not a key; did you mean \"port\"?",
        "command line: mqtt.prefix: must be levels of ",
        "STATION/products/part.toml: threshold: ",
        "STATION/products/part.toml: deadline: is not a key; did you mean \"deadline_ms\"?",
    ] {
        assert!(stderr.lines().any(|line| line.starts_with(beginning)), "no {beginning} in {stderr}");
    }
    assert_eq!(stderr.lines().count(), 5, "{stderr}");
    assert_eq!(station.outcome("run", &mistakes), (code, stdout, stderr));
}

#[test]
fn settings_that_are_not_there_are_named() {
    let station = station();
    fs::remove_file(station.path("csflowd.toml")).unwrap();
    for command in ["run", "check"] {
        let (code, _, stderr) = station.outcome(command, &[]);
        assert_eq!(code, Some(78));
        assert!(stderr.starts_with("STATION/csflowd.toml: "), "{stderr}");
    }
}

#[test]
fn a_pipeline_that_hands_nothing_on_is_named_with_its_camera() {
    let station = station();
    for text in ["appsrc name=camera ! appsink name=pictures", "appsrc name=camera ! no-such-element"] {
        station.write("pipelines/files.launch", text);
        let (code, _, stderr) = station.outcome("check", &["--no-hardware"]);
        assert_eq!(code, Some(78));
        assert!(stderr.starts_with("STATION/csflowd.toml: camera.top.pipeline: "), "{stderr}");
    }
}

#[test]
fn a_bundle_that_is_missing_is_named_with_its_product() {
    let station = station();
    fs::remove_file(station.path("state/bundles/part.csflow")).unwrap();
    for command in ["run", "check"] {
        let (code, _, stderr) = station.outcome(command, &[]);
        assert_eq!(code, Some(78));
        assert!(stderr.starts_with("STATION/products/part.toml: bundle: "), "{stderr}");
        assert!(stderr.contains("part.csflow"), "{stderr}");
    }
}

#[test]
fn a_flipped_byte_anywhere_in_a_bundle_is_found_before_anything_is_judged() {
    let bundle = fixture::bundle();
    let end = bundle.len();
    for at in [0, 9, 40, 300, end / 2, end - 1] {
        let mut damaged = bundle.to_vec();
        damaged[at] ^= 1;
        let (code, line) = run_with_bundle(&damaged);
        assert_eq!(code, Some(66), "byte {at}: {line}");
        assert!(
            line.starts_with(&format!("csflowd: cannot load the product: {BUNDLE}")),
            "byte {at}: {line}"
        );
    }
}

#[test]
fn a_bundle_that_is_cut_short_is_said_to_be() {
    let bundle = fixture::bundle();
    for length in [0, 7, 1000, bundle.len() / 2, bundle.len() - 1] {
        let (code, line) = run_with_bundle(&bundle[..length]);
        let expected =
            format!("csflowd: cannot load the product: {BUNDLE} is not a whole safetensors file: ");
        assert_eq!(code, Some(66), "{length} bytes: {line}");
        assert!(line.starts_with(&expected), "{length} bytes: {line}");
    }
}

#[test]
fn a_bundle_of_another_format_says_which_and_what_to_do() {
    let (ours, other) = (br#"{\"format\":2,"#, br#"{\"format\":1,"#);
    let mut bundle = fixture::bundle().to_vec();
    let at = bundle.windows(ours.len()).position(|bytes| bytes == ours).unwrap();
    bundle[at..at + other.len()].copy_from_slice(other);
    let expected = "has bundle format 1; this csflowd reads format 2: train again or update csflowd";
    assert_eq!(
        run_with_bundle(&bundle),
        (Some(66), format!("csflowd: cannot load the product: {BUNDLE} {expected}"))
    );
}

#[test]
fn check_finds_a_bad_bundle_too_with_and_without_hardware() {
    let station = station();
    station.set_bundle(b"not a bundle");
    for arguments in [&["--no-hardware"][..], &[]] {
        let (code, _, stderr) = station.outcome("check", arguments);
        assert_eq!(code, Some(78));
        assert!(stderr.starts_with(&format!("{BUNDLE} is not a whole safetensors file")), "{stderr}");
    }
}

#[test]
fn check_looks_at_bundle_and_cameras_though_the_settings_have_mistakes() {
    let station = station().with_parts(0, 0);
    station.set_bundle(b"not a bundle");
    let (code, stdout, stderr) = station.outcome("check", &["--set", "mqtt.prot=1"]);
    assert_eq!((code, stdout.as_str()), (Some(78), ""));
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines[0].starts_with("command line: mqtt.prot: is not a key"), "{stderr}");
    assert!(lines[1].starts_with(&format!("{BUNDLE} is not a whole safetensors file")), "{stderr}");
    assert_eq!(lines.len(), 2, "{stderr}");
    fs::remove_file(station.path("images/good0.png")).unwrap();
    let (_, _, stderr) = station.outcome("check", &["--set", "mqtt.prot=1"]);
    assert!(stderr.lines().last().unwrap().starts_with("camera top: "), "{stderr}");
    // Of a product with a mistake nothing is known for sure.
    station.set_product("deadline = 5\n");
    let (_, _, stderr) = station.outcome("check", &["--no-hardware"]);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_station_whose_bundle_is_bad_is_never_ready() {
    let station = station();
    station.set_bundle(b"not a bundle");
    let mut daemon = station.start(&[]);
    assert_eq!(daemon.wait().code(), Some(66));
    assert_eq!(daemon.notices_so_far(), "");
    assert!(daemon.log().contains("MODEL_FAILED"), "{}", daemon.log());
}

#[test]
fn a_verdict_counter_that_cannot_be_read_is_not_started_anew() {
    let station = station();
    station.write("state/seq", "1\u{0}2");
    let (code, _, stderr) = station.outcome("run", &[]);
    assert_eq!(code, Some(74));
    assert!(stderr.starts_with("csflowd: STATION/state/seq should hold the next verdict number"), "{stderr}");
}

#[test]
fn a_gpu_that_is_not_there_is_not_replaced_by_the_cpu() {
    if cuda::open(Device::Cuda(0)).is_ok() {
        drop(writeln!(io::stderr().lock(), "skipped: this machine has a CUDA device"));
        return;
    }
    for command in ["run", "check"] {
        let (code, _, stderr) = station().outcome(command, &["--set", "engine.device=cuda"]);
        assert_eq!(code, Some(78));
        let line = stderr.lines().last().unwrap();
        assert!(line.contains("device \"cuda:0\" is asked for, but "), "{line}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    for arguments in [&["run", "--frames", "0"][..], &["fly"], &["run", "--set", "mqtt.port"], &[]] {
        let output = csflowd().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}
