//! Bundles as they come back, and bundles as an enemy or a bad disk would have them.

mod rewriting;

use std::collections::BTreeMap;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Kind, Tensor};

use super::fixture::{self, Fixture};
use super::*;
use crate::model::architecture::Architecture;
use crate::model::backbone::BackboneKind;
use crate::model::features::Features;
use crate::model::flow::FlowConfig;
use crate::model::score::scoring::{Fusion, Level, Positions, ScoreKind, Scoring};

const FILE: &str = "part.csflow";

fn encode(fixture: &Fixture) -> Vec<u8> {
    let tensors = writing::tensors(&fixture.network, &fixture.self_test);
    writing::encode(Path::new(FILE), &fixture.manifest, &tensors).unwrap()
}

/// With the tensors changed and the checksum made to fit.
fn encode_changed(fixture: &Fixture, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> Vec<u8> {
    let mut tensors = writing::tensors(&fixture.network, &fixture.self_test);
    change(&mut tensors);
    writing::encode(Path::new(FILE), &fixture.manifest, &tensors).unwrap()
}

fn parse(bytes: &[u8]) -> Result<Bundle, BundleError> {
    Bundle::parse(Path::new(FILE), bytes)
}

/// Why these bytes are refused, by the parser or when the network is filled.
#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    let refused = parse(bytes).and_then(|bundle| bundle.network(Device::Cpu));
    let text = refused.map(drop).expect_err("a bundle like this must be refused").to_string();
    assert!(text.contains(FILE), "{text} names no file");
    text
}

fn header_length(bytes: &[u8]) -> usize {
    usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap()
}

/// The same file with another text in its header.
fn with_header(bytes: &[u8], change: impl FnOnce(&str) -> Vec<u8>) -> Vec<u8> {
    let end = 8 + header_length(bytes);
    let header = change(std::str::from_utf8(&bytes[8..end]).unwrap());
    let length = (header.len() as u64).to_le_bytes();
    [length.as_slice(), &header, &bytes[end..]].concat()
}

#[test]
fn what_was_written_is_read_back_to_the_same_scores_bit_for_bit() {
    let fixture = Fixture::new();
    let bundle = parse(&encode(&fixture)).unwrap();
    assert_eq!(bundle.manifest, fixture.manifest);
    for network in [bundle.network(Device::Cpu).unwrap(), bundle.view(Device::Cpu).unwrap()] {
        for (picture, &expected) in bundle.self_test.iter().zip(&fixture.manifest.self_test.scores) {
            assert!(expected.is_finite() && expected > 0.0);
            assert_eq!(fixture::score(&network, picture).to_bits(), expected.to_bits());
        }
    }
}

#[test]
fn a_network_that_is_only_read_has_the_bundle_s_own_memory() {
    let bundle = parse(&encode(&Fixture::new())).unwrap();
    let places = |network: &Network| -> Vec<_> {
        let variables = [network.backbone_store.variables(), network.flow_store.variables()];
        variables.iter().flat_map(|variables| variables.values().map(Tensor::data_ptr)).collect()
    };
    let [mut own, mut others] =
        [bundle.view(Device::Cpu).unwrap(), bundle.view(Device::Cpu).unwrap()].map(|n| places(&n));
    own.sort();
    others.sort();
    assert_eq!(own, others);
    let copied = places(&bundle.network(Device::Cpu).unwrap());
    assert!(copied.iter().all(|place| !own.contains(place)));
}

#[test]
fn a_network_of_any_shape_is_read_back_to_the_same_scores() {
    for architecture in shapes() {
        let fixture = Fixture::of(architecture);
        let bundle = parse(&encode(&fixture)).unwrap();
        assert_eq!(bundle.manifest, fixture.manifest);
        let network = bundle.network(Device::Cpu).unwrap();
        for (picture, &expected) in bundle.self_test.iter().zip(&fixture.manifest.self_test.scores) {
            assert!(expected.is_finite() && expected > 0.0, "{:?}", fixture.manifest.architecture);
            assert_eq!(fixture::score(&network, picture).to_bits(), expected.to_bits());
        }
    }
}

/// The tiny network with one to three scales from both sources, with and without what can be left out.
fn shapes() -> Vec<Architecture> {
    let mut shapes = Vec::new();
    for (features, scales, cross_scale, whitened) in [
        (Features::Pyramid, 1, true, true),
        (Features::Pyramid, 2, false, true),
        (Features::Pyramid, 3, false, false),
        (Features::Depths, 1, false, false),
        (Features::Depths, 2, true, false),
        (Features::Depths, 3, true, true),
    ] {
        let tiny = fixture::tiny();
        let channels = features.channels(tiny.backbone, scales);
        let flow = FlowConfig { channels, cross_scale, ..tiny.flow };
        shapes.push(Architecture { features, whitened, flow, ..tiny });
    }
    shapes
}

