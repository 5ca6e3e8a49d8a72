//! What a trained bundle is used for.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Trained, trained};
use crate::cli::{assert_refused, run};

/// The one JSON object on standard output.
#[track_caller]
fn json(folder: &Path, arguments: &str, code: i32) -> Value {
    let output = run(folder, &arguments.split(' ').collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value.is_object() && !text.contains("null"), "{text}");
    value
}

#[test]
fn evaluate_prints_one_object_and_inspect_finds_the_same_scores() {
    let Some(Trained { folder, .. }) = trained() else { return };
    let found = json(folder, "evaluate --bundle part.csflow --data parts --json", 0);
    for key in ["threshold", "auroc", "average_precision", "f1_max", "fpr_at_tpr_100", "fpr_at_tpr_99"] {
        assert!(found[key].is_number(), "{key} in {found}");
    }
    assert_eq!((&found["good"], &found["defective"]), (&3.into(), &5.into()));
    assert_eq!(found["classes"].as_array().unwrap().len(), 6);
    assert!(
        found["pixel"]["auroc"].is_number() && found["overkill"]["of"] == 3 && found["escape"]["of"] == 5
    );

    let arguments =
        "inspect --bundle part.csflow --overlay seen --json parts/test/pit/000.png parts/none.png";
    let inspected = json(folder, arguments, 66);
    assert_eq!(inspected["unreadable"], 1);
    let [pit, none] = inspected["images"].as_array().unwrap().as_slice() else { panic!("{inspected}") };
    assert_eq!(none["code"], 11);
    assert!(none["error"].as_str().unwrap().ends_with("parts/none.png: there is no such file"));
    let evaluated = found["images"].as_array().unwrap().iter().find(|image| image["class"] == "pit").unwrap();
    assert_eq!((&pit["score"], &pit["evaluation"]), (&evaluated["score"], &evaluated["evaluation"]));
    let is_not_ok = pit["score"].as_f64() > pit["threshold"].as_f64();
    assert_eq!(pit["evaluation"], if is_not_ok { 2 } else { 1 });
    let overlay = image::open(folder.join(pit["overlay"].as_str().unwrap())).unwrap();
    assert_eq!((overlay.width(), overlay.height()), (160, 160));
}

