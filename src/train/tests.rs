//! The epochs, on a small flow and features from a random generator: no weights, no images.

use std::sync::atomic::AtomicBool;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Tensor};

use super::optimise::Plan;
use super::*;
use crate::model::SCALES;
use crate::model::flow::FlowConfig;
use crate::model::preset::Architecture;
use crate::train::error::TrainError;
use crate::train::features::FeatureStore;

const IMAGES: usize = 20;
const CELLS: [i64; SCALES] = [4, 2, 1];

fn network() -> Network {
    let architecture = Preset::Lite.architecture();
    let flow = FlowConfig { hidden: 4, kernels: vec![1, 3], ..architecture.flow.clone() };
    Network::untrained(&Architecture { input_px: 128, flow, ..architecture }, Device::Cpu)
}

/// Features that a flow can learn much about: all of one sign and small.
fn store(channels: i64, value: impl Fn(&mut Pcg64) -> f32) -> FeatureStore {
    let mut rng = Pcg64::seed_from_u64(1);
    let mut store = FeatureStore::new(IMAGES, CELLS.map(|side| [channels, side, side])).unwrap();
    for _ in 0..IMAGES {
        store
            .push(&CELLS.map(|side| {
                let values: Vec<f32> = (0..channels * side * side).map(|_| value(&mut rng)).collect();
                Tensor::from_slice(&values).view([1, channels, side, side])
            }))
            .unwrap();
    }
    store
}

fn optimised(value: impl Fn(&mut Pcg64) -> f32, stop: bool) -> anyhow::Result<Outcome> {
    let network = network();
    let store = store(network.architecture.flow.channels, value);
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