#[test]
fn position_statistics_are_stored_and_looked_over() {
    type Change = fn(&mut BTreeMap<String, Tensor>);
    let mut fixture = Fixture::new();
    let cells = fixture.manifest.architecture.shapes();
    let planes = |value: f64| {
        let plane = |shape: &[i64; 3]| Tensor::full([shape[1], shape[2]], value, (Kind::Float, Device::Cpu));
        cells.iter().map(plane).collect()
    };
    fixture.manifest.scoring = Scoring {
        score: ScoreKind::Max,
        positions: Positions { used: true, images: 12, gain: Some(0.4) },
        ..Scoring::plain()
    };
    let places = Places { centre: planes(1.5), deviation: planes(0.5) };
    let steps = fixture.manifest.architecture.map_steps();
    fixture.network.scorer = Scorer::new(fixture.manifest.scoring.clone(), Some(places), steps);
    let expected = fixture::score(&fixture.network, &fixture.self_test[0]);
    let network = parse(&encode(&fixture)).unwrap().network(Device::Cpu).unwrap();
    assert_eq!(fixture::score(&network, &fixture.self_test[0]).to_bits(), expected.to_bits());

    let cases: [(&str, Change); 3] = [
        ("tensor scoring.centre.1 is missing or not [2, 2] finite f32", |t| {
            drop(t.remove("scoring.centre.1"));
        }),
        ("tensors scoring.deviation must be positive", |t| {
            t.insert("scoring.deviation.2".into(), Tensor::zeros([1, 1], (Kind::Float, Device::Cpu)));
        }),
        ("too many position statistics", |t| {
            t.insert("scoring.centre.3".into(), Tensor::zeros([1, 1], (Kind::Float, Device::Cpu)));
        }),
    ];
    for (expected, change) in cases {
        let text = refusal(&encode_changed(&fixture, change));
        assert!(text.contains(expected), "{text}\nshould say {expected}");
    }
    fixture.manifest.scoring = Scoring::plain();
    let text = refusal(&encode(&fixture));
    assert!(text.contains("position statistics where none are declared"), "{text}");
}

#[test]
fn the_same_values_give_the_same_bytes_and_the_sum_is_that_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a.csflow", "b.csflow"].map(|name| folder.path().join(name));
    for file in &files {
        Fixture::new().write(file);
    }
    let [a, b] = files.each_ref().map(|file| std::fs::read(file).unwrap());
    assert!(a == b, "two bundles of the same values differ");
    assert_eq!(Bundle::read(&files[0]).unwrap().sha256, digest::sha256(&a));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no part files are left");
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let mut bytes = encode(&Fixture::new());
    let data = 8 + header_length(&bytes);
    let mut rng = Pcg64::seed_from_u64(4);
    let mut positions: Vec<usize> = (0..8).chain([data - 1, data, bytes.len() - 1]).collect();
    positions.extend((0..400).map(|_| rng.random_range(8..data)));
    positions.extend((0..60).map(|_| rng.random_range(data..bytes.len())));
    for position in positions {
        let bit = rng.random_range(0..8);
        bytes[position] ^= 1 << bit;
        assert!(parse(&bytes).is_err(), "bit {bit} of byte {position} of {} was not missed", bytes.len());
        bytes[position] ^= 1 << bit;
    }
    assert!(parse(&bytes).is_ok(), "all bits are back in place");
}

#[test]
fn a_bundle_cut_short_anywhere_is_refused_and_so_is_one_with_bytes_behind_it() {
    let mut bytes = encode(&Fixture::new());
    let data = 8 + header_length(&bytes);
    let mut rng = Pcg64::seed_from_u64(5);
    let mut lengths = vec![0, 1, 7, 8, 9, data - 1, data, data + 1, bytes.len() - 1];
    lengths.extend((0..60).map(|_| rng.random_range(0..bytes.len())));
    for length in lengths {
        assert!(parse(&bytes[..length]).is_err(), "cut to {length} of {}", bytes.len());
    }
    bytes.push(0);
    assert!(refusal(&bytes).contains("is not a whole safetensors file"));
}

#[test]
fn sizes_that_the_file_does_not_hold_are_refused_before_memory_is_taken() {
    let mut fixture = Fixture::new();
    // 8192 x 192 x 15 x 15 x 10 x 2 x 32 floats: 900 gigabytes, which no test machine gives.
    fixture.manifest.architecture.flow.hidden = 8192;
    fixture.manifest.architecture.flow.kernels = vec![15; 32];
    let text = refusal(&encode(&fixture));
    assert!(text.contains("architecture.flow: makes a flow of"), "{text}");
}

