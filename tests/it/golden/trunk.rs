//! Backbones against torchvision and TensorFlow's weights.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use csflowd::model::backbone::{Backbone, BackboneKind};
use csflowd::model::preprocess::{self, Preprocess};
use csflowd::model::pyramid::pyramid;
use csflowd::model::weights::Weights;
use tch::{Device, Kind, Tensor, nn};

use super::{Golden, largest};

/// The stages whose outputs are compared.
const TAPS: [usize; 1] = [6];

/// Relative to the largest value: random weights amplify rounding.
const TOLERANCE: f64 = 1e-3;

pub(super) fn lite_kind(file_name: &str) -> Option<BackboneKind> {
    let kinds = [
        ("lite0_", BackboneKind::EfficientnetLite0),
        ("lite1_", BackboneKind::EfficientnetLite1),
        ("lite2_", BackboneKind::EfficientnetLite2),
    ];
    kinds.into_iter().find(|(prefix, _)| file_name.starts_with(prefix)).map(|(_, kind)| kind)
}

/// False if the weights are not on this machine.
pub(super) fn check_lite(golden: &Golden, kind: BackboneKind) -> bool {
    let Some(file) = csflowd::model::weights::find(kind) else {
        println!("{}: skipped, no weights of {}: run `make setup`", golden.0.file.display(), kind.name());
        return false;
    };
    let image = preprocess::normalise(golden.tensor("image"), &Preprocess::known(), Device::Cpu);
    check(golden, kind, &Weights::read(&file).unwrap(), &image);
    true
}

pub(super) fn check_b5(golden: &Golden, keys: &Path) {
    let keys: Vec<(String, Vec<i64>)> = serde_json::from_slice(&std::fs::read(keys).unwrap()).unwrap();
    let weights = synthetic_weights(golden, &keys);
    let image = golden.tensor("image").to_kind(Kind::Float);
    check(golden, BackboneKind::EfficientnetB5, &weights, &image);
}

fn check(golden: &Golden, kind: BackboneKind, weights: &Weights, image: &Tensor) {
    let _guard = tch::no_grad_guard();
    let store = nn::VarStore::new(Device::Cpu);
    let backbone = Backbone::new(&store.root(), kind, &TAPS);
    weights.load_into(&store, |name| kind.is_beyond(&TAPS, name)).unwrap();
    for (s, image) in pyramid(image, 3).iter().enumerate() {
        let name = format!("features.{s}");
        let features = backbone.forward(image).remove(0);
        assert_eq!(features.size()[1], kind.channels(6));
        golden.assert_close(&name, &features, TOLERANCE * largest(golden.tensor(&name)));
    }
}

/// The weights that anyone can regenerate: see `tests/golden/README.md`.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 values")]
fn synthetic_weights(golden: &Golden, keys: &[(String, Vec<i64>)]) -> Weights {
    let phase: u64 = golden.number("phase");
    let mut tensors = BTreeMap::new();
    for (k, (name, shape)) in (0_u64..).zip(keys) {
        let tensor = if name.contains("running_") {
            if BackboneKind::EfficientnetB5.is_beyond(&TAPS, name) {
                continue;
            }
            golden.tensor(&format!("bn.{name}")).shallow_clone()
        } else {
            let count: i64 = shape.iter().product();
            let u = uniform(phase << 48 | k << 32, u64::try_from(count).unwrap()).view(shape.as_slice());
            if shape.len() >= 2 {
                u * (3.0 / shape[1..].iter().product::<i64>() as f64).sqrt()
            } else if name.ends_with(".weight") {
                u * 0.2 + 1.0
            } else {
                u * 0.1
            }
        };
        tensors.insert(name.clone(), tensor.to_kind(Kind::Float));
    }
    Weights { file: golden.0.file.clone(), tensors, metadata: HashMap::new() }
}

/// In [-1, 1).
#[expect(clippy::cast_precision_loss, reason = "both are at most 2^53")]
fn uniform(stream: u64, count: u64) -> Tensor {
    let value = |i: u64| (splitmix64(stream | i) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
    Tensor::from_slice(&(0..count).map(value).collect::<Vec<f64>>())
}

fn splitmix64(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
