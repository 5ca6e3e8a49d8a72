//! The plan against the plain network, on random networks of every shape that a bundle may have.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::cuda;
use crate::engine::threads;
use crate::model::architecture::Architecture;
use crate::model::backbone::BackboneKind;
use crate::model::features::Features;
use crate::model::flow::FlowConfig;
use crate::model::network::draw_permutations;
use crate::model::preset::Preset;
use crate::model::whitening::Whitening;

/// The largest difference of a score, relative to it, that rounding makes.
const ROUNDING: f64 = 2e-5;

pub(super) fn architecture(backbone: BackboneKind, features: Features, scales: usize) -> Architecture {
    let lite = Preset::Lite.architecture();
    let channels = features.channels(backbone, scales);
    let flow = FlowConfig { channels, hidden: 6, kernels: vec![3, 5], ..lite.flow };
    let made = Architecture { backbone, features, input_px: 128, flow, ..lite };
    assert_eq!(made.check(), Ok(()));
    made
}

/// Random parameters under which values keep their scale on the way through.
pub(super) fn network(architecture: &Architecture, seed: u64) -> Network {
    network_on(Device::Cpu, architecture, seed)
}

fn network_on(device: Device, architecture: &Architecture, seed: u64) -> Network {
    let mut network = Network::new(architecture, draw_permutations(architecture, seed), device);
    let mut rng = Pcg64::seed_from_u64(seed);
    let stores = [network.backbone_store.variables(), network.flow_store.variables()];
    let mut variables: Vec<_> = stores.into_iter().flatten().collect();
    variables.sort_by(|one, other| one.0.cmp(&other.0));
    tch::no_grad(|| {
        for (name, mut variable) in variables {
            let size = variable.size();
            let bound = match size.as_slice() {
                [_, input, height, width] => {
                    f64::from(u32::try_from(input * height * width).unwrap()).sqrt().recip()
                }
                _ => 0.3,
            };
            let values = if name.ends_with("running_var") || (name.ends_with("weight") && size.len() == 1) {
                random(&size, 0.5, 1.5, &mut rng)
            } else if name.contains("gamma") {
                // The more blocks, the less of each: together they stay far from the cut.
                let share = 2.0 / f64::from(u32::try_from(architecture.flow.kernels.len()).unwrap());
                random(&size, 0.4 * share, 0.9 * share, &mut rng)
            } else {
                random(&size, -2.0 * bound, 2.0 * bound, &mut rng)
            };
            variable.copy_(&values);
        }
    });
    network.whitening = architecture.whitened.then(|| {
        let channels = &architecture.flow.channels;
        let mean = channels.iter().map(|&c| random(&[c], -0.5, 0.5, &mut rng)).collect();
        let matrix = channels
            .iter()
            .map(|&c| random(&[c, c], -0.1, 0.1, &mut rng) + Tensor::eye(c, (Kind::Float, Device::Cpu)));
        Whitening::new(mean, matrix.collect()).to_device(device)
    });
    network
}

fn random(size: &[i64], low: f64, high: f64, rng: &mut Pcg64) -> Tensor {
    let count: i64 = size.iter().product();
    let values: Vec<f64> = (0..count).map(|_| rng.random_range(low..high)).collect();
    Tensor::from_slice(&values).view(size).to_kind(Kind::Float)
}

fn picture(side: i64) -> Tensor {
    random(&[1, 3, side, side], -2.0, 2.0, &mut Pcg64::seed_from_u64(99))
}

/// The score of a picture by the plain network and by the plan; that their maps agree is looked at as well.
fn scores_by(
    network: &Network,
    picture: &Tensor,
    (computed, threads): (Computed, i32),
    tolerance: f64,
) -> (f64, f64) {
    let fused = Fused::new(network, computed, threads).unwrap();
    scores_of(&fused, network, picture, tolerance)
}

