//! From a trained network to a bundle on disk, whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, View};
use tch::{Device, Tensor};

use crate::model::bundle::BundleError;
use crate::model::bundle::envelope::Envelope;
use crate::model::bundle::manifest::Manifest;
use crate::model::network::Network;
use crate::model::weights::{self, WeightsError};

/// Writes to a temporary file beside `file`, which then takes its name. The same values give the same bytes.
pub fn write(
    file: &Path,
    manifest: &Manifest,
    network: &Network,
    self_test: &[Tensor],
) -> Result<(), BundleError> {
    let bytes = encode(file, manifest, &tensors(network, self_test))?;
    write_whole(file, &bytes).map_err(|source| BundleError::Write { file: file.to_owned(), source })
}

/// Everything that is stored of a network, by name.
pub(super) fn tensors(network: &Network, self_test: &[Tensor]) -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::new();
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
        for (kind, scales) in [("mean", &whitening.mean), ("matrix", &whitening.matrix)] {
            for (s, tensor) in scales.iter().enumerate() {
                tensors.insert(format!("whitening.{kind}.{s}"), tensor.to_device(Device::Cpu));
            }
        }
    }
    for (s, (centre, deviation)) in network.scorer.statistics().enumerate() {
        tensors.insert(format!("scoring.centre.{s}"), centre.to_device(Device::Cpu));
        tensors.insert(format!("scoring.deviation.{s}"), deviation.to_device(Device::Cpu));
    }
    for (i, picture) in self_test.iter().enumerate() {
        tensors.insert(format!("self_test.{i}"), picture.to_device(Device::Cpu));
    }
    tensors
}

/// `file` is named in errors only.
pub(super) fn encode(
    file: &Path,
    manifest: &Manifest,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Vec<u8>, BundleError> {
    let header = Envelope::seal(manifest, tensors)
        .map_err(|source| BundleError::Manifest { file: file.to_owned(), source })?;
    let views = tensors.iter().map(|(name, tensor)| (name.clone(), Stored::new(tensor)));
    let bytes = safetensors::serialize(views, Some(HashMap::from([("csflowd".to_owned(), header)])))
        .map_err(|source| WeightsError::NotSafetensors { file: file.to_owned(), source })?;
    Ok(bytes)
}

fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = PathBuf::from(temporary);
    let written = File::create(&temporary)
        .and_then(|mut part| part.write_all(bytes).and_then(|()| part.sync_all()))
        .and_then(|()| fs::rename(&temporary, file));
    if written.is_err() {
        // The error above is the one to tell; a left-over part file harms nobody.
        drop(fs::remove_file(&temporary));
    }
    written
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
