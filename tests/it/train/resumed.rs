//! A training whose process is killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use socket2::SockRef;

use super::{backbone_weights, taken_apart};
use crate::cli::{assert_refused, csflowd, draw, run};

fn arguments(epochs: &'static str) -> [&'static str; 13] {
    let [train, data, parts, out, part] = ["train", "--data", "parts", "--out", "part.csflow"];
    [train, data, parts, out, part, "--epochs", epochs, "--device", "cpu", "--folds", "2", "--seed", "4"]
}

/// Starts training and kills it when it says `word`. What it says goes through a socket that holds a few lines and no
/// more, so that it waits there for this test, however busy the machine is, and is never further than a few epochs on.
fn killed_at(folder: &Path, word: &str) {
    let (told, tells) = UnixStream::pair().unwrap();
    // Takes the smallest that there is.
    SockRef::from(&tells).set_send_buffer_size(1).unwrap();
    let mut child = csflowd(folder).args(arguments("12")).stderr(OwnedFd::from(tells)).spawn().unwrap();
    let mut told = BufReader::with_capacity(1, told);
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0, "training ended before it said {word}");
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_killed_training_goes_on_and_gives_the_bundle_of_one_that_was_not() {
    if backbone_weights().is_none() {
        return;
    }
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in [&whole, &parts] {
        draw(&folder.path().join("parts"), 8, 96);
    }
    assert!(run(whole.path(), &arguments("12")).status.success());

    let at = parts.path();
    killed_at(at, "fold 2 of 2, epoch 3 over");
    assert!(at.join("part.csflow.training").is_file() && !at.join("part.csflow").exists());
    let expected =
        "holds an interrupted training with other settings (--epochs was 12 and is 13): go on with those";
    assert_refused(at, &arguments("13"), 64, expected);
    let output = run(at, &arguments("12"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("an interrupted training goes on after fold 1 and epoch "), "{told}");
    assert!(!told.contains("fold 1 of 2, epoch"), "{told}");
    assert!(!fs::exists(at.join("part.csflow.training")).unwrap());

    let [(mut a, a_tensors), (mut b, b_tensors)] =
        [&whole, &parts].map(|folder| taken_apart(&folder.path().join("part.csflow")));
    for manifest in [&mut a, &mut b] {
        assert!(manifest["provenance"]["created"].take().is_string());
    }
    assert_eq!(a, b);
    assert!(a_tensors == b_tensors, "the tensors differ");
}