/// `network` is on the CPU, the picture where the plan is.
fn scores_of(fused: &Fused, network: &Network, picture: &Tensor, tolerance: f64) -> (f64, f64) {
    let _guard = tch::no_grad_guard();
    let plain = network.read(&picture.to_device(Device::Cpu));
    let latent = fused.latent(picture).unwrap();
    let latent: Scales = latent.iter().map(|scale| scale.to_device(Device::Cpu)).collect();
    let found = network.scorer.read(&latent);
    assert_eq!(found.maps.size(), plain.maps.size());
    let difference = (&found.maps - &plain.maps).abs().max().double_value(&[]);
    let largest = plain.maps.max().double_value(&[]);
    assert!(difference <= 10.0 * tolerance * largest, "a map differs by {difference} of {largest}");
    (plain.scores.double_value(&[0]), found.scores.double_value(&[0]))
}

/// The plan for the network's device; and for the CPU also what a CUDA device has.
fn plans(network: &Network, computed: Computed) -> Vec<(&'static str, Fused)> {
    let _guard = tch::no_grad_guard();
    let device = || Fused(Where::Device(OnDevice::new(network, computed).unwrap()));
    let mut plans = vec![("device", device())];
    if network.device() == Device::Cpu && computed != Computed::F16 {
        plans.push(("onednn", Fused::new(network, computed, 1).unwrap()));
    }
    plans
}

#[track_caller]
fn assert_same(architecture: &Architecture) {
    let cpu = network(architecture, 5);
    let picture = picture(architecture.input_px);
    for &device in cuda::devices::devices().iter() {
        let network = network_on(device, architecture, 5);
        for (name, fused) in plans(&network, Computed::F32) {
            let (plain, fused) = scores_of(&fused, &cpu, &picture.to_device(device), ROUNDING);
            assert!(plain.is_finite() && plain > 0.01, "{plain} says nothing");
            let difference = (fused - plain).abs();
            assert!(
                difference <= ROUNDING * plain,
                "{device:?}, {name}, {architecture:?}: plain {plain}, fused {fused}"
            );
        }
    }
}

#[test]
fn networks_of_every_shape_score_as_the_plain_network_does() {
    for features in Features::ALL {
        for scales in 1..=3 {
            for (cross_scale, whitened) in [(true, true), (false, false)] {
                let mut architecture = architecture(BackboneKind::EfficientnetLite0, features, scales);
                architecture.input_px = 128 + (features.stride() << (scales - 1));
                architecture.flow.cross_scale = cross_scale;
                architecture.whitened = whitened;
                assert_eq!(architecture.check(), Ok(()));
                assert_same(&architecture);
            }
        }
    }
}

#[test]
fn every_backbone_gives_the_plain_network_s_features() {
    for kind in BackboneKind::ALL {
        for features in Features::ALL {
            assert_same(&architecture(kind, features, 3));
        }
    }
}

#[test]
fn any_number_of_blocks_and_any_kernel_will_do() {
    let base = architecture(BackboneKind::EfficientnetLite0, Features::Depths, 2);
    for kernels in [&[1][..], &[3], &[7, 1, 3], &[3; 6]] {
        let flow = FlowConfig { kernels: kernels.to_vec(), clamp: 1.7, ..base.flow.clone() };
        assert_same(&Architecture { flow, ..base.clone() });
    }
}

#[test]
fn features_are_those_of_the_plain_network() {
    let _guard = tch::no_grad_guard();
    for features in Features::ALL {
        let network = network(&architecture(BackboneKind::EfficientnetLite0, features, 3), 7);
        let picture = picture(128);
        let plain = network.features(&picture);
        let fused = Trunks::new(&network, Computed::F32, 1).unwrap().features(&picture).unwrap();
        for (plain, fused) in plain.iter().zip(&fused) {
            let error = (fused - plain).norm().double_value(&[]) / plain.norm().double_value(&[]);
            assert!(error < 1e-5, "{error}");
        }
    }
}

#[test]
fn any_number_of_threads_will_do() {
    let network = network(&architecture(BackboneKind::EfficientnetLite0, Features::Pyramid, 3), 9);
    let before = threads::count();
    for threads in [1, 2, 3, 5] {
        let (plain, fused) = scores_by(&network, &picture(128), (Computed::F32, threads), ROUNDING);
        assert!((fused - plain).abs() <= ROUNDING * plain, "{threads} threads: plain {plain}, fused {fused}");
        assert_eq!(threads::count(), before, "they are given back");
    }
}