#[test]
fn a_bundle_has_learned_what_its_pictures_look_like_and_is_not_asked_about_others() {
    let Some(Trained { folder, .. }) = trained() else { return };
    let (manifest, _) = super::taken_apart(&folder.join("part.csflow"));
    assert_eq!(manifest["appearance"]["pictures"], 12, "{}", manifest["appearance"]);
    let good = image::open(folder.join("parts/test/good/000.png")).unwrap();
    good.brighten(-70).into_rgb8().save(folder.join("dim.png")).unwrap();
    good.blur(6.0).into_rgb8().save(folder.join("blurred.png")).unwrap();
    fs::create_dir_all(folder.join("odd/test/good")).unwrap();
    fs::copy(folder.join("dim.png"), folder.join("odd/test/good/a.png")).unwrap();
    fs::copy(folder.join("parts/test/good/000.png"), folder.join("odd/test/good/b.png")).unwrap();

    let names = "parts/test/good/000.png parts/test/pit/000.png dim.png blurred.png";
    let inspected = json(folder, &format!("inspect --bundle part.csflow --json {names}"), 0);
    let images = inspected["images"].as_array().unwrap();
    let codes: Vec<_> = images.iter().map(|image| image["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [0, 0, 40, 40], "{inspected}");
    assert!(images[2]["error"].as_str().unwrap().contains("too dark"), "{inspected}");
    assert!(images[3]["error"].as_str().unwrap().contains("out of focus"), "{inspected}");
    assert!(images[2].get("score").is_none() && images[3].get("score").is_none());

    let output = run(folder, &["evaluate", "--bundle", "part.csflow", "--data", "odd"]);
    let told = String::from_utf8(output.stderr).unwrap();
    let note = "note: 1 of these images, 1 of them good, are out of the range of those learned from, for example odd/test/good/a.png (too dark";
    assert!(told.contains(note), "{told}");
    let output = run(folder, &["evaluate", "--bundle", "part.csflow", "--data", "parts"]);
    assert!(!String::from_utf8(output.stderr).unwrap().contains("out of the range"));
}

#[test]
fn people_get_a_table_and_a_line_for_each_image() {
    let Some(Trained { folder, .. }) = trained() else { return };
    let output = run(folder, &["evaluate", "--bundle", "part.csflow", "--data", "parts"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && table.contains("image AUROC") && table.contains("overkill"),
        "{table}"
    );
    let output = run(folder, &["inspect", "--bundle", "part.csflow", "parts/test/good/000.png"]);
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && line.lines().count() == 1, "{line}");
    assert!(line.contains("score ") && line.ends_with("parts/test/good/000.png\n"), "{line}");
}

#[test]
fn bench_measures_a_bundle_and_an_untrained_network() {
    let Some(Trained { folder, .. }) = trained() else { return };
    for network in ["--bundle part.csflow", "--preset lite"] {
        let arguments = format!("bench {network} --runs 2 --batch 2 --frame 320x240 --device cpu --json");
        let found = json(folder, &arguments, 0);
        assert_eq!(
            (&found["device"], &found["runs"], &found["batch"]),
            (&"cpu".into(), &2.into(), &2.into())
        );
        for key in ["p50", "p90", "p99", "max"] {
            assert!(found["latency_ms"][key].as_f64() > Some(0.0), "{key} in {found}");
        }
        for stage in ["preprocess", "inference", "postprocess"] {
            assert!(found["stages_ms"][stage]["p50"].is_number(), "{stage} in {found}");
        }
        assert!(found["frames_per_s"].as_f64() > Some(0.0));
    }
}

#[test]
fn bench_streams_from_many_cameras_and_no_trigger_is_without_its_verdict() {
    let Some(Trained { folder, .. }) = trained() else { return };
    for (network, rate, is_overload) in
        [("--bundle part.csflow", 0.5, false), ("--preset lite", 0.5, false), ("--preset lite", 400.0, true)]
    {
        let arguments = format!(
            "bench {network} --rate {rate} --cameras 2 --seconds 2 --deadline 5000 --frame 64x64 --device cpu --json"
        );
        let found = json(folder, &arguments, 0);
        let number = |key: &str| found[key].as_u64().unwrap_or_else(|| panic!("{key} in {found}"));
        assert_eq!(number("triggers"), number("verdicts"), "{found}");
        let sum: u64 = ["judged", "dropped", "timed_out", "otherwise"].map(number).iter().sum();
        assert_eq!(sum, number("verdicts"), "{found}");
        assert!(number("judged") > 0 && found["latency_ms"]["p99"].as_f64() > Some(0.0), "{found}");
        if is_overload {
            assert!(number("triggers") > 1000 && number("dropped") > 0, "{found}");
        } else {
            assert_eq!((number("triggers"), number("otherwise")), (2, 0), "{found}");
        }
    }
}

#[test]
fn a_bundle_that_was_cut_or_flipped_is_refused_by_every_command() {
    let Some(Trained { folder, .. }) = trained() else { return };
    let whole = fs::read(folder.join("part.csflow")).unwrap();
    let broken = tempfile::tempdir_in(folder).unwrap();
    let place = broken.path();
    fs::write(place.join("cut.csflow"), &whole[..whole.len() / 2]).unwrap();
    let mut flipped = whole;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    fs::write(place.join("flipped.csflow"), flipped).unwrap();
    for (bundle, expected) in [
        ("cut.csflow", "cut.csflow is not a whole safetensors file"),
        ("flipped.csflow", "flipped.csflow is damaged: its contents do not match its SHA-256"),
    ] {
        for command in ["evaluate --data ../parts", "inspect ../parts/test/good/000.png", "bench"] {
            let arguments = format!("{command} --bundle {bundle}");
            assert_refused(place, &arguments.split(' ').collect::<Vec<_>>(), 66, expected);
        }
    }
}

#[test]
fn overlays_that_cannot_be_written_end_with_74_and_a_mask_that_does_not_fit_with_66() {
    let Some(Trained { folder, .. }) = trained() else { return };
    let image = "parts/test/good/000.png";
    let arguments = ["inspect", "--bundle", "part.csflow", "--overlay", image, image];
    assert_refused(folder, &arguments, 74, "overlay folder parts/test/good/000.png: cannot be made");

    let other = tempfile::tempdir_in(folder).unwrap();
    for part in ["test/pit", "ground_truth/pit"] {
        fs::create_dir_all(other.path().join(part)).unwrap();
    }
    fs::copy(folder.join(image), other.path().join("test/pit/0.png")).unwrap();
    image::GrayImage::new(3, 3).save(other.path().join("ground_truth/pit/0_mask.png")).unwrap();
    let arguments = ["evaluate", "--bundle", "../part.csflow", "--data", "."];
    let expected = "0_mask.png: is 3x3, but its image is 160x160";
    assert_refused(other.path(), &arguments, 66, expected);
}
