//! A small valid bundle and parts for it to judge, made without weights from outside.
//!
//! The backbone is EfficientNet-Lite0 with random values that keep activations at unit scale. Even grey pictures
//! are good: whitening and threshold are fitted on such. Noise is bad, by a wide margin.

use std::path::Path;
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use csflowd::calibrate::evidence::{Evidence, MadeOn};
use csflowd::calibrate::{Shortfall, Target, calibrate};
use csflowd::clock::{Clock, Moment};
use csflowd::config::engine as config;
use csflowd::engine::detector::Detector;
use csflowd::engine::{Engine, How};
use csflowd::frame::{Picture, PixelFormat, Size};
use csflowd::model::architecture::Architecture;
use csflowd::model::bundle;
use csflowd::model::bundle::manifest::{Manifest, SelfTest};
use csflowd::model::bundle::provenance::{Fingerprints, Provenance};
use csflowd::model::flow::FlowConfig;
use csflowd::model::network::{Network, draw_permutations};
use csflowd::model::preprocess::{self, Preprocess};
use csflowd::model::preset::Preset;
use csflowd::model::score::scoring::Scoring;
use csflowd::model::whitening::Moments;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::nn::VarStore;
use tch::{Device, Tensor};

/// Of the parts drawn here; not what the network takes, so that each is resized.
pub(crate) const SIZE: Size = Size { width: 96, height: 64 };

/// Greys of the good parts, on which the whitening is fitted. The threshold comes from greys between them.
const GREYS: [u8; 16] = [90, 95, 100, 105, 110, 115, 120, 125, 130, 135, 140, 145, 150, 155, 160, 165];

const SEED: u64 = 1;

/// What stands in the bundle's file.
pub(crate) fn bundle() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| make(SEED));
    &BYTES
}

/// Another one, as good as the first.
pub(crate) fn other_bundle() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| make(SEED + 1));
    &BYTES
}

/// Pixels of a part that the bundle calls good; `number` draws one of a few.
pub(crate) fn good(number: u8) -> Vec<u8> {
    grey(GREYS[usize::from(number) % GREYS.len()])
}

/// Pixels of a part that the bundle calls anomalous.
pub(crate) fn bad(number: u8) -> Vec<u8> {
    let mut rng = Pcg64::seed_from_u64(number.into());
    (0..SIZE.pixels() * 3).map(|_| rng.random()).collect()
}

/// Writes a part as a PNG file.
pub(crate) fn save(file: &Path, pixels: &[u8]) {
    image::save_buffer(file, pixels, SIZE.width, SIZE.height, image::ColorType::Rgb8).unwrap();
}

fn grey(level: u8) -> Vec<u8> {
    vec![level; SIZE.pixels() * 3]
}

