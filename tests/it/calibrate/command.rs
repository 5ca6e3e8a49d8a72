//! `csflowd calibrate` on the fixture's bundle, with the real program.

use std::fs;
use std::path::Path;

use csflowd::calibrate::renew::Act;
use csflowd::model::bundle::Bundle;
use csflowd::model::bundle::manifest::Manifest;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{assert_refused, run};
use crate::fixture;

const BUNDLE: &str = "part.csflow";

/// A folder with the fixture's bundle, which holds 16 parts and cannot carry its target of 1 %.
fn place() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(BUNDLE), fixture::bundle()).unwrap();
    folder
}

/// Fills `folder` with even pictures of these names, as the bundle's good parts are, each with faint specks of its own.
fn draw(folder: &Path, names: impl IntoIterator<Item = String>) {
    fs::create_dir_all(folder).unwrap();
    for (i, name) in names.into_iter().enumerate() {
        fixture::save(&folder.join(name), &part(i));
    }
}

fn part(number: usize) -> Vec<u8> {
    let mut pixels = fixture::good(u8::try_from(number % 16).unwrap());
    let mut rng = Pcg64::seed_from_u64(number as u64);
    // One in each field that likeness is told by.
    for y in (0..fixture::SIZE.height as usize).step_by(4) {
        for x in (0..fixture::SIZE.width as usize).step_by(6) {
            pixels[3 * (y * fixture::SIZE.width as usize + x)] += rng.random_range(0..2);
        }
    }
    pixels
}

fn numbered(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|i| format!("{i:03}.png"))
}

