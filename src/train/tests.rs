//! The epochs, on a small flow and features from a random generator: no weights, no images.

use std::sync::atomic::AtomicBool;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Tensor};

use super::optimise::Plan;
use super::*;
use crate::model::features::Features;
use crate::model::flow::FlowConfig;
use crate::train::error::TrainError;
use crate::train::features::FeatureStore;

const IMAGES: usize = 20;
fn architecture() -> Architecture {
    let lite = Preset::Lite.architecture();
    let flow = FlowConfig { hidden: 4, kernels: vec![1, 3], ..lite.flow };
    Architecture { input_px: 128, flow, ..lite }
}

/// Features that a flow can learn much about: all of one sign and small.
fn store(architecture: &Architecture, value: impl Fn(&mut Pcg64) -> f32) -> FeatureStore {
    let mut rng = Pcg64::seed_from_u64(1);
    let shapes = architecture.shapes();
    let mut store = FeatureStore::new(IMAGES, shapes.clone()).unwrap();
    for _ in 0..IMAGES {
        let map = |&[channels, height, width]: &[i64; 3]| {
            let values: Vec<f32> = (0..channels * height * width).map(|_| value(&mut rng)).collect();
            Tensor::from_slice(&values).view([1, channels, height, width])
        };
        store.push(&shapes.iter().map(map).collect::<Vec<_>>()).unwrap();
    }
    store
}

fn optimised(value: impl Fn(&mut Pcg64) -> f32, stop: bool) -> anyhow::Result<Outcome> {
    optimised_with(&architecture(), value, stop)
}

fn optimised_with(
    architecture: &Architecture,
    value: impl Fn(&mut Pcg64) -> f32,
    stop: bool,
) -> anyhow::Result<Outcome> {
    let network = Network::untrained(architecture, Device::Cpu);
    let store = store(architecture, value);
    let plan = Plan {
        store: &store,
        trained_on: (0..16).collect(),
        watched: (16..IMAGES).collect(),
        schedule: Schedule { epochs: 8, batch: 8, ..Preset::Lite.schedule() },
        seed: 3,
    };
    optimise::run(&network, &plan, &AtomicBool::new(stop))
}

#[test]
fn the_loss_falls_on_images_trained_on_and_watched_and_the_best_epoch_is_kept() {
    let outcome = optimised(|rng| rng.random_range(0.5..0.7), false).unwrap();
    let Outcome { losses, epoch_kept, watched_loss, stopped } = outcome;
    assert_eq!((losses.len(), stopped), (8, false));
    let ((first, first_watched), (last, last_watched)) = (losses[0], losses[7]);
    assert!(last < first && last_watched < first_watched, "{losses:?}");
    let best = losses.iter().map(|loss| loss.1).fold(f64::INFINITY, f64::min);
    assert_eq!(watched_loss, best);
    assert_eq!(losses[epoch_kept - 1].1, best);
}

#[test]
fn a_flow_of_any_shape_learns() {
    let lite = architecture();
    for (features, scales, cross_scale, whitened) in [
        (Features::Pyramid, 1, true, true),
        (Features::Pyramid, 2, false, false),
        (Features::Pyramid, 3, false, true),
        (Features::Depths, 1, false, true),
        (Features::Depths, 2, false, false),
        (Features::Depths, 3, true, true),
    ] {
        let channels = features.channels(lite.backbone, scales);
        let flow = FlowConfig { channels, cross_scale, ..lite.flow.clone() };
        let architecture = Architecture { features, whitened, flow, ..lite.clone() };
        let Outcome { losses, .. } =
            optimised_with(&architecture, |rng| rng.random_range(0.5..0.7), false).unwrap();
        let ((first, first_watched), (last, last_watched)) = (losses[0], losses[7]);
        assert!(last < first && last_watched < first_watched, "{architecture:?}: {losses:?}");
    }
}

#[test]
fn a_stop_before_the_first_epoch_is_over_leaves_nothing_to_keep() {
    let error = optimised(|rng| rng.random_range(0.5..0.7), true).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(TrainError::Stopped { .. })), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_ends_training_with_a_reason() {
    let error = optimised(|_| f32::NAN, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the loss is NaN at step 0 of epoch 1: training diverged, nothing was written; look for broken images among \
         the good ones"
    );
}
