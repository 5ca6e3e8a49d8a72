//! The frozen half of the network, run once over each image: backbone weights in, features out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context;
use tch::Device;

use crate::digest;
use crate::model::Scales;
use crate::model::network::Network;
use crate::model::preprocess::{self, Preprocess};
use crate::model::weights::{self, Weights, WeightsError};
use crate::model::whitening::Moments;
use crate::progress::Progress;
use crate::train::BATCH;
use crate::train::error::TrainError;
use crate::train::features::FeatureStore;
use crate::train::images::{read_all, views};

/// Loads `file`, or the weights that set-up put on this machine, and gives their SHA-256.
pub fn load_backbone(network: &Network, file: Option<&Path>) -> anyhow::Result<String> {
    let kind = network.architecture.backbone;
    let file = match file {
        Some(file) => file.to_owned(),
        None => weights::find(kind).ok_or(TrainError::NoWeights { kind })?,
    };
    let bytes = fs::read(&file).map_err(|source| WeightsError::Read { file: file.clone(), source })?;
    network.load_backbone(&Weights::parse(&file, &bytes)?)?;
    Ok(digest::sha256(&bytes))
}

/// Features of `images`; the whitening is fitted on the first `fit_on` of them.
pub fn extract(
    network: &mut Network,
    images: &[PathBuf],
    fit_on: usize,
    stop: &AtomicBool,
) -> anyhow::Result<FeatureStore> {
    let _guard = tch::no_grad_guard();
    let side = network.architecture.input_px;
    let channels = &network.architecture.flow.channels;
    let mut moments = network.architecture.whitened.then(|| Moments::new(channels));
    let mut store =
        FeatureStore::new(images.len(), network.architecture.shapes()).context("no room for features")?;
    let mut progress = Progress::start("features", images.len());
    let mut done = 0;
    // Batches do not straddle the border, so that the whitening sees the images trained on alone.
    let (first, rest) = images.split_at(fit_on);
    for (chunk, is_fitted) in
        first.chunks(BATCH).map(|c| (c, true)).chain(rest.chunks(BATCH).map(|c| (c, false)))
    {
        if stop.load(Relaxed) {
            return Err(TrainError::Stopped { before: "training began" }.into());
        }
        let pictures = read_all(chunk)?;
        let input = preprocess::to_input(&views(&pictures), side, &Preprocess::known(), network.device());
        let features = network.features(&input);
        if let (Some(moments), true) = (&mut moments, is_fitted) {
            moments.add(&features.iter().map(|x| x.to_device(Device::Cpu)).collect::<Scales>());
        }
        store.push(&features).context("cannot keep features")?;
        done += chunk.len();
        progress.set(done, "");
    }
    network.whitening = moments.map(|moments| moments.whitening(network.device()));
    progress.finish(&format!("{} images, kept {}", images.len(), store.place()));
    Ok(store)
}
