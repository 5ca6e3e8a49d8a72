//! Few images: folds, changed copies of pictures, and a bad part among the good ones.

use std::fs;

use image::Rgb;

use super::{backbone_weights, taken_apart};
use crate::cli::{draw, run};

#[test]
fn few_images_are_judged_in_folds_and_a_bad_part_among_them_is_shown() {
    if backbone_weights().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw(&at.join("parts"), 11, 128);
    let good = at.join("parts/train/good");
    let mut bad = image::open(good.join("000.png")).unwrap().to_rgb8();
    for (x, y, pixel) in bad.enumerate_pixels_mut() {
        *pixel = if (x / 4 + y / 4) % 2 == 0 { Rgb([255, 0, 200]) } else { Rgb([0, 255, 20]) };
    }
    bad.save(good.join("bad.png")).unwrap();
    let arguments = "train --data parts --out part.csflow --epochs 1 --device cpu --augment flip-h,brightness=5% --copies 1";
    let output = run(at, &arguments.split(' ').collect::<Vec<_>>());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    for expected in [
        "12 good images in 5 folds: each fold is judged by a network trained on the others",
        "12 parts to calibrate on carry an overkill of at most 22.1 % with 95 %",
        "24 pictures of 12 images and their copies",
        "fold 1 of 5, epoch 1 over, loss ",
        "fold 5 of 5, epoch 1 over, loss ",
        "all images, epoch 1 over, loss ",
        "1 good image looks unlike the others: look at it in part.outliers before you trust",
        "deviations out: parts/train/good/bad.png",
    ] {
        assert!(told.contains(expected), "{told}\nshould say {expected}");
    }
    let drawn = image::open(at.join("part.outliers/outlier_01_bad_overlay.png")).unwrap();
    assert_eq!((drawn.width(), drawn.height()), (128, 128));

    let (manifest, _) = taken_apart(&at.join("part.csflow"));
    let (calibration, provenance) = (&manifest["calibration"], &manifest["provenance"]);
    assert_eq!((&calibration["n"], &calibration["guarantee"]), (&12.into(), &"none".into()));
    assert_eq!((&provenance["folds"], &provenance["trained_on"]), (&5.into(), &12.into()));
    assert_eq!(provenance["augmentation"], "flip-h,brightness=5% (copies: 1)");
    let inspected = run(at, &["inspect", "--bundle", "part.csflow", "parts/test/good/000.png"]);
    assert!(inspected.status.success(), "{}", String::from_utf8_lossy(&inspected.stderr));
    assert!(!fs::exists(at.join("part.csflow.training")).unwrap());
}
