//! A trained product in one `.csflow` file.
//!
//! A bundle is a safetensors file: nothing in it can execute. Its header holds one JSON document, the
//! [`Manifest`], under the key `csflowd`, with a SHA-256 over manifest and tensors: a flipped bit anywhere is
//! found before anything is judged.

pub mod manifest;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, View};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use crate::model::bundle::manifest::{FORMAT, Manifest};
use crate::model::flow::Permutation;
use crate::model::network::Network;
use crate::model::weights::{self, Weights, WeightsError};
use crate::model::whitening::Whitening;
use crate::model::{SCALES, Scales};

/// A bundle as read: sizes, sums and names checked, values in no network yet.
#[derive(Debug)]
pub struct Bundle {
    pub manifest: Manifest,
    /// Of the whole file, lower-case hex.
    pub sha256: String,
    /// Pictures of the self-test, `[1, 3, S, S]` u8, R G B, already at the input's size.
    pub self_test: Vec<Tensor>,
    permutations: Vec<Permutation>,
    whitening: Option<Whitening>,
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

/// What the header's JSON looks like around the manifest.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    format: u64,
    sha256: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

impl Bundle {
    pub fn read(file: &Path) -> Result<Self, BundleError> {
        let bytes =
            std::fs::read(file).map_err(|source| WeightsError::Read { file: file.to_owned(), source })?;
        let mut weights = Weights::parse(file, &bytes)?;
        let file = || file.to_owned();
        let text =
            weights.metadata.remove("csflowd").ok_or_else(|| BundleError::NotABundle { file: file() })?;
        let unreadable = |source| BundleError::Manifest { file: file(), source };
        let envelope: Envelope<'_> = serde_json::from_str(&text).map_err(unreadable)?;
        if envelope.format != FORMAT {
            return Err(BundleError::Format { file: file(), found: envelope.format });
        }
        if envelope.sha256 != content_sha256(envelope.manifest.get(), &weights) {
            return Err(BundleError::Damaged { file: file() });
        }
        let manifest: Manifest = serde_json::from_str(envelope.manifest.get()).map_err(unreadable)?;
        manifest.check().map_err(|text| BundleError::Invalid { file: file(), text })?;

        let invalid = |text: String| BundleError::Invalid { file: file(), text };
        let backbone = weights.take("backbone.");
        let flow = weights.take("flow.");
        let permutations = permutations(&manifest, &weights.take("permutation.")).map_err(invalid)?;
        let whitening = whitening(&manifest, &mut weights.take("whitening.")).map_err(invalid)?;
        let self_test = self_test(&manifest, &mut weights.take("self_test.")).map_err(invalid)?;
        if let Some(name) = weights.tensors.keys().next() {
            return Err(invalid(format!("tensor {name} belongs to no part of a bundle")));
        }
        Ok(Self {
            manifest,
            sha256: hex(&Sha256::digest(&bytes)),
            self_test,
            permutations,
            whitening,
            backbone,
            flow,
        })
    }

