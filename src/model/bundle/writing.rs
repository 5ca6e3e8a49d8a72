//! From a trained network to a bundle on disk, whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tch::{Device, Tensor};

use crate::digest;
use crate::model::bundle::BundleError;
use crate::model::bundle::envelope::Envelope;
use crate::model::bundle::manifest::Manifest;
use crate::model::network::Network;
use crate::model::weights::writing::Stored;
use crate::model::weights::{Weights, WeightsError};

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

/// Writes the bundle that `from` holds to `to`, which may be the same file, with another manifest and the very same
/// tensors. `sha256` is that of the file as it was read; a file that has changed since is left alone. A file that
/// is replaced keeps its permissions.
pub fn rewrite(from: &Path, sha256: &str, manifest: &Manifest, to: &Path) -> Result<(), BundleError> {
    let bytes = fs::read(from).map_err(|source| WeightsError::Read { file: from.to_owned(), source })?;
    if digest::sha256(&bytes) != sha256 {
        let text = "has changed while csflowd worked with it; nothing was written".to_owned();
        return Err(BundleError::Invalid { file: from.to_owned(), text });
    }
    let weights = Weights::parse(from, &bytes)?;
    let bytes = encode(to, manifest, &weights.tensors)?;
    write_whole(to, &bytes).map_err(|source| BundleError::Write { file: to.to_owned(), source })
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
    let write = || {
        let mut part = File::create(&temporary)?;
        part.write_all(bytes)?;
        if let Ok(replaced) = fs::metadata(file) {
            part.set_permissions(replaced.permissions())?;
        }
        part.sync_all()?;
        fs::rename(&temporary, file)
    };
    let written = write();
    if written.is_err() {
        // The error above is the one to tell; a left-over part file harms nobody.
        drop(fs::remove_file(&temporary));
    }
    written
}
