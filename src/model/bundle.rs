//! A trained product in one `.csflow` file.
//!
//! A bundle is a safetensors file: nothing in it can execute. Its header holds one JSON document, the
//! [`Manifest`], under the key `csflowd`, with a SHA-256 over manifest and tensors: a flipped bit anywhere is
//! found before anything is judged. What a file claims about sizes is compared with what it holds before memory
//! is taken for it.

pub mod destination;
mod envelope;
pub mod manifest;
mod parts;
pub mod provenance;
pub mod roi;
pub mod writing;

use std::path::{Path, PathBuf};

use tch::nn::VarStore;
use tch::{Device, Tensor};

use crate::digest;
use crate::model::bundle::envelope::Envelope;
use crate::model::bundle::manifest::{FORMAT, Manifest};
use crate::model::flow::Permutation;
use crate::model::network::Network;
use crate::model::score::places::Places;
use crate::model::score::scorer::Scorer;
use crate::model::weights::{Weights, WeightsError};
use crate::model::whitening::Whitening;

/// A bundle as read: sizes, sums and names checked, values in no network yet.
#[derive(Debug)]
pub struct Bundle {
    /// Where it was read from, for errors.
    pub file: PathBuf,
    pub manifest: Manifest,
    /// Of the whole file, lower-case hex.
    pub sha256: String,
    /// Pictures of the self-test, `[1, 3, S, S]` u8, R G B, already at the input's size.
    pub self_test: Vec<Tensor>,
    permutations: Vec<Permutation>,
    whitening: Option<Whitening>,
    places: Option<Places>,
    backbone: Weights,
    flow: Weights,
}

#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("{file} is a safetensors file but not a csflowd bundle: its header has no key \"csflowd\"")]
    NotABundle { file: PathBuf },
    #[error(
        "{file} has bundle format {found}; this csflowd reads format {FORMAT}: train again or update csflowd"
    )]
    Format { file: PathBuf, found: u64 },
    #[error("{file} is damaged: its contents do not match its SHA-256")]
    Damaged { file: PathBuf },
    #[error("{file}: the manifest cannot be read")]
    Manifest { file: PathBuf, source: serde_json::Error },
    #[error("{file}: {text}")]
    Invalid { file: PathBuf, text: String },
    #[error("cannot write {file}")]
    Write { file: PathBuf, source: std::io::Error },
}

impl Bundle {
    pub fn read(file: &Path) -> Result<Self, BundleError> {
        let bytes =
            std::fs::read(file).map_err(|source| WeightsError::Read { file: file.to_owned(), source })?;
        Self::parse(file, &bytes)
    }

    /// `file` is named in errors only.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, BundleError> {
        let mut weights = Weights::parse(file, bytes)?;
        let text = weights
            .metadata
            .remove("csflowd")
            .ok_or_else(|| BundleError::NotABundle { file: file.to_owned() })?;
        let manifest = Envelope::open(file, &text, &weights.tensors)?;

        let invalid = |text: String| BundleError::Invalid { file: file.to_owned(), text };
        manifest.check().map_err(invalid)?;
        let backbone = weights.take("backbone.");
        let flow = weights.take("flow.");
        parts::compare_sizes(&manifest, &flow).map_err(invalid)?;
        let permutations = parts::permutations(&manifest, &weights.take("permutation.")).map_err(invalid)?;
        let whitening = parts::whitening(&manifest, &mut weights.take("whitening.")).map_err(invalid)?;
        let places = parts::places(&manifest, &mut weights.take("scoring.")).map_err(invalid)?;
        let self_test = parts::self_test(&manifest, &mut weights.take("self_test.")).map_err(invalid)?;
        if let Some(name) = weights.tensors.keys().next() {
            return Err(invalid(format!("tensor {name:?} belongs to no part of a bundle")));
        }
        let (file, sha256) = (file.to_owned(), digest::sha256(bytes));
        Ok(Self { file, manifest, sha256, self_test, permutations, whitening, places, backbone, flow })
    }

    /// The network with its parameters on `device`.
    pub fn network(&self, device: Device) -> Result<Network, BundleError> {
        self.network_by(device, |weights, store| weights.load_into(store, |_| false))
    }

    /// The same, only to be read: on the CPU its parameters are the bundle's own, which saves their memory once.
    pub fn view(&self, device: Device) -> Result<Network, BundleError> {
        if device != Device::Cpu {
            return self.network(device);
        }
        self.network_by(device, |weights, store| weights.share_into(store, |_| false))
    }

    fn network_by(
        &self,
        device: Device,
        load: impl Fn(&Weights, &VarStore) -> Result<(), WeightsError>,
    ) -> Result<Network, BundleError> {
        let architecture = &self.manifest.architecture;
        let mut network = Network::new(architecture, self.permutations.clone(), device);
        load(&self.backbone, &network.backbone_store)?;
        load(&self.flow, &network.flow_store)?;
        network.whitening = self.whitening.as_ref().map(|whitening| whitening.to_device(device));
        let places = self.places.as_ref().map(|places| places.to_device(device));
        network.scorer = Scorer::new(self.manifest.scoring.clone(), places, architecture.map_steps());
        Ok(network)
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
