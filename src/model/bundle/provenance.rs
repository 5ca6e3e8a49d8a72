//! Where a bundle came from, and which pictures had a part in it.

use serde::{Deserialize, Serialize};

use crate::calibrate::evidence::MadeOn;

/// How a product was trained, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Over names and contents of all training images.
    pub data_sha256: String,
    pub images: usize,
    /// Parts that these images show, as far as file names and looks tell.
    pub parts: usize,
    /// Good images trained on, watched for the best epoch, and held out for calibration. With folds all are trained
    /// on.
    pub trained_on: usize,
    pub watched: usize,
    pub held_out: usize,
    /// Each image was judged for calibration by the network of one of so many folds, which had not seen it; 0 if
    /// images were held out for that.
    pub folds: usize,
    pub seed: u64,
    pub epochs_asked: usize,
    /// The epoch whose parameters were kept, from 1. With folds it is the median of the folds' best epochs, at which
    /// the network that was trained on all images ended.
    pub epoch_kept: usize,
    /// Loss of the watched images at that epoch, or, with folds, the median of theirs; none if none were watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_loss: Option<f64>,
    /// Changed copies of the images trained on, as asked for on the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<String>,
    /// SHA-256 of the bundle whose flow this training began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<String>,
    pub backbone_sha256: String,
    pub command: String,
    pub software: String,
    pub libtorch: String,
    /// What trained it, and computed the scores of its calibration; absent in bundles that were made before this was
    /// written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_on: Option<MadeOn>,
    /// RFC 3339, UTC.
    pub created: String,
    pub fingerprints: Fingerprints,
}

/// The pictures by their use, as `image_file::fingerprint` names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprints {
    pub trained_on: Vec<String>,
    pub watched: Vec<String>,
    pub held_out: Vec<String>,
    /// What the bundles before this one in a chain of warm starts were trained on or watched.
    pub inherited: Vec<String>,
}

/// What a picture was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    TrainedOn,
    Watched,
    HeldOut,
}

impl Provenance {
    /// What the picture was used for, if it had a part in this bundle.
    pub fn role_of(&self, fingerprint: &str) -> Option<Role> {
        let Fingerprints { trained_on, watched, held_out, inherited } = &self.fingerprints;
        let lists = [
            (trained_on, Role::TrainedOn),
            (inherited, Role::TrainedOn),
            (watched, Role::Watched),
            (held_out, Role::HeldOut),
        ];
        let has = |list: &Vec<String>| list.iter().any(|one| one == fingerprint);
        lists.into_iter().find_map(|(list, role)| has(list).then_some(role))
    }

    /// Whether the network knows the picture: what it scores is then no measure of new parts.
    pub fn was_seen(&self, fingerprint: &str) -> bool {
        match self.role_of(fingerprint) {
            Some(Role::TrainedOn | Role::Watched) => true,
            Some(Role::HeldOut) | None => false,
        }
    }
}
