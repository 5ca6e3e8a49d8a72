//! The epochs, on a small flow and features from a random generator: no weights, no images.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Tensor};

use super::optimise::{Losses, Plan, Run, Told};
use super::*;
use crate::clock::SystemClock;
use crate::model::features::Features;
use crate::model::flow::FlowConfig;
use crate::model::network::Network;
use crate::train::error::TrainError;
use crate::train::features::FeatureStore;
use crate::train::saved::Settings;

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
    let mut store = FeatureStore::new(&std::env::temp_dir(), IMAGES, shapes.clone()).unwrap();
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
    finish(Run::new(&network, &schedule()), &network, &plan(&store), &mut |_| Ok(()), &AtomicBool::new(stop))
}

fn plan(store: &FeatureStore) -> Plan<'_> {
    let schedule = schedule();
    let (trained_on, watched) = ((0..16).collect(), (16..IMAGES).collect());
    Plan { store, trained_on, watched, schedule, last_epoch: schedule.epochs, seed: 3 }
}

fn schedule() -> Schedule {
    Schedule { epochs: 8, batch: 8, ..Preset::Lite.schedule() }
}

fn finish(
    run: Run,
    network: &Network,
    plan: &Plan<'_>,
    keep: &mut dyn FnMut(&Run) -> anyhow::Result<()>,
    stop: &AtomicBool,
) -> anyhow::Result<Outcome> {
    let mut progress = Progress::start("training", 16);
    let mut told = Told { progress: &mut progress, steps_before: 0, prefix: String::new() };
    run.finish(network, plan, &mut told, keep, stop)
}

fn watched(losses: &[Losses]) -> Vec<f64> {
    losses.iter().map(|losses| losses.watched.unwrap()).collect()
}

#[test]
fn the_loss_falls_on_images_trained_on_and_watched_and_the_best_epoch_is_kept() {
    let outcome = optimised(|rng| rng.random_range(0.5..0.7), false).unwrap();
    let Outcome { losses, epoch_kept, watched_loss, stopped } = outcome;
    assert_eq!((losses.len(), stopped), (8, false));
    assert_falls(&losses);
    let best = watched(&losses).into_iter().fold(f64::INFINITY, f64::min);
    assert_eq!(watched_loss, Some(best));
    assert_eq!(losses[epoch_kept - 1].watched, Some(best));
}

#[track_caller]
fn assert_falls(losses: &[Losses]) {
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last.trained_on < first.trained_on && last.watched < first.watched, "{losses:?}");
}

#[test]
fn without_watched_images_the_last_epoch_is_kept_and_it_need_not_be_the_schedules() {
    let architecture = architecture();
    let network = Network::untrained(&architecture, Device::Cpu);
    let store = store(&architecture, |rng| rng.random_range(0.5..0.7));
    let plan = Plan { watched: Vec::new(), last_epoch: 3, ..plan(&store) };
    let run = Run::new(&network, &plan.schedule);
    let outcome = finish(run, &network, &plan, &mut |_| Ok(()), &AtomicBool::new(false)).unwrap();
    assert_eq!((outcome.losses.len(), outcome.epoch_kept, outcome.watched_loss), (3, 3, None));
    assert!(!outcome.stopped);
}

/// Values of the flow's parameters after training with this state from `first` on, which is interrupted after an epoch
/// if `interrupt`.
fn trained(out: &Path, first: &Network, interrupt: bool) -> (Vec<Tensor>, anyhow::Result<Outcome>) {
    let architecture = architecture();
    // By value: libtorch's generator is shared with the tests beside this one.
    let mut network = Network::untrained(&architecture, Device::Cpu);
    network.flow_store.copy(&first.flow_store).unwrap();
    let store = store(&architecture, |rng| rng.random_range(0.5..0.7));
    let clock = SystemClock::start();
    let mut saved = Saved::open(out, Settings::new(), false, &clock).unwrap();
    let mut run = Run::new(&network, &schedule());
    saved.go_on(&mut run).unwrap();
    let stop = AtomicBool::new(false);
    let mut keep = |run: &Run| {
        stop.store(interrupt && run.losses.len() == 3, Relaxed);
        Ok(saved.keep(run)?)
    };
    let outcome = finish(run, &network, &plan(&store), &mut keep, &stop);
    (Run::new(&network, &schedule()).parameters.values().0, outcome)
}

#[test]
fn a_training_that_goes_on_ends_as_if_it_had_never_been_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let first = Network::untrained(&architecture(), Device::Cpu);
    let (whole, expected) = trained(&folder.path().join("whole.csflow"), &first, false);
    let file = folder.path().join("parts.csflow");
    let (_, interrupted) = trained(&file, &first, true);
    assert!(interrupted.unwrap().stopped);
    assert!(folder.path().join("parts.csflow.training").is_file());
    let (parts, outcome) = trained(&file, &first, false);
    assert_eq!(outcome.unwrap(), expected.unwrap());
    assert_eq!(parts, whole);
}

#[test]
fn the_state_of_another_training_is_refused_and_says_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("part.csflow");
    let clock = SystemClock::start();
    let settings = |epochs: &str, data: char| {
        let pairs = [("--epochs", epochs.to_owned()), ("the data", data.to_string().repeat(64))];
        Settings::from(pairs.map(|(key, value)| (key.to_owned(), value)))
    };
    let open = |settings, restart| Saved::open(&out, settings, restart, &clock);
    let network = Network::untrained(&architecture(), Device::Cpu);
    open(settings("30", 'a'), false).unwrap().keep(&Run::new(&network, &schedule())).unwrap();
    open(settings("30", 'a'), false).unwrap();
    let text = open(settings("40", 'b'), false).err().unwrap().to_string();
    let expected =
        "with other settings (--epochs was 30 and is 40, the data is another): go on with those, or start";
    assert!(text.contains(expected), "{text}");

    std::fs::write(folder.path().join("part.csflow.training"), "cut").unwrap();
    let text = open(settings("30", 'a'), false).err().unwrap().to_string();
    open(settings("40", 'b'), true).unwrap();
    assert!(!std::fs::exists(folder.path().join("part.csflow.training")).unwrap());
    open(settings("40", 'b'), true).unwrap();
    assert!(text.ends_with("part.csflow.training should hold an interrupted training but cannot be read: start anew with --restart"), "{text}");
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
        assert_falls(&losses);
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
