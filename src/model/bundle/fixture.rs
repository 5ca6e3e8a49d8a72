//! The smallest bundle there can be, with random weights, for tests.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Tensor};

use crate::calibrate::evidence::{Evidence, MadeOn};
use crate::calibrate::{Shortfall, Target, calibrate};
use crate::model::architecture::Architecture;
use crate::model::bundle::manifest::{Manifest, SelfTest};
use crate::model::bundle::provenance::{Fingerprints, Provenance};
use crate::model::flow::FlowConfig;
use crate::model::network::{Network, draw_permutations};
use crate::model::preprocess::{self, Preprocess};
use crate::model::preset::Preset;
use crate::model::score::scoring::Scoring;
use crate::model::whitening::Whitening;

const SIDE: i64 = 128;

/// A network, and what goes into a bundle with it.
pub(crate) struct Fixture {
    pub(crate) manifest: Manifest,
    pub(crate) network: Network,
    pub(crate) self_test: Vec<Tensor>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::of(tiny())
    }

    /// With another network, whose input has the same side.
    pub(crate) fn of(architecture: Architecture) -> Self {
        let mut network = Network::new(&architecture, draw_permutations(&architecture, 1), Device::Cpu);
        fill(&network);
        network.whitening = architecture.whitened.then(|| {
            let Whitening { mean, matrix, .. } =
                Whitening::identity(&architecture.flow.channels, Device::Cpu);
            Whitening::new(
                mean.iter().map(|mean| mean + 0.25).collect(),
                matrix.iter().map(|matrix| matrix * 2.0).collect(),
            )
        });
        let self_test = vec![noise(2), noise(3)];
        let scores = self_test.iter().map(|picture| score(&network, picture)).collect();
        let evidence = Evidence::ungrouped(&[1.0, 2.0, 1.5, 0.1], &[4.0, 3.0, 5.0, 0.3]);
        let manifest = Manifest {
            architecture,
            preprocess: Preprocess::known(),
            scoring: Scoring::plain(),
            calibration: calibrate(&evidence, Target::default(), Shortfall::Flag).unwrap(),
            appearance: None,
            self_test: SelfTest { scores, tolerance: 1e-3 },
            provenance: provenance(),
        };
        Self { manifest, network, self_test }
    }

    pub(crate) fn write(&self, file: &Path) {
        super::writing::write(file, &self.manifest, &self.network, &self.self_test).unwrap();
    }
}

/// A network of the smallest sizes.
pub(crate) fn tiny() -> Architecture {
    let lite = Preset::Lite.architecture();
    let flow = FlowConfig { hidden: 2, kernels: vec![1, 3], ..lite.flow };
    Architecture { preset: "tiny".into(), input_px: SIDE, flow, ..lite }
}

/// The score of a picture of the input's size.
pub(crate) fn score(network: &Network, picture: &Tensor) -> f64 {
    let _guard = tch::no_grad_guard();
    let input = preprocess::normalise(picture, &Preprocess::known(), network.device());
    network.read_whole(&input).scores.double_value(&[0])
}

/// Random parameters, not libtorch's: its generator belongs to the whole process.
fn fill(network: &Network) {
    let mut rng = Pcg64::seed_from_u64(7);
    let variables = [network.backbone_store.variables(), network.flow_store.variables()];
    let mut variables: Vec<_> = variables.into_iter().flatten().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    tch::no_grad(|| {
        for (name, mut variable) in variables {
            // The scales and variances of batch norm are positive.
            let range = if name.contains("_bn") { 0.8..1.2 } else { -0.3..0.3 };
            let values: Vec<f32> = (0..variable.numel()).map(|_| rng.random_range(range.clone())).collect();
            variable.copy_(&Tensor::from_slice(&values).view(variable.size().as_slice()));
        }
    });
}

fn noise(seed: u64) -> Tensor {
    let mut rng = Pcg64::seed_from_u64(seed);
    let pixels: Vec<u8> = (0..3 * SIDE * SIDE).map(|_| rng.random()).collect();
    Tensor::from_slice(&pixels).view([1, 3, SIDE, SIDE])
}

fn provenance() -> Provenance {
    Provenance {
        data_sha256: "00".repeat(32),
        images: 12,
        parts: 11,
        trained_on: 4,
        watched: 4,
        held_out: 4,
        folds: 0,
        seed: 1,
        epochs_asked: 3,
        epoch_kept: 2,
        watched_loss: Some(0.1 + 0.2),
        augmentation: None,
        warm_start: None,
        backbone_sha256: "11".repeat(32),
        command: "csflowd train".into(),
        software: "csflowd".into(),
        libtorch: "2.11.0".into(),
        made_on: Some(MadeOn { device: "cpu".into(), precision: "f32".into(), engine: None }),
        created: "2026-01-02T03:04:05Z".into(),
        fingerprints: Fingerprints {
            trained_on: vec!["0123456789abcdef".into()],
            watched: vec!["1123456789abcdef".into()],
            held_out: vec!["2123456789abcdef".into()],
            inherited: vec!["3123456789abcdef".into()],
        },
    }
}
