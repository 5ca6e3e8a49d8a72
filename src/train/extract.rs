//! The frozen half of the network, run once over each image and its changed copies: pictures in, features out.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context;
use rand_pcg::Pcg64;
use tch::{Device, Tensor};

use crate::engine::extractor::Extractor;
use crate::model::Scales;
use crate::model::network::Network;
use crate::model::preprocess::{self, Preprocess};
use crate::model::whitening::{Moments, Whitening};
use crate::progress::{Progress, say};
use crate::train::BATCH;
use crate::train::augment::Augment;
use crate::train::error::TrainError;
use crate::train::features::FeatureStore;
use crate::train::images::{Decoded, read_all};

/// What is extracted, and from what.
#[derive(Debug)]
pub struct Extraction<'a> {
    /// All good images.
    pub files: &'a [PathBuf],
    /// Images, by their positions, that are trained on together; each with its copies.
    pub trained_on: Vec<Vec<usize>>,
    /// Images that are not trained on.
    pub others: Vec<usize>,
    pub augment: Augment,
    /// Changed copies of each image trained on.
    pub copies: usize,
    pub seed: u64,
}

/// Features of all that was extracted.
#[derive(Debug)]
pub struct Features {
    pub store: FeatureStore,
    /// Of each good image: its own row first, those of its copies behind. Empty if it was not extracted.
    rows: Vec<Vec<usize>>,
    /// Of each list of images trained on, if the network whitens.
    moments: Vec<Moments>,
}

impl Features {
    /// The rows to train on, of `images` and their copies.
    pub fn with_copies(&self, images: &[usize]) -> Vec<usize> {
        images.iter().flat_map(|&image| self.rows[image].iter().copied()).collect()
    }

    /// The rows of `images` alone.
    pub fn themselves(&self, images: &[usize]) -> Vec<usize> {
        images.iter().filter_map(|&image| self.rows[image].first().copied()).collect()
    }

    /// Fitted on all lists of images trained on but the one at `left_out`. Moments add up, so each fold has its own
    /// without a second look at the features.
    pub fn whitening(&self, left_out: Option<usize>, network: &Network) -> Option<Whitening> {
        let mut sum = Moments::new(&network.architecture.flow.channels);
        let lists = self.moments.iter().enumerate().filter(|&(i, _)| Some(i) != left_out);
        lists.for_each(|(_, moments)| sum.merge(moments));
        network.architecture.whitened.then(|| sum.whitening(network.device()))
    }
}

/// Runs the backbone of `network`. `scratch` is the folder for the features.
pub fn run(
    network: &Network,
    extraction: &Extraction<'_>,
    scratch: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<Features> {
    let _guard = tch::no_grad_guard();
    let Extraction { files, trained_on, others, copies, .. } = extraction;
    let pictures = trained_on.iter().map(Vec::len).sum::<usize>() * (1 + copies) + others.len();
    let mut features = Features {
        store: FeatureStore::new(scratch, pictures, network.architecture.shapes())?,
        rows: vec![Vec::new(); files.len()],
        moments: Vec::new(),
    };
    let extractor = Extractor::new(network);
    if let Some(note) = extractor.note() {
        say(&format!("note: {note}"));
    }
    let mut progress = Progress::start("features", pictures);
    let mut done = 0;
    let lists = trained_on.iter().map(|images| (images, true)).chain([(others, false)]);
    for (images, is_trained_on) in lists {
        let mut moments = (is_trained_on && network.architecture.whitened)
            .then(|| Moments::new(&network.architecture.flow.channels));
        // Batches do not straddle the border of a list, so that its moments are its own.
        for chunk in images.chunks(BATCH) {
            let decoded = read_all(&chunk.iter().map(|&image| files[image].clone()).collect::<Vec<_>>())?;
            for copy in 0..=(if is_trained_on { *copies } else { 0 }) {
                if stop.load(Relaxed) {
                    return Err(TrainError::Stopped { before: "training began" }.into());
                }
                let maps = extractor.features(&input(network, extraction, chunk, &decoded, copy))?;
                if let Some(moments) = &mut moments {
                    moments.add(&on_cpu(&maps));
                }
                features.store.push(&maps).context("cannot keep features")?;
                for &image in chunk {
                    features.rows[image].push(done);
                    done += 1;
                }
                progress.set(done, "");
            }
        }
        features.moments.extend(moments);
    }
    let copied =
        if *copies > 0 { format!(" of {} images and their copies", files.len()) } else { String::new() };
    progress.finish(&format!("{pictures} pictures{copied}"));
    Ok(features)
}

/// `decoded`, the pictures of the images in `chunk`, as the network takes them. Copy 0 is the picture itself; a
/// copy's changes hang on nothing but the seed, the image and the copy.
fn input(
    network: &Network,
    extraction: &Extraction<'_>,
    chunk: &[usize],
    decoded: &[Decoded],
    copy: usize,
) -> Tensor {
    let resized: Vec<Tensor> = chunk
        .iter()
        .zip(decoded)
        .map(|(&image, picture)| {
            let pixels = preprocess::resize(picture.view(), network.architecture.input_px);
            if copy == 0 {
                return pixels;
            }
            let stream = (image as u128) << 32 | copy as u128;
            let mut rng = Pcg64::new(u128::from(extraction.seed), stream);
            extraction.augment.apply(&pixels, picture.size, &mut rng)
        })
        .collect();
    preprocess::normalise(&Tensor::cat(&resized, 0), &Preprocess::known(), network.device())
}

fn on_cpu(maps: &[Tensor]) -> Scales {
    maps.iter().map(|map| map.to_device(Device::Cpu)).collect()
}
