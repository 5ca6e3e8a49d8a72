//! Ctrl-C while training.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use csflowd::config::engine::{Device, Precision};
use csflowd::engine::{Engine, How};
use csflowd::model::bundle::Bundle;

use super::backbone_weights;
use crate::cli::{csflowd, draw};

/// A training that ends with the test.
struct Training {
    child: Child,
    told: BufReader<ChildStderr>,
}

impl Training {
    fn start(folder: &Path, images: u32, [epochs, folds]: [&str; 2]) -> Self {
        draw(&folder.join("parts"), images, 96);
        let mut child = csflowd(folder)
            .args(["train", "--data", "parts", "--out", "part.csflow", "--epochs", epochs, "--folds", folds])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        Self { child, told }
    }

    /// Presses Ctrl-C when a line with `word` has come, and waits for the end.
    fn interrupt_at(&mut self, word: &str) -> (ExitStatus, String) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(self.told.read_line(&mut line).unwrap() > 0, "training ended before it said {word}");
        }
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut rest = String::new();
        self.told.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn in_the_middle_keeps_the_best_epoch_so_far() {
    if backbone_weights().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (status, told) = Training::start(folder.path(), 32, ["1000", "0"]).interrupt_at("epoch 1 over");
    assert_eq!(status.code(), Some(0), "{told}");
    assert!(told.contains("the best so far is kept"), "{told}");
    let bundle = Bundle::read(&folder.path().join("part.csflow")).unwrap();
    assert!((1..1000).contains(&bundle.manifest.provenance.epoch_kept));
    let judge = bundle.manifest.calibration.judge();
    Engine::load(
        &bundle,
        How { device: Device::Cpu, precision: Precision::F32, threads: 1, together: 1, judge },
    )
    .unwrap();
}

#[test]
fn before_the_first_epoch_writes_nothing_and_ends_as_interrupted() {
    if backbone_weights().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (status, told) = Training::start(folder.path(), 32, ["1000", "0"]).interrupt_at("features");
    assert_eq!(status.code(), Some(130), "{told}");
    assert!(told.contains("csflowd: stopped before training began; nothing was written"), "{told}");
    assert!(!folder.path().join("part.csflow").exists());
}

#[test]
fn in_a_later_fold_says_that_the_folds_before_are_kept() {
    if backbone_weights().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let training = Training::start(folder.path(), 8, ["1", "2"]);
    let (status, told) = { training }.interrupt_at("fold 1 of 2, epoch 1 over");
    assert_eq!(status.code(), Some(130), "{told}");
    let expected = "stopped before the first epoch was over; no bundle was written, and the same command goes on from here";
    assert!(told.contains(expected), "{told}");
    assert!(
        folder.path().join("part.csflow.training").is_file() && !folder.path().join("part.csflow").exists()
    );
}
