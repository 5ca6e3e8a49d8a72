//! From drawn parts to a bundle and what it is good for, with the real program and a few images. Needs the weights
//! of EfficientNet-Lite0; where they are not installed each test says so and passes.

mod ablation;
mod folds;
mod refused;
mod resumed;
mod roi;
mod stopped;
mod suspects;
mod used;
mod warm;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use csflowd::model::backbone::BackboneKind;
use csflowd::model::weights;
use serde_json::Value;

use crate::cli::{draw, run};

const TRAIN: [&str; 11] =
    ["train", "--data", "parts", "--out", "part.csflow", "--epochs", "3", "--device", "cpu", "--folds", "0"];

/// A folder with `parts` and the bundle `part.csflow` trained on them.
struct Trained {
    folder: PathBuf,
    /// What training said.
    told: String,
}

/// Trained once for all tests; None where the backbone's weights are missing.
fn trained() -> Option<&'static Trained> {
    static TRAINED: OnceLock<Option<Trained>> = OnceLock::new();
    let train = || {
        backbone_weights()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trained");
        // What an earlier run of the tests left; usually it left something.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        draw(&folder.join("parts"), 12, 160);
        let output = run(&folder, &TRAIN);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{told}");
        Some(Trained { folder, told })
    };
    TRAINED.get_or_init(train).as_ref()
}

fn backbone_weights() -> Option<PathBuf> {
    let file = weights::find(BackboneKind::EfficientnetLite0);
    if file.is_none() {
        println!("the weights of EfficientNet-Lite0 are not installed: nothing is tested here");
    }
    file
}

/// The manifest in a bundle's header, and everything behind the header.
fn taken_apart(bundle: &Path) -> (Value, Vec<u8>) {
    let bytes = fs::read(bundle).unwrap();
    let (length, rest) = bytes.split_at(8);
    let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
    let (header, tensors) = rest.split_at(length);
    let header: Value = serde_json::from_slice(header).unwrap();
    let envelope: Value = serde_json::from_str(header["__metadata__"]["csflowd"].as_str().unwrap()).unwrap();
    (envelope["manifest"].clone(), tensors.to_owned())
}

#[test]
fn training_tells_its_steps_and_the_threshold_with_its_guarantee() {
    let Some(Trained { told, folder }) = trained() else { return };
    for epoch in 1..=3 {
        assert!(told.contains(&format!("epoch {epoch} over, loss ")), "{told}");
    }
    assert!(told.contains("images done in") && told.contains("12 images of 160x160"), "{told}");
    assert!(told.contains("12 good images: 8 to train on, 0 watched, 4 held out"), "{told}");
    assert!(told.contains("4 parts to calibrate on carry an overkill of at most 52.7 % with 95 %"), "{told}");
    assert!(told.contains("note: 12 good images are few to learn from"), "{told}");
    let (manifest, _) = taken_apart(&folder.join("part.csflow"));
    assert_eq!(manifest["calibration"]["n"], 4);
    let provenance = &manifest["provenance"];
    assert_eq!((&provenance["epochs_asked"], &provenance["parts"]), (&3.into(), &12.into()));
    let used = ["trained_on", "watched", "held_out"]
        .map(|role| provenance["fingerprints"][role].as_array().unwrap());
    assert_eq!(used.map(Vec::len), [8, 0, 4]);
    assert!(!folder.join("part.csflow.training").exists(), "the state of a training that is over");
}

#[test]
fn the_same_seed_gives_the_same_bundle_but_for_the_time() {
    let Some(first) = trained() else { return };
    let second = tempfile::tempdir().unwrap();
    draw(&second.path().join("parts"), 12, 160);
    assert!(run(second.path(), &TRAIN).status.success());
    let [(mut a, a_tensors), (mut b, b_tensors)] =
        [&first.folder, second.path()].map(|folder| taken_apart(&folder.join("part.csflow")));
    for manifest in [&mut a, &mut b] {
        assert!(manifest["provenance"]["created"].take().is_string());
    }
    assert_eq!(a, b);
    assert!(a_tensors == b_tensors, "the tensors differ");
}

#[test]
fn images_of_other_sizes_and_grey_ones_are_trained_on_and_noted() {
    if backbone_weights().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    draw(&folder.path().join("parts"), 8, 128);
    let good = folder.path().join("parts/train/good");
    image::open(good.join("000.png")).unwrap().to_luma8().save(good.join("grey.png")).unwrap();
    image::open(good.join("001.png")).unwrap().crop_imm(0, 0, 90, 70).save(good.join("small.jpg")).unwrap();
    let output = run(folder.path(), &TRAIN);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let expected = "note: the images have 2 sizes, from 90x70 to 128x128; each is stretched to 256x256";
    assert!(told.contains(expected), "{told}");
    assert!(folder.path().join("part.csflow").is_file());
}