#[track_caller]
fn calibrate(folder: &Path, arguments: &str) -> Value {
    let arguments = format!("calibrate --bundle {BUNDLE} --device cpu --json {arguments}");
    let output = run(folder, &arguments.split_whitespace().collect::<Vec<_>>());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() == 1 && !text.contains("null"), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn refused(folder: &Path, arguments: &str, code: i32, expected: &str) {
    let arguments = format!("calibrate --bundle {BUNDLE} --device cpu {arguments}");
    assert_refused(folder, &arguments.split_whitespace().collect::<Vec<_>>(), code, expected);
}

fn manifest(file: &Path) -> Manifest {
    Bundle::read(file).unwrap().manifest
}

/// What stands behind the header.
fn tensors(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    bytes[8 + header..].to_owned()
}

fn names_left(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn production_parts_join_the_bundle_once_and_the_network_stays() {
    let folder = place();
    let at = folder.path();
    let file = at.join(BUNDLE);
    draw(&at.join("line/test/good"), numbered(50));
    draw(&at.join("line/train/good"), numbered(3));
    let before = manifest(&file);
    let found = calibrate(at, "--data line --target-overkill 5% --guard-band 0.01");
    assert_eq!(found["data"]["folder"], "line/test/good");
    assert_eq!((&found["data"]["added"], &found["data"]["parts_added"]), (&50.into(), &50.into()));
    assert_eq!((&found["parts"], &found["parts_from_production"]), (&66.into(), &50.into()));
    assert_eq!((&found["guarantee"], &found["guaranteed"]), (&"exact".into(), &true.into()));
    assert_eq!((&found["target_overkill"], &found["parts_needed"]), (&0.05.into(), &59.into()));

    let after = manifest(&file);
    assert_eq!(found["threshold"], after.calibration.threshold);
    assert_eq!(after.calibration.guard_band, 0.01);
    let [change] = after.calibration.changes.as_slice() else { panic!("{:?}", after.calibration.changes) };
    assert_eq!((change.act, change.images, change.parts), (Act::Added, 50, 50));
    assert!(change.command.contains(" calibrate --bundle part.csflow ") && change.at.ends_with('Z'));
    assert!(tensors(&file) == fixture_tensors(), "the tensors are the same");
    assert_eq!(Manifest { calibration: before.calibration.clone(), ..after }, before);
    assert_eq!(names_left(at), ["line", BUNDLE]);

    // The same again, and a copy under another name and format: nothing is counted twice.
    let copy = at.join("line/test/good/copy.bmp");
    image::open(at.join("line/test/good/007.png")).unwrap().save(copy).unwrap();
    let written = fs::read(&file).unwrap();
    let again = calibrate(at, "--data line");
    assert_eq!((&again["data"]["known"], &again["data"]["added"]), (&51.into(), &0.into()));
    assert_eq!((&again["parts"], &again["recalibrations"]), (&66.into(), &1.into()));
    assert_eq!(again["threshold"], found["threshold"]);
    assert!(again.get("written").is_none() && fs::read(&file).unwrap() == written);
    // Elsewhere it is a copy.
    let copied = calibrate(at, "--data line --out copy.csflow");
    assert_eq!((&copied["written"], &copied["recalibrations"]), (&"copy.csflow".into(), &1.into()));
    assert!(fs::read(at.join("copy.csflow")).unwrap() == written);

    let image = "line/test/good/000.png";
    let output = run(at, &["inspect", "--bundle", BUNDLE, "--json", image]);
    let inspected: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(inspected["images"][0]["threshold"], found["threshold"]);
    // Its score is one of the 66, so it is one of those at least as high.
    let score = inspected["images"][0]["score"].as_f64().unwrap();
    let parts = manifest(&file).calibration.parts;
    assert!(parts.iter().any(|part| (part.score - score).abs() <= 1e-9 * score));
}

fn fixture_tensors() -> Vec<u8> {
    let folder = place();
    tensors(&folder.path().join(BUNDLE))
}

#[test]
fn images_of_one_part_are_counted_as_one() {
    let folder = place();
    let at = folder.path();
    draw(&at.join("line"), (0..60).map(|i| format!("part{}_{}.png", i / 2, i % 2)));
    let found = calibrate(at, "--data line --group-by _ --replace --target-overkill 10% --out new.csflow");
    assert_eq!((&found["parts"], &found["images"], &found["order"]), (&30.into(), &60.into(), &1.into()));
    assert_eq!(found["written"], "new.csflow");
    let calibration = manifest(&at.join("new.csflow")).calibration;
    assert!(calibration.parts.iter().all(|part| part.part.starts_with("part") && part.images.len() == 2));
    assert_eq!(calibration.changes[0].act, Act::Replaced);
    assert!(fs::read(at.join(BUNDLE)).unwrap() == fixture::bundle(), "the other is left alone");
    // As many images as 5 % takes, but not as many parts.
    let arguments = "--data line --group-by _ --replace --target-overkill 5%";
    refused(at, arguments, 66, "needs 59 held-out good parts; 30 carry 9.51 % at best");
}

#[test]
fn bursts_and_names_that_come_again_count_once_and_are_told() {
    let folder = place();
    let at = folder.path();
    draw(&at.join("line"), numbered(30));
    for i in 0..30 {
        let brighter: Vec<u8> = part(i).iter().map(|value| value + 1).collect();
        fixture::save(&at.join(format!("line/again{i}.png")), &brighter);
    }
    let found = calibrate(at, "--data line --target-overkill 10%");
    let data = &found["data"];
    assert_eq!((&data["added"], &data["parts_added"], &data["alike"]), (&60.into(), &30.into(), &30.into()));
    assert_eq!((&found["parts"], &found["images"]), (&46.into(), &76.into()));

    for (day, name, number) in [
        ("monday", "part1_1.png", 100),
        ("monday", "part2_1.png", 101),
        ("tuesday", "part1_2.png", 102),
        ("tuesday", "part3_1.png", 103),
    ] {
        fs::create_dir_all(at.join(day)).unwrap();
        fixture::save(&at.join(day).join(name), &part(number));
    }
    calibrate(at, "--data monday --group-by _");
    let found = calibrate(at, "--data tuesday --group-by _");
    let data = &found["data"];
    assert_eq!((&data["added"], &data["parts_added"], &data["joined"]), (&2.into(), &1.into(), &1.into()));
}

#[test]
fn another_target_is_set_from_the_scores_that_are_there() {
    let folder = place();
    let at = folder.path();
    let shown = calibrate(at, "");
    assert_eq!((&shown["guarantee"], &shown["parts"]), (&"none".into(), &16.into()));
    assert!(shown.get("written").is_none() && fs::read(at.join(BUNDLE)).unwrap() == fixture::bundle());

    let found = calibrate(at, "--target-overkill 25% --confidence 90%");
    assert_eq!((&found["guarantee"], &found["written"]), (&"exact".into(), &BUNDLE.into()));
    assert!(found["threshold"].as_f64() <= shown["threshold"].as_f64());
    assert_eq!(manifest(&at.join(BUNDLE)).calibration.changes[0].act, Act::Retargeted);

    let output = run(at, &["calibrate", "--bundle", BUNDLE, "--guard-band", "0.5"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("true overkill at most "), "{text}");
    assert!(text.contains("guard band 0.500000: ") && text.contains("at its next start"), "{text}");
}

#[test]
fn what_cannot_be_calibrated_with_is_refused_and_the_bundle_is_left_alone() {
    let folder = place();
    let at = folder.path();
    draw(&at.join("three"), numbered(3));
    draw(&at.join("one"), (0..3).map(|i| format!("part_{i}.png")));
    draw(&at.join("broken"), numbered(3));
    fs::write(at.join("broken/001.png"), "not a picture").unwrap();
    fs::create_dir(at.join("empty")).unwrap();
    draw(&at.join("trained/train/good"), numbered(3));
    for (arguments, code, expected) in [
        ("--data three --replace", 66, "needs 299 held-out good parts; 3 carry 63.2 % at best. Give more"),
        ("--data three", 66, "needs 299 held-out good parts; 19 carry 14.6 % at best. Give more"),
        ("--data one --replace --group-by _", 66, "needs 299 held-out good parts; 1 carry 95 % at best"),
        ("--data one --replace --group-by _ --force", 66, "1 held-out good parts cannot give a threshold"),
        ("--target-overkill 0.1%", 66, "needs 2995 held-out good parts; 16 carry 17.1 % at best"),
        ("--data broken", 66, "broken/001.png: is not a PNG, JPEG, BMP or TIFF file"),
        ("--data empty", 66, "data folder empty: expected png, jpg, jpeg, bmp, tif or tiff images"),
        ("--data trained", 66, "test/good or good (train is not looked into), found none"),
        ("--data none", 66, "data folder none: there is no such folder"),
        ("--data three --out none/a.csflow", 74, "bundle none/a.csflow: there is no folder none"),
        ("--replace", 64, "--data <DIR>"),
        ("--guard-band nan", 64, "must be a number, not negative, in the unit of the score"),
        ("--guard-band=-1", 64, "must be a number, not negative"),
        ("--target-overkill 0", 64, "must be a share above 0 and below 1"),
    ] {
        refused(at, arguments, code, expected);
    }
    let arguments = ["calibrate", "--bundle", BUNDLE, "--data", "three", "--force", "--device", "cuda:63"];
    assert_refused(at, &arguments, 78, "device \"cuda:63\" is asked for");
    assert!(fs::read(at.join(BUNDLE)).unwrap() == fixture::bundle());
    assert_eq!(names_left(at), ["broken", "empty", "one", BUNDLE, "three", "trained"]);
}

#[test]
fn a_forced_target_is_marked_wherever_it_is_shown() {
    let folder = place();
    let at = folder.path();
    draw(&at.join("three"), numbered(3));
    let found = calibrate(at, "--data three --force --target-overkill 0.5%");
    assert_eq!((&found["guarantee"], &found["guaranteed"]), (&"none".into(), &false.into()));
    let shown = run(at, &["calibrate", "--bundle", BUNDLE]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("the 0.5 % asked for is not guaranteed: that takes 598 held-out parts"), "{text}");
    assert!(text.contains("19 (16 from training, 3 from production)"), "{text}");
}
