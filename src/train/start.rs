//! Where a network starts: the backbone's weights, and a flow that is the identity or another product's.

use std::fs;
use std::path::Path;

use tch::Device;

use crate::cuda;
use crate::digest;
use crate::model::architecture::{Architecture, Difference};
use crate::model::bundle::Bundle;
use crate::model::bundle::provenance::Provenance;
use crate::model::flow::Permutation;
use crate::model::network::{Network, draw_permutations};
use crate::model::weights::{self, Weights, WeightsError};
use crate::train::Options;
use crate::train::error::TrainError;

/// Makes networks that are alike to the last bit.
#[derive(Debug)]
pub struct Start {
    pub architecture: Architecture,
    pub backbone_sha256: String,
    pub device: Device,
    pub device_name: String,
    /// The bundle that the flow begins with.
    pub base: Option<Base>,
    backbone: Weights,
    permutations: Vec<Permutation>,
    seed: i64,
}

/// Another product's flow.
#[derive(Debug)]
pub struct Base {
    pub provenance: Provenance,
    pub sha256: String,
    network: Network,
}

impl Start {
    /// Reads weights, and the bundle to begin with if there is one. What does not fit is found here.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let architecture = options.architecture.clone();
        let (device, device_name) = cuda::open(options.device)?;
        let kind = architecture.backbone;
        let file = match &options.backbone_weights {
            Some(file) => file.clone(),
            None => weights::find(kind).ok_or(TrainError::NoWeights { kind })?,
        };
        let bytes = fs::read(&file).map_err(|source| WeightsError::Read { file: file.clone(), source })?;
        let backbone = Weights::parse(&file, &bytes)?;
        let backbone_sha256 = digest::sha256(&bytes);
        let base = options.from.as_deref().map(|file| Base::read(file, &architecture, device)).transpose()?;
        let other_backbone =
            base.as_ref().is_some_and(|base| base.provenance.backbone_sha256 != backbone_sha256);
        if let (true, Some(file)) = (other_backbone, &options.from) {
            let problem =
                "was trained on other weights of the backbone; give those by --backbone-weights".into();
            return Err(TrainError::From { file: file.clone(), problem }.into());
        }
        let permutations = match &base {
            Some(base) => base.network.permutations.clone(),
            None => draw_permutations(&architecture, options.seed),
        };
        let seed = i64::from_ne_bytes(options.seed.to_ne_bytes());
        let start =
            Self { architecture, backbone_sha256, device, device_name, base, backbone, permutations, seed };
        // Weights of another backbone are found now and not after the images are read.
        start.network()?;
        Ok(start)
    }

    /// A network before its first epoch, without whitening.
    pub fn network(&self) -> anyhow::Result<Network> {
        tch::manual_seed(self.seed);
        let mut network = Network::new(&self.architecture, self.permutations.clone(), self.device);
        network.load_backbone(&self.backbone)?;
        if let Some(base) = &self.base {
            network.flow_store.copy(&base.network.flow_store)?;
        }
        Ok(network)
    }
}

impl Base {
    fn read(file: &Path, architecture: &Architecture, device: Device) -> anyhow::Result<Self> {
        let bundle = Bundle::read(file)?;
        let differences = architecture.differences(&bundle.manifest.architecture);
        if !differences.is_empty() {
            let differences: Vec<String> = differences.iter().map(Difference::to_string).collect();
            let problem = format!("its flow does not fit: {}", differences.join("; "));
            return Err(TrainError::From { file: file.to_owned(), problem }.into());
        }
        let network = bundle.network(device)?;
        Ok(Self { provenance: bundle.manifest.provenance, sha256: bundle.sha256, network })
    }
}
