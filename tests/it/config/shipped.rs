//! The files that are shipped: settings, and the systemd unit.

use std::fs;
use std::path::Path;
use std::process::Command;

use csflowd::config::Config;
use tempfile::TempDir;

use super::{CAMERA, Etc, MQTT, PRODUCT, STATION};

const SOURCE: &str = "[[camera]]\n[camera.source]\n";
const EXAMPLES: [&str; 6] = ["test", "files", "v4l2", "rtsp", "genicam", "genicam-bayer"];
/// Like no key at all.
const STRAY: &str = "zzzzzzzzzzzzzzzzzzzzzzzz";

/// A copy of the shipped settings, with the bundle, the pipelines and the images that they speak of.
fn shipped() -> Etc {
    let etc = Etc::new().over("station.state_dir", "../state");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for folder in ["", "products", "examples"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = Path::new("config").join(folder).join(path.file_name().unwrap());
                etc.write(name.to_str().unwrap(), &fs::read_to_string(&path).unwrap());
            }
        }
    }
    etc.write("config/products/example.csflow", "");
    etc.write("config/examples/images/1.png", "");
    etc.write("credentials/csflowd.mqtt-password", "hunter2\n");
    for name in EXAMPLES {
        etc.write(&format!("shared/{name}.launch"), "fakesrc ! appsink name=frames");
    }
    let credentials = etc.dir.path().join("credentials").display().to_string();
    etc.variable("CREDENTIALS_DIRECTORY", &credentials)
}

#[test]
fn the_shipped_station_and_product_show_every_default() {
    let etc = shipped();
    let station = "[station]\nname = \"cell2\"\nproduct = \"example\"\n[mqtt]\nprefix = \"plant1/site/area/line4/cell2\"\n\
        [[camera]]\nid = \"top\"\npipeline = \"v4l2.launch\"\n";
    etc.write("config/minimal.toml", station);
    let shown = etc.load_file("config/csflowd.toml").unwrap();
    etc.write("config/products/example.toml", "bundle = \"example.csflow\"\n");
    let minimal = etc.load_file("config/minimal.toml").unwrap();
    assert_eq!(Config { sha256: minimal.sha256.clone(), ..shown }, minimal);
}

#[test]
fn every_shipped_example_is_good() {
    let etc = shipped();
    for name in EXAMPLES {
        let config = etc.load_file(&format!("config/examples/{name}.toml")).unwrap();
        assert_eq!(config.product.name, "example", "{name}");
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    assert_eq!(fs::read_dir(examples).unwrap().count(), EXAMPLES.len());
}

#[test]
fn the_shipped_files_speak_of_every_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let station = fs::read_to_string(root.join("csflowd.toml")).unwrap();
    let product = fs::read_to_string(root.join("products/example.toml")).unwrap();
    let stray = [STRAY, " = 1\n"].concat();
    let sections = [MQTT, "[mqtt.tls]\n", "[outbox]\n", "[engine]\n", CAMERA, SOURCE, STATION];
    for section in sections {
        let etc = Etc::new();
        etc.write("csflowd.toml", &[section, stray.as_str()].concat());
        for key in known_keys(&etc.refused()) {
            assert!(speaks_of(&station, &key), "csflowd.toml, {section} {key}");
        }
    }
    for section in [PRODUCT, "[regions]\n"] {
        let etc = Etc::new();
        etc.write("products/tile.toml", &[section, stray.as_str()].concat());
        for key in known_keys(&etc.refused()) {
            assert!(speaks_of(&product, &key), "example.toml, {section} {key}");
        }
    }
}

/// The keys that a refusal of a stray one lists.
fn known_keys(problems: &str) -> Vec<String> {
    let line = problems.lines().find(|line| line.contains(STRAY)).unwrap();
    let (_, keys) = line.split_once("there are ").unwrap();
    keys.split(", ").map(str::to_owned).collect()
}

/// Sets the key, or shows it behind a `#`, or heads its section.
fn speaks_of(text: &str, key: &str) -> bool {
    let lines = text.lines().map(|line| line.trim_start_matches("# "));
    let heading = |line: &str| line.starts_with('[') && line.trim_end_matches(']').ends_with(key);
    lines.into_iter().any(|line| line.starts_with(&format!("{key} = ")) || heading(line))
}

#[test]
fn systemd_takes_the_unit_and_rates_it_as_closed() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return; // Not a machine with systemd.
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let dir = TempDir::new().unwrap();
    // The binary need not be installed where this runs.
    let unit = fs::read_to_string(root.join("csflowd.service")).unwrap();
    let path = dir.path().join("csflowd.service");
    fs::write(&path, unit.replace("/usr/bin/csflowd ", "/bin/true ")).unwrap();
    let gpu = fs::read_to_string(root.join("csflowd.service.d/gpu.conf")).unwrap();
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
        _ => line.to_owned(),
    };
    fs::create_dir(dir.path().join("csflowd.service.d")).unwrap();
    let gpu: Vec<_> = gpu.lines().map(uncomment).collect();
    fs::write(dir.path().join("csflowd.service.d/gpu.conf"), gpu.join("\n")).unwrap();

    for arguments in [&["verify"][..], &["security", "--offline=true", "--no-pager", "--threshold=25"]] {
        let output = Command::new("systemd-analyze").args(arguments).arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.is_empty(), "{arguments:?}: {text}");
    }
}