#[test]
fn a_manifest_that_no_network_can_have_names_its_key() {
    type Change = fn(&mut Manifest);
    let cases: [(&str, Change); 20] = [
        ("architecture.input_px: 4224", |m| m.architecture.input_px = 4224),
        ("architecture.input_px: -128", |m| m.architecture.input_px = -128),
        ("architecture.flow.channels: [9223372036854775807, 192, 192]", |m| {
            m.architecture.flow.channels[0] = i64::MAX;
        }),
        ("architecture.flow.channels: has 0 scales", |m| m.architecture.flow.channels.clear()),
        ("architecture.flow.channels: has 9 scales", |m| m.architecture.flow.channels = vec![192; 9]),
        ("architecture.flow.channels: [192, 192, 192] is not", |m| {
            m.architecture.features = Features::Depths;
        }),
        ("architecture.flow.channels: [192, 192, 192] is not", |m| {
            m.architecture.backbone = BackboneKind::EfficientnetB5;
        }),
        ("architecture.flow.hidden: 9223372036854775807", |m| m.architecture.flow.hidden = i64::MAX),
        ("architecture.flow.hidden: 0", |m| m.architecture.flow.hidden = 0),
        ("architecture.flow.kernels: [2, 3]", |m| m.architecture.flow.kernels = vec![2, 3]),
        ("architecture.flow.kernels: []", |m| m.architecture.flow.kernels = vec![]),
        ("architecture.flow.clamp: 0", |m| m.architecture.flow.clamp = 0.0),
        ("scoring.score.top_k.share: 1.5", |m| m.scoring.score = ScoreKind::TopK { share: 1.5 }),
        ("scoring.fusion: 1 levels for 3 scales", |m| {
            m.scoring.fusion = Fusion::Normalised(vec![Level { centre: 1.0, spread: 1.0 }]);
        }),
        ("scoring.fusion: a level is not finite", |m| {
            m.scoring.fusion = Fusion::Normalised(vec![Level { centre: 1.0, spread: 0.0 }; 3]);
        }),
        ("scoring.roi_sha256: is not 64", |m| m.scoring.roi_sha256 = Some("3f9a".into())),
        ("preprocess:", |m| m.preprocess.mean = [0.0; 3]),
        ("self_test.scores:", |m| m.self_test.scores = vec![]),
        ("self_test.tolerance: 0.5", |m| m.self_test.tolerance = 0.5),
        ("3 self-test pictures", |_| {}),
    ];
    for (expected, change) in cases {
        let mut fixture = Fixture::new();
        change(&mut fixture.manifest);
        if expected.starts_with('3') {
            fixture.self_test.push(fixture.self_test[0].shallow_clone());
        }
        let text = refusal(&encode(&fixture));
        assert!(text.contains(expected), "{text}\nshould say {expected}");
    }
}

#[test]
fn each_tensor_that_is_missing_or_wrong_is_named() {
    type Change = fn(&mut BTreeMap<String, Tensor>);
    let cases: [(&str, Change); 15] = [
        ("tensor block.0.s1.gamma0 is missing", |t| {
            // The same number of values, under another name.
            let gamma = t.remove("flow.block.0.s1.gamma0").unwrap();
            t.insert("flow.gamma".into(), gamma);
        }),
        ("tensor _conv_stem.weight is missing", |t| drop(t.remove("backbone._conv_stem.weight"))),
        ("tensor \"more\" belongs to no part", |t| {
            t.insert("backbone.more".into(), Tensor::from_slice(&[1.0_f32]));
        }),
        ("tensor \"evil\\u{1b}[2J\" belongs to no part of a bundle", |t| {
            t.insert("evil\u{1b}[2J".into(), Tensor::from_slice(&[1.0_f32]));
        }),
        ("tensor block.0.s1.gamma0 holds a value that is not finite", |t| {
            t.insert("flow.block.0.s1.gamma0".into(), Tensor::from_slice(&[f32::NAN]));
        }),
        ("tensor block.0.s1.gamma0 has type Double", |t| {
            t.insert("flow.block.0.s1.gamma0".into(), Tensor::from_slice(&[0.0_f64]));
        }),
        ("tensor block.0.s1.gamma0 has shape [1, 1]", |t| {
            t.insert("flow.block.0.s1.gamma0".into(), Tensor::from_slice(&[0.0_f32]).view([1, 1]));
        }),
        ("tensor \"flow.block.0.s1.gamma0\" has shape [1, 1, 1, 1, 1, 1, 1, 1, 1]", |t| {
            t.insert("flow.block.0.s1.gamma0".into(), Tensor::from_slice(&[0.0_f32]).view([1; 9].as_slice()));
        }),
        ("tensor \"backbone.empty\" has shape [0, 4611686018427387904]", |t| {
            let empty = Tensor::from_slice(&[0.0_f32; 0]).view([0, 1 << 62]);
            t.insert("backbone.empty".into(), empty);
        }),
        ("tensor permutation.0.1 is not an order of 192 channels", |t| {
            t.insert("permutation.0.1".into(), Tensor::from_slice(&[0_i64; 192]));
        }),
        ("tensor permutation.0.1 is missing or not a list of i64", |t| {
            let order = t["permutation.0.1"].to_kind(Kind::Float);
            t.insert("permutation.0.1".into(), order);
        }),
        ("7 permutations for 2 blocks", |t| {
            let order = t["permutation.0.1"].shallow_clone();
            t.insert("permutation.2.0".into(), order);
        }),
        ("tensor whitening.matrix.2 is not [192, 192] finite f32", |t| {
            t.insert("whitening.matrix.2".into(), Tensor::eye(192, (Kind::Float, Device::Cpu)) / 0.0);
        }),
        ("tensor whitening.mean.0 is missing", |t| drop(t.remove("whitening.mean.0"))),
        ("tensor self_test.1 is missing or not [1, 3, 128, 128] u8", |t| {
            t.insert("self_test.1".into(), Tensor::zeros([1, 3, 64, 64], (Kind::Uint8, Device::Cpu)));
        }),
    ];
    let fixture = Fixture::new();
    for (expected, change) in cases {
        let text = refusal(&encode_changed(&fixture, change));
        assert!(text.contains(expected), "{text}\nshould say {expected}");
    }
}

