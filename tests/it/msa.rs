//! `csflowd msa` on the fixture's bundle, with the real program.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{assert_refused, run};
use crate::fixture;

const BUNDLE: &str = "part.csflow";

/// A folder with the fixture's bundle and parts captured three times: four good ones, and two of noise.
fn place() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join(BUNDLE), fixture::bundle()).unwrap();
    for number in 0..4 {
        capture(&at.join(format!("parts/good/part{number}")), &fixture::good(number + 5));
    }
    for number in 0..2 {
        capture(&at.join(format!("parts/noise/part{number}")), &fixture::bad(number));
    }
    folder
}

/// Three captures, a little brighter each time.
fn capture(folder: &Path, pixels: &[u8]) {
    fs::create_dir_all(folder).unwrap();
    for i in 0..3 {
        let brighter: Vec<u8> = pixels.iter().map(|value| value.saturating_add(i)).collect();
        fixture::save(&folder.join(format!("{i}.png")), &brighter);
    }
}

const ARGUMENTS: [&str; 7] = ["msa", "--bundle", BUNDLE, "--data", "parts", "--device", "cpu"];

#[test]
fn the_study_is_one_object_and_its_guard_band_can_be_set() {
    let folder = place();
    let at = folder.path();
    let output = run(at, &[&ARGUMENTS[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() == 1 && !text.contains("null"), "{text}");
    let study: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&study["good_parts"], &study["defective_parts"], &study["captures"]),
        (&4.into(), &2.into(), &18.into())
    );
    // The two of noise are far away, so that only good parts tell how near ones repeat.
    assert_eq!(study["repeatability"]["degrees_of_freedom"], 8);
    assert!(study["repeatability"]["sd"].as_f64() > Some(0.0));
    assert_eq!(
        (&study["agreement"]["misses"]["count"], &study["agreement"]["misses"]["of"]),
        (&0.into(), &6.into())
    );
    let count = |key: &str| study["agreement"][key]["count"].as_u64().unwrap();
    assert_eq!(count("effectiveness") + count("false_alarms") + count("misses"), 18);
    assert!(study["agreement"]["kappa"]["value"].as_f64() > Some(0.5));
    assert_eq!(study["parts"].as_array().unwrap().len(), 6);

    let table = String::from_utf8(run(at, &ARGUMENTS).stdout).unwrap();
    let (_, command) = table.trim_end().rsplit_once("to set it             csflowd ").unwrap();
    let arguments: Vec<&str> = command.split(' ').collect();
    let output = run(at, &arguments);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("guard band 0."), "{told}");
    let again = String::from_utf8(run(at, &ARGUMENTS).stdout).unwrap();
    let band = arguments.last().unwrap();
    assert!(again.contains(&format!("guard band {band}")), "{again}\n{band}");
}

#[test]
fn a_guard_band_of_the_products_own_is_set_in_its_file() {
    let folder = place();
    let at = folder.path();
    fs::write(at.join("part.toml"), "bundle = \"part.csflow\"\nguard_band = 0.0\n").unwrap();
    let output = run(at, &[&ARGUMENTS[..], &["--product", "part.toml"]].concat());
    let table = String::from_utf8(output.stdout).unwrap();
    let (_, how) = table.trim_end().rsplit_once("to set it             guard_band = ").unwrap();
    let (band, file) = how.split_once(" in ").unwrap();
    assert!(band.parse::<f64>().unwrap() > 0.0 && file == "part.toml", "{how}");
}

#[test]
fn parts_named_by_their_files_give_the_same_study() {
    let folder = place();
    let at = folder.path();
    let by_folder = run(at, &[&ARGUMENTS[..], &["--json"]].concat()).stdout;
    for class in fs::read_dir(at.join("parts")).unwrap() {
        let class = class.unwrap().path();
        for part in ["part0", "part1", "part2", "part3"] {
            for i in 0..3 {
                let from = class.join(part).join(format!("{i}.png"));
                if from.is_file() {
                    fs::rename(from, class.join(format!("{part}_{i}.png"))).unwrap();
                }
            }
            drop(fs::remove_dir(class.join(part)));
        }
    }
    assert_refused(
        at,
        &ARGUMENTS,
        66,
        "expected a folder for each part, found images; if their names say the part",
    );
    let by_name = run(at, &[&ARGUMENTS[..], &["--json", "--group-by", "_"]].concat()).stdout;
    assert!(!by_name.is_empty() && by_name == by_folder);
}

#[test]
fn what_cannot_be_studied_is_refused() {
    let folder = place();
    let at = folder.path();
    let refused = |code, expected: &str| assert_refused(at, &ARGUMENTS, code, expected);
    let capture = at.join("parts/noise/part1/2.png");
    fs::write(&capture, "not a picture").unwrap();
    refused(66, "parts/noise/part1/2.png: is not a PNG, JPEG, BMP or TIFF file");
    for i in 1..3 {
        fs::remove_file(at.join(format!("parts/noise/part1/{i}.png"))).unwrap();
    }
    refused(66, "data folder parts/noise: expected at least two captures");
    fs::remove_dir_all(at.join("parts/noise")).unwrap();
    for number in 1..4 {
        fs::remove_dir_all(at.join(format!("parts/good/part{number}"))).unwrap();
    }
    refused(66, "data folder parts: expected at least two good parts");
    fs::remove_dir_all(at.join("parts")).unwrap();
    refused(66, "data folder parts: there is no such folder");
}