    /// The network with its parameters on `device`.
    pub fn network(&self, device: Device) -> Result<Network, BundleError> {
        let architecture = &self.manifest.architecture;
        let mut network = Network::new(architecture, self.permutations.clone(), device);
        self.backbone.load_into(&network.backbone_store, |_| false)?;
        self.flow.load_into(&network.flow_store, |_| false)?;
        network.whitening = self.whitening.as_ref().map(|whitening| Whitening {
            mean: whitening.mean.each_ref().map(|t| t.to_device(device)),
            matrix: whitening.matrix.each_ref().map(|t| t.to_device(device)),
        });
        Ok(network)
    }
}

/// Writes a bundle, whole or not at all: to a temporary file beside `file`, which then takes its name.
pub fn write(
    file: &Path,
    manifest: &Manifest,
    network: &Network,
    self_test: &[Tensor],
) -> Result<(), BundleError> {
    let mut tensors = std::collections::BTreeMap::new();
    for (prefix, store) in [("backbone", &network.backbone_store), ("flow", &network.flow_store)] {
        for (name, tensor) in store.variables() {
            tensors.insert(format!("{prefix}.{name}"), tensor.detach().to_device(Device::Cpu));
        }
    }
    for (k, orders) in network.permutations.iter().enumerate() {
        for (s, order) in orders.iter().enumerate() {
            tensors.insert(format!("permutation.{k}.{s}"), Tensor::from_slice(order));
        }
    }
    if let Some(whitening) = &network.whitening {
        for s in 0..SCALES {
            tensors.insert(format!("whitening.mean.{s}"), whitening.mean[s].to_device(Device::Cpu));
            tensors.insert(format!("whitening.matrix.{s}"), whitening.matrix[s].to_device(Device::Cpu));
        }
    }
    for (i, picture) in self_test.iter().enumerate() {
        tensors.insert(format!("self_test.{i}"), picture.to_device(Device::Cpu));
    }

    let weights = Weights { file: file.to_owned(), tensors, metadata: HashMap::new() };
    let unreadable = |source| BundleError::Manifest { file: file.to_owned(), source };
    let manifest = serde_json::value::to_raw_value(manifest).map_err(unreadable)?;
    let sha256 = content_sha256(manifest.get(), &weights);
    let envelope = Envelope { format: FORMAT, sha256, manifest: &manifest };
    let header = serde_json::to_string(&envelope).map_err(unreadable)?;
    let views = weights.tensors.iter().map(|(name, tensor)| (name.clone(), Stored::new(tensor)));
    let bytes = safetensors::serialize(views, Some(HashMap::from([("csflowd".to_owned(), header)])))
        .map_err(|source| WeightsError::NotSafetensors { file: file.to_owned(), source })?;
    write_whole(file, &bytes).map_err(|source| BundleError::Write { file: file.to_owned(), source })
}

fn write_whole(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = PathBuf::from(temporary);
    let written = std::fs::File::create(&temporary)
        .and_then(|mut part| part.write_all(bytes).and_then(|()| part.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, file));
    if written.is_err() {
        // The error above is the one to tell; a left-over part file harms nobody.
        drop(std::fs::remove_file(&temporary));
    }
    written
}

/// SHA-256 over the manifest's text and every tensor's name, type, shape and bytes, in the order of names.
fn content_sha256(manifest: &str, weights: &Weights) -> String {
    let mut hasher = Sha256::new();
    hasher.update(manifest.as_bytes());
    for (name, tensor) in &weights.tensors {
        hasher.update(format!("\n{name} {:?} {:?}\n", tensor.kind(), tensor.size()));
        hasher.update(weights::to_bytes(tensor));
    }
    hex(&hasher.finalize())
}

pub fn hex(bytes: &[u8]) -> String {
    crate::digest::hex(bytes)
}

fn permutations(manifest: &Manifest, stored: &Weights) -> Result<Vec<Permutation>, String> {
    let channels = manifest.architecture.flow.channels;
    let blocks = manifest.architecture.flow.kernels.len();
    if stored.tensors.len() != blocks * SCALES {
        return Err(format!("{} permutations for {blocks} blocks of {SCALES} scales", stored.tensors.len()));
    }
    let order = |name: String| {
        let order: Vec<i64> = stored
            .tensors
            .get(&name)
            .and_then(|t| Vec::try_from(t).ok())
            .ok_or_else(|| format!("tensor permutation.{name} is missing or not a list of i64"))?;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..channels) {
            return Err(format!("tensor permutation.{name} is not an order of {channels} channels"));
        }
        Ok(order)
    };
    (0..blocks)
        .map(|k| {
            let [a, b, c] = std::array::from_fn(|s| order(format!("{k}.{s}")));
            Ok([a?, b?, c?])
        })
        .collect()
}

fn whitening(manifest: &Manifest, stored: &mut Weights) -> Result<Option<Whitening>, String> {
    let c = manifest.architecture.flow.channels;
    if !manifest.architecture.whitened {
        return if stored.tensors.is_empty() {
            Ok(None)
        } else {
            Err("whitening where none is declared".into())
        };
    }
    let mut take = |kind: &str, size: &[i64]| -> Result<Scales, String> {
        let mut one = |s: usize| {
            let name = format!("{kind}.{s}");
            let tensor = stored.tensors.remove(&name).ok_or(format!("tensor whitening.{name} is missing"))?;
            let fits =
                tensor.size() == size && tensor.kind() == tch::Kind::Float && weights::is_finite(&tensor);
            if fits { Ok(tensor) } else { Err(format!("tensor whitening.{name} is not {size:?} finite f32")) }
        };
        Ok([one(0)?, one(1)?, one(2)?])
    };
    let whitening = Whitening { mean: take("mean", &[c])?, matrix: take("matrix", &[c, c])? };
    if stored.tensors.is_empty() { Ok(Some(whitening)) } else { Err("too many whitening tensors".into()) }
}

fn self_test(manifest: &Manifest, stored: &mut Weights) -> Result<Vec<Tensor>, String> {
    let expected = manifest.self_test.scores.len();
    if stored.tensors.len() != expected {
        return Err(format!("{} self-test pictures for {expected} scores", stored.tensors.len()));
    }
    let side = manifest.architecture.input_px;
    (0..expected)
        .map(|i| {
            let tensor = stored.tensors.remove(&i.to_string());
            tensor
                .filter(|t| t.size() == [1, 3, side, side] && t.kind() == tch::Kind::Uint8)
                .ok_or_else(|| format!("tensor self_test.{i} is missing or not [1, 3, {side}, {side}] u8"))
        })
        .collect()
}

/// A tensor as the safetensors crate wants to see it.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(tensor: &Tensor) -> Self {
        Self {
            dtype: weights::dtype(tensor.kind()).expect("bundles hold f32, i64 and u8"),
            shape: tensor.size().into_iter().map(|n| usize::try_from(n).expect("a size")).collect(),
            bytes: weights::to_bytes(tensor),
        }
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
