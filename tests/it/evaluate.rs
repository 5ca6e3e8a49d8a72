//! `csflowd evaluate` with a bundle that needs no training.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma};
use serde_json::Value;

use crate::cli::{assert_refused, run};
use crate::fixture::{SIZE, bad, bundle, good, save};

/// A bundle `part.csflow`, the same again as `other.csflow`, and `parts`: six good ones, three defective ones
/// with masks over all of them in a class with an awkward name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["part.csflow", "other.csflow"] {
        fs::write(folder.path().join(name), bundle()).unwrap();
    }
    let at = |part: &str| folder.path().join("parts").join(part);
    for part in ["test/good", "test/a<b>", "ground_truth/a<b>"] {
        fs::create_dir_all(at(part)).unwrap();
    }
    for number in 0..6 {
        save(&at(&format!("test/good/{number}.png")), &good(number));
    }
    for number in 0..3 {
        save(&at(&format!("test/a<b>/{number}.png")), &bad(number));
        let mask = GrayImage::from_pixel(SIZE.width, SIZE.height, Luma([255]));
        mask.save(at(&format!("ground_truth/a<b>/{number}_mask.png"))).unwrap();
    }
    folder
}

#[track_caller]
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() == 1 && !text.contains("null"), "{text}");
    serde_json::from_str(&text).unwrap()
}

const EVALUATE: [&str; 7] = ["evaluate", "--bundle", "part.csflow", "--data", "parts", "--device", "cpu"];

#[test]
fn an_evaluation_says_what_it_was_made_with_and_how_sure_it_is() {
    let folder = folder();
    let found = json(folder.path(), &[EVALUATE.as_slice(), &["--json"]].concat());
    assert_eq!((found["auroc"].as_f64(), found["pixel"]["auroc"].as_f64().is_some()), (Some(1.0), true));
    // Three disjoint pairs were won.
    let low = found["auroc_interval"]["low"].as_f64().unwrap();
    assert!((low - 0.025_f64.cbrt()).abs() < 1e-9, "{low}");
    assert_eq!(found["defects"]["all"]["of"], 3);
    assert_eq!((&found["escape"]["count"], &found["escape"]["of"]), (&0.into(), &3.into()));
    assert_eq!(found["about"]["calibrated_on"], serde_json::json!(["cpu, f32"]));
    assert!(found["notes"].as_array().unwrap().is_empty() && found["promise"].get("by_part").is_none());
    for key in ["bundle_sha256", "data_sha256"] {
        assert_eq!(found["about"][key].as_str().unwrap().len(), 64, "{key}");
    }
    assert_eq!((&found["about"]["device"], &found["about"]["data"]), (&"cpu".into(), &"parts".into()));
    for stage in ["read", "preprocess", "inference", "regions"] {
        assert!(found["time_ms"][stage]["p50"].is_number(), "{stage}");
    }

    // One byte of a mask is data too.
    let before = found["about"]["data_sha256"].clone();
    let mask = folder.path().join("parts/ground_truth/a<b>/0_mask.png");
    GrayImage::from_pixel(SIZE.width, SIZE.height, Luma([254])).save(mask).unwrap();
    let found = json(folder.path(), &[EVALUATE.as_slice(), &["--json"]].concat());
    assert_ne!(found["about"]["data_sha256"], before);
}

#[test]
fn a_report_is_one_page_and_bundles_stand_side_by_side() {
    let folder = folder();
    let arguments = [EVALUATE.as_slice(), &["--report", "out/report", "--compare", "other.csflow"]].concat();
    let output = run(folder.path(), &arguments);
    let (table, told) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && told.contains("report written to out/report/index.html"), "{told}");
    assert!(table.starts_with("A  part.csflow (") && table.contains("\nB  other.csflow ("), "{table}");
    assert!(table.contains("less that of A"), "{table}");

    let out = folder.path().join("out/report");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("parts/test/a&lt;b&gt;/0.png") && !page.contains("<b>"), "a name is not escaped");
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script"));
    assert_eq!(page.matches("src=\"").count(), page.matches("src=\"data:image/jpeg;base64,").count());
    assert_eq!(page.matches("<img ").count(), 2 * (4 + 3));

    let found = json(folder.path(), &[arguments.as_slice(), &["--json"]].concat());
    assert_eq!(found["bundles"].as_array().unwrap().len(), 2);
    assert_eq!(found["differences"][0]["difference"], 0.0);
}

#[test]
fn what_cannot_be_evaluated_is_told_before_the_bundle_is_read() {
    let folder = folder();
    let at = folder.path();
    let arguments = ["evaluate", "--bundle", "none.csflow", "--data", "parts", "--report", "report"];
    assert_refused(at, &arguments, 66, "cannot read none.csflow");
    assert_eq!(fs::read_dir(at.join("report")).unwrap().count(), 0);

    let mask = at.join("parts/ground_truth/a<b>/1_mask.png");
    GrayImage::new(3, 3).save(mask).unwrap();
    assert_refused(at, &arguments, 66, "1_mask.png: is 3x3, but its image is 96x64");
    fs::write(at.join("parts/test/good/2.png"), "not a picture").unwrap();
    assert_refused(
        at,
        &arguments,
        66,
        "2 images cannot be used, first: mask parts/ground_truth/a<b>/1_mask.png",
    );

    fs::write(at.join("file"), "mine").unwrap();
    let arguments = [EVALUATE.as_slice(), &["--report", "file"]].concat();
    assert_refused(at, &arguments, 74, "report folder file: cannot be made");
    assert_eq!(fs::read(at.join("file")).unwrap(), b"mine");
}

