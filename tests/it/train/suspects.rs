//! What is odd about the images is told before training; what cannot end well is refused.

use std::fs;

use super::{TRAIN, backbone_weights};
use crate::cli::{assert_refused, draw, run};

#[test]
fn copies_are_told_and_a_target_that_the_images_cannot_carry_is_refused_before_training() {
    if backbone_weights().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw(&at.join("parts"), 12, 128);
    let good = |name: &str| at.join("parts/train/good").join(name);
    // The same picture in another file, and one of the same part.
    image::open(good("003.png")).unwrap().save(good("copy.bmp")).unwrap();
    image::open(good("005.png")).unwrap().brighten(12).save(good("again.png")).unwrap();
    fs::copy(good("007.png"), at.join("parts/test/good/known.png")).unwrap();
    let arguments = [&TRAIN[..], &["--target-overkill", "1%"]].concat();
    let output = run(at, &arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(66), "{told}");
    for expected in [
        "note: exact copies among the good images: 1, for example parts/train/good/003.png and \
         parts/train/good/copy.bmp",
        "note: pairs of good images that look like one part: 1, for example parts/train/good/005.png and \
         parts/train/good/again.png",
        "note: the 14 good images count as 12 parts; images of one part stay on one side",
        "warning: test images that are good images of this training too, and no test of it: 1 \
         (parts/test/good/known.png is parts/train/good/007.png)",
        "299",
    ] {
        assert!(told.contains(expected), "{told}\nshould say {expected}");
    }
    assert!(!told.contains("features"), "{told}");

    fs::copy(good("002.png"), at.join("parts/test/pit/known.png")).unwrap();
    let expected =
        "parts/test/pit/known.png is called defective, but parts/train/good/002.png, the same picture";
    assert_refused(at, &TRAIN, 66, expected);
    // One name before the separator: one part, of which nothing can be held out.
    for (number, file) in fs::read_dir(at.join("parts/train/good")).unwrap().enumerate() {
        fs::rename(file.unwrap().path(), good(&format!("part_{number}.png"))).unwrap();
    }
    let arguments = [&TRAIN[..], &["--group-by", "_", "--force"]].concat();
    let expected =
        "the 14 good images show too few parts to hold some back for the threshold: images of more parts";
    assert_refused(at, &arguments, 66, expected);
}
