//! What stands around the manifest in a bundle's header: the format's version, and the checksum over the rest.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tch::Tensor;

use crate::digest::hex;
use crate::model::bundle::BundleError;
use crate::model::bundle::manifest::{FORMAT, Manifest};
use crate::model::weights;

/// The header's JSON document. The manifest stays text: the checksum is over its bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Envelope<'a> {
    format: u64,
    sha256: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// What every format has and will have.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

impl Envelope<'_> {
    /// The header's text for a manifest and its tensors.
    pub(super) fn seal(
        manifest: &Manifest,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<String, serde_json::Error> {
        let manifest = serde_json::value::to_raw_value(manifest)?;
        let sha256 = content_sha256(manifest.get(), tensors);
        serde_json::to_string(&Envelope { format: FORMAT, sha256, manifest: &manifest })
    }

    /// The manifest in `text`, if it is of a format that this build reads and goes with exactly these tensors.
    pub(super) fn open(
        file: &Path,
        text: &str,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Manifest, BundleError> {
        let unreadable = |source| BundleError::Manifest { file: file.to_owned(), source };
        // First: a later format may have other keys.
        let Version { format } = serde_json::from_str(text).map_err(unreadable)?;
        if format != FORMAT {
            return Err(BundleError::Format { file: file.to_owned(), found: format });
        }
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(unreadable)?;
        if envelope.sha256 != content_sha256(envelope.manifest.get(), tensors) {
            return Err(BundleError::Damaged { file: file.to_owned() });
        }
        serde_json::from_str(envelope.manifest.get()).map_err(unreadable)
    }
}

/// SHA-256 over the manifest's text and every tensor's name, type, shape and bytes, in the order of names.
fn content_sha256(manifest: &str, tensors: &BTreeMap<String, Tensor>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(manifest.as_bytes());
    for (name, tensor) in tensors {
        hasher.update(format!("\n{name} {:?} {:?}\n", tensor.kind(), tensor.size()));
        hasher.update(weights::to_bytes(tensor));
    }
    hex(&hasher.finalize())
}
