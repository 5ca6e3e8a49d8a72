//! Backbone, whitening and flow as one network.

use tch::nn::VarStore;
use tch::{Device, Tensor};

use crate::model::architecture::Architecture;
use crate::model::backbone::Backbone;
use crate::model::flow::{Flow, FlowConfig, Permutation};
use crate::model::score::Reading;
use crate::model::score::scorer::Scorer;
use crate::model::weights::{Weights, WeightsError};
use crate::model::whitening::Whitening;
use crate::model::{Scales, share};

/// The plain network on one device. Everything fast is compared with it.
#[derive(Debug)]
pub struct Network {
    pub architecture: Architecture,
    pub permutations: Vec<Permutation>,
    /// None is the identity.
    pub whitening: Option<Whitening>,
    pub scorer: Scorer,
    pub backbone_store: VarStore,
    pub flow_store: VarStore,
    backbone: Backbone,
    flow: Flow,
}

impl Network {
    /// A network whose flow is the identity and whose backbone is empty: load weights into the stores.
    pub fn new(architecture: &Architecture, permutations: Vec<Permutation>, device: Device) -> Self {
        let backbone_store = VarStore::new(device);
        let backbone = Backbone::new(&backbone_store.root(), architecture.backbone, architecture.taps());
        let flow_store = VarStore::new(device);
        let flow = Flow::new(&flow_store.root(), &architecture.flow, &permutations);
        let architecture = architecture.clone();
        let (whitening, scorer) = (None, Scorer::plain(architecture.map_steps()));
        Self { architecture, permutations, whitening, scorer, backbone_store, flow_store, backbone, flow }
    }

    /// A network that is as fast as a trained one and whose scores mean nothing.
    pub fn untrained(architecture: &Architecture, device: Device) -> Self {
        let mut network = Self::new(architecture, draw_permutations(architecture, 0), device);
        let channels = &architecture.flow.channels;
        network.whitening = architecture.whitened.then(|| Whitening::identity(channels, device));
        network
    }

    /// Takes the backbone's parameters out of a published state dict, whose last stages are not used.
    pub fn load_backbone(&self, weights: &Weights) -> Result<(), WeightsError> {
        let (kind, taps) = (self.architecture.backbone, self.architecture.taps());
        weights.load_into(&self.backbone_store, |name| kind.is_beyond(taps, name))
    }

    /// Raw features of normalised pictures.
    ///
    /// # Shapes
    /// `[B, 3, S, S]` to `[B, C_s, H_s, W_s]`: see [`Architecture::shapes`].
    pub fn features(&self, input: &Tensor) -> Scales {
        self.architecture.features.extract(&self.backbone, input, self.architecture.flow.scales())
    }

    /// Raw features to latent values, and the log-determinant of whitening and flow together, `[B]` a scale.
    pub fn latent(&self, features: &[Tensor]) -> (Scales, Scales) {
        let (latent, mut log_det) = self.flow.forward(&self.whitened(features));
        if let Some(whitening) = &self.whitening {
            log_det[0] += whitening.log_det(features);
        }
        (latent, log_det)
    }

    /// What the flow takes: raw features, whitened if they are to be.
    pub fn whitened(&self, features: &[Tensor]) -> Scales {
        match &self.whitening {
            None => share(features),
            Some(whitening) => whitening.forward(features),
        }
    }

    /// Normalised pictures to scores and maps, of what counts.
    pub fn read(&self, input: &Tensor) -> Reading {
        self.scorer.read(&self.run(input))
    }

    /// The same as if the whole picture counted.
    pub fn read_whole(&self, input: &Tensor) -> Reading {
        self.scorer.read_whole(&self.run(input))
    }

    /// Normalised pictures to latent values, without the determinant.
    pub fn run(&self, input: &Tensor) -> Scales {
        let features = self.features(input);
        self.flow.forward(&self.whitened(&features)).0
    }

    pub fn device(&self) -> Device {
        self.flow_store.device()
    }
}

/// An order of the channels for each block and scale, drawn from `seed`; different at each scale, as in the
/// research code.
pub fn draw_permutations(architecture: &Architecture, seed: u64) -> Vec<Permutation> {
    use rand::seq::SliceRandom;
    let mut rng = rand_pcg::Pcg64::new(u128::from(seed), 0xa02b_dbf7_bb3c_0a7a_c28f_a16a_64ab_f96b);
    let mut order = |&channels: &i64| {
        let mut order: Vec<i64> = (0..channels).collect();
        order.shuffle(&mut rng);
        order
    };
    let FlowConfig { kernels, channels, .. } = &architecture.flow;
    kernels.iter().map(|_| channels.iter().map(&mut order).collect()).collect()
}