#[test]
fn what_fails_in_a_smaller_picture_fails_the_whole_and_spoils_nothing_after_it() {
    let network = network(&architecture(BackboneKind::EfficientnetLite0, Features::Pyramid, 2), 10);
    let fused = Fused::new(&network, Computed::F32, 2).unwrap();
    let _guard = tch::no_grad_guard();
    let first = fused.latent(&picture(128)).unwrap();
    // Five channels where three belong.
    let odd = Tensor::zeros([1, 5, 128, 128], (Kind::Float, Device::Cpu));
    assert!(fused.latent(&odd).is_err());
    assert_eq!(fused.latent(&picture(128)).unwrap(), first);
}

#[test]
fn in_coarser_precisions_scores_move_a_little() {
    for &device in cuda::devices::devices().iter() {
        for kind in [BackboneKind::EfficientnetLite0, BackboneKind::EfficientnetB5] {
            for (computed, most) in [(Computed::Bf16, 0.05), (Computed::F16, 0.01)] {
                let architecture = architecture(kind, Features::Pyramid, 3);
                let (cpu, network) = (network(&architecture, 8), network_on(device, &architecture, 8));
                for (name, fused) in plans(&network, computed) {
                    let (plain, fused) = scores_of(&fused, &cpu, &picture(128).to_device(device), most);
                    let moved = (fused - plain).abs() / plain;
                    assert!(
                        moved > 0.0 && moved < most,
                        "{kind:?} by {name} on {device:?}: plain {plain}, {computed:?} {fused}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_device_takes_pictures_together() {
    let _guard = tch::no_grad_guard();
    for features in Features::ALL {
        let network = network(&architecture(BackboneKind::EfficientnetLite0, features, 2), 11);
        let (_, fused) = plans(&network, Computed::F32).remove(0);
        assert!(fused.takes_batches());
        let pictures = random(&[3, 3, 128, 128], -2.0, 2.0, &mut Pcg64::seed_from_u64(98));
        let together = network.scorer.read(&fused.latent(&pictures).unwrap()).scores;
        for i in 0..3 {
            let alone =
                network.scorer.read(&network.run(&pictures.narrow(0, i, 1))).scores.double_value(&[0]);
            let found = together.double_value(&[i]);
            assert!(
                (found - alone).abs() <= ROUNDING * alone,
                "picture {i}: alone {alone}, together {found}"
            );
        }
    }
}

#[test]
fn what_is_too_large_for_f16_is_never_good() {
    let _guard = tch::no_grad_guard();
    let architecture = architecture(BackboneKind::EfficientnetLite0, Features::Pyramid, 2);
    let score = |network: &Network, level: f64| {
        let (_, fused) = plans(network, Computed::F16).remove(0);
        let picture = Tensor::full([1, 3, 128, 128], level, (Kind::Float, Device::Cpu));
        network.scorer.read(&fused.latent(&picture).unwrap()).scores.double_value(&[0])
    };
    let sound = network(&architecture, 12);
    let usual = score(&sound, 0.5);
    assert!(usual.is_finite(), "{usual}");
    for level in [f64::NAN, f64::INFINITY] {
        assert!(!score(&sound, level).is_finite(), "{}", score(&sound, level));
    }
    for layer in ["block.0.s2.conv_scale0_0", "block.0.s1.conv_scale1_1", "block.1.s1.conv_scale0_1"] {
        for parameter in ["weight", "bias"] {
            let network = network(&architecture, 12);
            let mut parameters = network.flow_store.variables();
            let large = parameters.get_mut(&format!("{layer}.{parameter}")).unwrap();
            drop(large.f_mul_scalar_(1e7).unwrap());
            let score = score(&network, 0.5);
            assert!(
                !score.is_finite() || score > 1e4 * usual,
                "{layer}.{parameter}: {score}, usually {usual}"
            );
        }
    }
}
