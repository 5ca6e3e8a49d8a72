//! What cannot be trained with is told by name, early, and nothing is written.

use std::fs;
use std::path::Path;

use csflowd::model::weights::Weights;
use tch::Tensor;

use super::{TRAIN, backbone_weights};
use crate::cli::{assert_refused, draw};

fn names_left(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_image_that_cannot_be_read_is_named_before_features_are_extracted() {
    if backbone_weights().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    draw(&folder.path().join("parts"), 8, 96);
    let image = folder.path().join("parts/train/good/005.png");
    let whole = fs::read(&image).unwrap();
    for (bytes, expected) in [
        (&b"not a picture"[..], "005.png: is not a PNG, JPEG, BMP or TIFF file"),
        (&whole[..whole.len() - 200], "005.png: is cut short"),
        (&[], "005.png: is not a PNG, JPEG, BMP or TIFF file"),
    ] {
        fs::write(&image, bytes).unwrap();
        assert_refused(folder.path(), &TRAIN, 66, expected);
    }
    // Damage that only a full decode finds.
    let mut flipped = whole;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&image, flipped).unwrap();
    assert_refused(folder.path(), &TRAIN, 66, "005.png: is damaged: ");
    assert_eq!(names_left(folder.path()), ["parts"]);
}

#[test]
fn weights_that_do_not_fit_are_refused_with_the_tensor_that_does_not() {
    let Some(weights) = backbone_weights() else { return };
    let folder = tempfile::tempdir().unwrap();
    draw(&folder.path().join("parts"), 8, 96);
    let tensors = Weights::read(&weights).unwrap().tensors;
    let name = "_blocks.3._depthwise_conv.weight";
    let nan = || {
        let mut tensor = tensors[name].copy();
        drop(tensor.get(0).fill_(f64::NAN));
        tensor = tensor.contiguous();
        Some(tensor)
    };
    let cases: [(Option<Tensor>, &str); 4] = [
        (None, "tensor _blocks.3._depthwise_conv.weight is missing"),
        (Some(tensors[name].unsqueeze(0)), "_depthwise_conv.weight has shape [1, "),
        (Some(tensors[name].to_kind(tch::Kind::Double)), "_depthwise_conv.weight has type Double"),
        (nan(), "_depthwise_conv.weight holds a value that is not finite"),
    ];
    for (tensor, expected) in cases {
        let changed: Vec<(&String, Tensor)> = tensors
            .iter()
            .filter_map(|(key, whole)| {
                let kept = if key == name { tensor.as_ref()? } else { whole };
                Some((key, kept.shallow_clone()))
            })
            .collect();
        let file = folder.path().join("changed.safetensors");
        Tensor::write_safetensors(&changed, file).unwrap();
        let arguments = [TRAIN.as_slice(), &["--backbone-weights", "changed.safetensors"]].concat();
        assert_refused(folder.path(), &arguments, 66, expected);
    }
    assert_eq!(names_left(folder.path()), ["changed.safetensors", "parts"]);
}
