//! The network against numbers made with PyTorch: see `tests/golden/README.md`.
//!
//! Reads every file of `CSFLOWD_GOLDEN_DIR`, or of `tests/golden`. A file's kind is its prefix; sizes stand in
//! its metadata and shapes, so more cases need no code.

mod flow;
mod trunk;

use std::path::{Path, PathBuf};

use csflowd::model::weights::Weights;
use tch::{Kind, Tensor};

#[test]
fn the_network_reproduces_every_golden_file() {
    let folder = std::env::var_os("CSFLOWD_GOLDEN_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), PathBuf::from);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    let mut checked = 0;
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let golden = Golden(Weights::read(file).unwrap());
        if name.starts_with("flow_") {
            flow::check(&golden);
        } else if name.starts_with("efficientnet_b5_") {
            trunk::check_b5(&golden, &folder.join("efficientnet_b5_keys.json"));
        } else if let Some(kind) = trunk::lite_kind(name) {
            if !trunk::check_lite(&golden, kind) {
                continue;
            }
        } else {
            println!("{name}: not a kind of golden file that this test knows");
            continue;
        }
        println!("{name}: reproduced");
        checked += 1;
    }
    assert!(checked > 0, "{} holds no golden file", folder.display());
}

/// One file of golden numbers.
struct Golden(Weights);

impl Golden {
    fn tensor(&self, name: &str) -> &Tensor {
        self.0.tensors.get(name).unwrap_or_else(|| panic!("{} lacks {name}", self.0.file.display()))
    }

    fn text(&self, key: &str) -> &str {
        self.0.metadata.get(key).unwrap_or_else(|| panic!("{} lacks {key}", self.0.file.display()))
    }

    fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, key: &str) -> T {
        self.text(key).parse().unwrap()
    }

    #[track_caller]
    fn assert_close(&self, name: &str, ours: &Tensor, absolute: f64) {
        let golden = self.tensor(name);
        assert_eq!(ours.size(), golden.size(), "{name}: shape");
        let error = (ours.to_kind(Kind::Double) - golden.to_kind(Kind::Double)).abs().max().double_value(&[]);
        let file = self.0.file.display();
        assert!(error <= absolute, "{file}: {name} is off by {error:e}, allowed {absolute:e}");
    }
}

fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}