#[test]
fn a_tensor_of_a_type_that_no_network_has_is_refused_whatever_is_in_it() {
    let fixture = Fixture::new();
    let bytes = encode(&fixture);
    let bytes = with_header(&bytes, |header| header.replace("\"U8\"", "\"I8\"").into_bytes());
    let text = refusal(&bytes);
    assert!(text.contains("tensor \"self_test.0\" has type I8") || text.contains("self_test.1"), "{text}");
}

#[test]
fn another_format_is_told_apart_from_damage() {
    let fixture = Fixture::new();
    let bytes = encode(&fixture);
    let with = |from: &str, to: &str| {
        with_header(&bytes, |header| {
            assert!(header.contains(from), "{from} is not in the header");
            header.replacen(from, to, 1).into_bytes()
        })
    };
    for other in [1, 3] {
        let text = refusal(&with(r#"{\"format\":2,"#, &format!(r#"{{\"format\":{other},\"new\":[],"#)));
        let expected = format!("has bundle format {other}; this csflowd reads format 2: train again or");
        assert!(text.contains(&expected), "{text}");
    }
    let text = refusal(&with(r#"{\"format\":2,"#, r#"{\"format\":2,\"new\":[],"#));
    assert!(text.contains("the manifest cannot be read"), "{text}");
    let text = refusal(&with(r#"\"created\":\"2026"#, r#"\"created\":\"2027"#));
    assert!(text.contains("is damaged: its contents do not match its SHA-256"), "{text}");
    let text = refusal(&with("\"csflowd\":", "\"csflow\":"));
    assert!(text.contains("is a safetensors file but not a csflowd bundle"), "{text}");
    let text = refusal(&with(r#""csflowd":"{"#, r#""csflowd":"<"#));
    assert!(text.contains("the manifest cannot be read"), "{text}");
}

#[test]
fn a_header_that_is_not_text_not_json_or_nested_without_end_is_refused() {
    type Change<'a> = &'a dyn Fn(&str) -> Vec<u8>;
    let bytes = encode(&Fixture::new());
    let deep = "[".repeat(1_000_000);
    let headers: [Change<'_>; 5] = [
        &|header| header.replacen("csflowd", "\u{1}\u{1}", 1).bytes().map(|b| b.max(0x80)).collect(),
        &|_| b"{\"__metadata__\":".to_vec(),
        &|_| deep.clone().into_bytes(),
        &|_| format!("{{\"__metadata__\":{{\"csflowd\":\"{deep}\"}}}}").into_bytes(),
        &|header| header.replacen("[0,", "[18446744073709551615,", 1).into_bytes(),
    ];
    for change in headers {
        refusal(&with_header(&bytes, change));
    }
    // A header that says it is larger than any file.
    let mut huge = bytes;
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refusal(&huge);
}

#[test]
fn noise_of_any_length_is_no_bundle() {
    let mut rng = Pcg64::seed_from_u64(6);
    for _ in 0..500 {
        let length = rng.random_range(0..200_usize);
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        refusal(&bytes);
        // The same with a header length that fits, so that the parser goes on.
        if let (Some(first), Some(rest)) = (bytes.get_mut(..8), length.checked_sub(8)) {
            first.copy_from_slice(&(rest as u64).to_le_bytes());
            refusal(&bytes);
        }
    }
}