fn make(seed: u64) -> Vec<u8> {
    let _guard = tch::no_grad_guard();
    // Several tests at a time with all cores each would wait for one another most of the time.
    tch::set_num_threads(1);
    let network = network(seed);
    let parts = GREYS.map(|level| grey(level + 2));
    let pictures: Vec<Picture<'_>> = parts.iter().map(|pixels| picture(pixels)).collect();
    let side = network.architecture.input_px;
    let self_test: Vec<Tensor> = pictures[..2].iter().map(|&p| preprocess::resize(p, side)).collect();

    let mut engine = Engine::new(network, &Preprocess::known(), "cpu".into());
    let measured = engine.measure(&pictures, &StoppedClock).unwrap().measured;
    let scores: Vec<f64> = measured.iter().map(|one| one.score).collect();
    let maxima: Vec<f64> = measured.iter().map(|one| one.map.max()).collect();
    let manifest = Manifest {
        architecture: engine.architecture().clone(),
        preprocess: Preprocess::known(),
        scoring: Scoring::plain(),
        calibration: calibrate(&Evidence::ungrouped(&scores, &maxima), Target::default(), Shortfall::Flag)
            .unwrap(),
        appearance: None,
        self_test: SelfTest { scores: engine.self_test_scores(&self_test).unwrap(), tolerance: 1e-3 },
        provenance: provenance(parts.len()),
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("part.csflow");
    bundle::writing::write(&file, &manifest, engine.network().unwrap(), &self_test).unwrap();
    std::fs::read(file).unwrap()
}

fn network(seed: u64) -> Network {
    let lite = Preset::Lite.architecture();
    let flow = FlowConfig { hidden: 8, kernels: vec![3, 3], ..lite.flow };
    let architecture = Architecture { preset: "fixture".into(), input_px: 128, flow, ..lite };
    let mut network = Network::new(&architecture, draw_permutations(&architecture, seed), Device::Cpu);
    let mut rng = Pcg64::seed_from_u64(seed);
    fill(&network.backbone_store, &mut rng);
    fill(&network.flow_store, &mut rng);

    let parts = GREYS.map(grey);
    let pictures: Vec<Picture<'_>> = parts.iter().map(|pixels| picture(pixels)).collect();
    let input = preprocess::to_input(&pictures, architecture.input_px, &Preprocess::known(), Device::Cpu);
    let mut moments = Moments::new(&architecture.flow.channels);
    moments.add(&network.features(&input));
    network.whitening = Some(moments.whitening(Device::Cpu));
    network
}

/// Random values, the same on every machine. Convolutions keep the scale of what goes through them, batch norms
/// change nothing, couplings do a little.
fn fill(store: &VarStore, rng: &mut Pcg64) {
    let mut variables: Vec<_> = store.variables().into_iter().collect();
    variables.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, mut variable) in variables {
        let size = variable.size();
        let is_convolution = size.len() == 4;
        if is_convolution {
            // What comes before an expansion is not rectified; everywhere else half is lost to that.
            let gain = if name.contains("_expand_conv") { 1.0 } else { 2.0 };
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let fan_in = size[1..].iter().product::<i64>() as f32;
            let limit = (3.0 * gain / fan_in).sqrt();
            let values: Vec<f32> = (0..variable.numel()).map(|_| rng.random_range(-limit..limit)).collect();
            variable.copy_(&Tensor::from_slice(&values).view(size.as_slice()));
        } else {
            let value = if name.contains("gamma") {
                0.05
            } else if name.ends_with("running_var") || name.ends_with("weight") {
                1.0
            } else {
                0.0
            };
            drop(variable.fill_(value));
        }
    }
}

fn picture(pixels: &[u8]) -> Picture<'_> {
    Picture { size: SIZE, format: PixelFormat::Rgb8, pixels }
}

fn provenance(images: usize) -> Provenance {
    Provenance {
        data_sha256: "0".repeat(64),
        images,
        parts: images,
        trained_on: 0,
        watched: 0,
        held_out: images,
        folds: 0,
        seed: SEED,
        epochs_asked: 0,
        epoch_kept: 0,
        watched_loss: None,
        augmentation: None,
        warm_start: None,
        backbone_sha256: "0".repeat(64),
        command: "drawn for tests".into(),
        software: "csflowd".into(),
        libtorch: "2.11.0".into(),
        made_on: Some(MadeOn { device: "cpu".into(), precision: "f32".into(), engine: None }),
        created: "2026-01-01T00:00:00Z".into(),
        fingerprints: Fingerprints::default(),
    }
}

/// Nobody asks how long the fixture took.
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Moment {
        Moment { mono: std::time::Duration::ZERO, utc: UNIX_EPOCH }
    }
}

#[test]
fn good_parts_are_good_and_bad_parts_are_not() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("part.csflow");
    std::fs::write(&file, bundle()).unwrap();
    let bundle = bundle::Bundle::read(&file).unwrap();
    let judge = bundle.manifest.calibration.judge();
    let how = How {
        device: config::Device::Cpu,
        precision: config::Precision::F32,
        threads: 1,
        together: 1,
        judge,
    };
    let mut engine = Engine::load(&bundle, how).unwrap();
    let threshold = bundle.manifest.calibration.threshold;
    let parts: Vec<Vec<u8>> = (0..8).map(good).chain((0..8).map(bad)).collect();
    let pictures: Vec<Picture<'_>> = parts.iter().map(|pixels| picture(pixels)).collect();
    let scores: Vec<f64> =
        engine.measure(&pictures, &StoppedClock).unwrap().measured.iter().map(|one| one.score).collect();
    let (good, bad) = scores.split_at(8);
    assert!(good.iter().all(|&score| score < threshold * 0.9), "{good:?}, threshold {threshold}");
    assert!(bad.iter().all(|&score| score > threshold * 10.0), "{bad:?}, threshold {threshold}");
}