#[test]
fn what_the_images_cannot_tell_is_noted() {
    let folder = folder();
    let test = folder.path().join("parts/test");
    for number in 1..3 {
        fs::remove_file(test.join(format!("a<b>/{number}.png"))).unwrap();
    }
    GrayImage::from_pixel(30, 30, Luma([100])).save(test.join("good/0.png")).unwrap();
    let output = run(folder.path(), &EVALUATE);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    for note in [
        "note: class a<b> has one image: the figures for it say next to nothing",
        "note: the images have 2 sizes, from 30x30 to 96x64; each is stretched to the network's square",
    ] {
        assert!(told.contains(note), "{told}");
    }
}

#[test]
fn the_promise_is_judged_by_part_where_names_say_so() {
    let folder = folder();
    let good = folder.path().join("parts/test/good");
    for number in 0..6 {
        fs::rename(good.join(format!("{number}.png")), good.join(format!("part{}_{number}.png", number / 2)))
            .unwrap();
    }
    let arguments = [EVALUATE.as_slice(), &["--group-by", "_", "--report", "report"]].concat();
    let output = run(folder.path(), &arguments);
    let (table, told) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("note: the 6 good images count as 3 parts, by which the promise is judged"),
        "{told}"
    );
    assert!(table.contains("    by part        0 of 3 = 0 %"), "{table}");
    assert!(table.ends_with("judged on          cpu, f32\ncalibrated on      cpu, f32\n"), "{table}");
    let page = fs::read_to_string(folder.path().join("report/index.html")).unwrap();
    assert!(page.contains("A part has 2.0 images here and 1.0 in the calibration."));
    let found = json(folder.path(), &[arguments.as_slice(), &["--json"]].concat());
    let by_part = &found["promise"]["by_part"];
    assert_eq!((&by_part["overkill"]["of"], &by_part["images_per_part"]), (&3.into(), &2.0.into()));
    assert_eq!((&found["overkill"]["of"], &found["promise"]["answer"]), (&6.into(), &"consistent".into()));
}

#[test]
fn images_that_the_threshold_rests_on_confirm_no_promise() {
    let folder = folder();
    let at = folder.path();
    let known = json(at, &[EVALUATE.as_slice(), &["--json"]].concat());
    assert_eq!((&known["promise"]["known"], &known["promise"]["answer"]), (&0.into(), &"consistent".into()));
    let calibrate = ["calibrate", "--bundle", "part.csflow", "--data", "parts/test/good", "--force"];
    let output = run(at, &[calibrate.as_slice(), &["--device", "cpu"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let known = json(at, &[EVALUATE.as_slice(), &["--json"]].concat());
    assert_eq!((&known["promise"]["known"], &known["promise"]["answer"]), (&6.into(), &"known".into()));
    let note = known["notes"][0].as_str().unwrap();
    assert!(
        note.starts_with("the threshold rests on 6 of these images, for example parts/test/good/0.png"),
        "{note}"
    );
}

#[test]
fn a_products_rules_hold_and_are_told() {
    let folder = folder();
    let at = folder.path();
    let product = "bundle = \"part.csflow\"\nthreshold = 1e9\n[regions]\nmap_threshold = 0.25\nmin_area_px = 7\n\
        [roi]\nwidth = 96\nheight = 64\ninclude = [[[0, 0], [48, 0], [48, 64], [0, 64]]]\n";
    fs::write(at.join("part.toml"), product).unwrap();
    // Its defect lies to the right of the ROI.
    let mask = at.join("parts/ground_truth/a<b>/1_mask.png");
    GrayImage::from_fn(SIZE.width, SIZE.height, |x, _| Luma([if x < 60 { 0 } else { 255 }]))
        .save(mask)
        .unwrap();
    let arguments =
        [EVALUATE.as_slice(), &["--product", "part.toml", "--report", "report", "--json"]].concat();
    let found = json(at, &arguments);
    assert_eq!((&found["map_threshold"], &found["min_area_px"]), (&0.25.into(), &7.0.into()));
    assert_eq!(found["about"]["product"], "part.toml");
    let page = fs::read_to_string(at.join("report/index.html")).unwrap();
    assert!(page.contains("What is dark lies outside the ROI and was not inspected."));
    assert_eq!(found["about"]["roi_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(found["promise"]["answer"], "other_threshold");
    assert_eq!(found["outside_roi"].as_array().unwrap().len(), 1);
    assert_eq!((&found["pixel"]["empty_masks"], &found["defects"]["all"]["of"]), (&0.into(), &2.into()));
    let note = found["notes"][0].as_str().unwrap();
    assert!(note.contains("1 mask marks pixels outside") && note.contains("1_mask.png"), "{note}");
    let [width, height] = [0, 1].map(|side| found["cell_px"][side].as_f64().unwrap());
    assert!(width > height && width < 96.0, "{width} x {height}");

    GrayImage::new(30, 30).save(at.join("parts/test/good/3.png")).unwrap();
    let expected = "image parts/test/good/3.png: is 30x30, but the product's ROI is drawn on 96x64";
    assert_refused(at, &arguments, 66, expected);
}
