//! From a folder of good parts to a bundle.
//!
//! ```text
//!  images ─▶ split ─┬▶ trained on ─▶ features ─▶ whitening, epochs ──┐
//!                   ├▶ watched ────▶ features ─▶ best epoch ─────────┼▶ bundle
//!                   └▶ held out ───▶ scores of the finished network ─┴▶ threshold
//! ```
//!
//! The held-out images are never trained on and never chosen by: the threshold's guarantee rests on them.

pub mod average;
pub mod features;
pub mod optimise;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use tch::{Device as TorchDevice, Tensor};

use crate::calibrate::{self, Calibration, Target};
use crate::clock::Clock;
use crate::config::engine::Device;
use crate::dataset;
use crate::engine::{Detector, Engine, cuda};
use crate::frame::{Picture, PixelFormat, Size};
use crate::image_file;
use crate::model::SCALES;
use crate::model::backbone::BackboneKind;
use crate::model::bundle::manifest::{Manifest, MapKind, Provenance, ScoreKind, Scoring, SelfTest};
use crate::model::bundle::{self, hex};
use crate::model::network::{Network, draw_permutations};
use crate::model::preprocess::{self, Preprocess};
use crate::model::preset::{Preset, Schedule};
use crate::model::weights::{self, Weights};
use crate::model::whitening::Moments;
use crate::progress::Progress;
use crate::train::features::FeatureStore;
use crate::train::optimise::{Outcome, Plan};

/// Share of the good images held out for calibration.
const HELD_OUT: f64 = 0.2;

/// Share of the rest that picks the best epoch.
const WATCHED: f64 = 0.1;

/// Images prepared and run together outside training.
const BATCH: usize = 8;

/// Pictures in the bundle's self-test, and how closely their scores must be found again.
const SELF_TEST_PICTURES: usize = 4;
const SELF_TEST_TOLERANCE: f64 = 1e-3;

/// What to train on and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub data: PathBuf,
    pub out: PathBuf,
    pub preset: Preset,
    /// None takes the preset's.
    pub epochs: Option<usize>,
    pub seed: u64,
    pub device: Device,
    /// None looks where `make setup` and the package put them.
    pub backbone_weights: Option<PathBuf>,
    pub target: Target,
    /// The command as given, for the bundle's provenance.
    pub command: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Summary {
    pub trained_on: usize,
    pub watched: usize,
    pub held_out: usize,
    pub outcome: Outcome,
    pub calibration: Calibration,
    pub feature_time: Duration,
    pub training_time: Duration,
    pub total_time: Duration,
}

/// Trains and writes the bundle. `stop` set in the middle of training ends it with the best epoch so far; set
/// before there is one, nothing is written.
pub fn run(options: &Options, stop: &AtomicBool, clock: &dyn Clock) -> anyhow::Result<Summary> {
    let start = clock.now();
    check_can_write(&options.out)?;
    let images = dataset::training_images(&options.data)?;
    let data_sha256 = dataset::data_sha256(&options.data, &images)?;
    let parts = Parts::of(&images, options.seed);

    let (device, device_name) = cuda::open(options.device)?;
    tch::manual_seed(i64::from_ne_bytes(options.seed.to_ne_bytes()));
    let architecture = options.preset.architecture();
    let mut network = Network::new(&architecture, draw_permutations(&architecture, options.seed), device);
    let backbone_sha256 = load_backbone(&network, options.backbone_weights.as_deref())?;

    let fitted = [parts.trained_on.as_slice(), parts.watched.as_slice()].concat();
    let store = extract(&mut network, &fitted, parts.trained_on.len(), stop)?;
    let extracted = clock.now();

    let schedule = Schedule {
        epochs: options.epochs.unwrap_or(options.preset.schedule().epochs),
        ..options.preset.schedule()
    };
    let plan = Plan {
        store: &store,
        trained_on: (0..parts.trained_on.len()).collect(),
        watched: (parts.trained_on.len()..fitted.len()).collect(),
        schedule,
        seed: options.seed,
    };
    let outcome = optimise::run(&network, &plan, stop)?;
    drop(store);
    let trained = clock.now();

    let mut engine = Engine::new(network, Preprocess::known(), device_name);
    let (scores, map_maxima) = judge_held_out(&mut engine, &parts.held_out, clock)?;
    let calibration = calibrate::calibrate(&scores, &map_maxima, options.target)?;
    let self_test = self_test_pictures(&parts.held_out, architecture.input_px)?;
    let manifest = Manifest {
        self_test: SelfTest { scores: engine.self_test_scores(&self_test)?, tolerance: SELF_TEST_TOLERANCE },
        architecture,
        preprocess: Preprocess::known(),
        scoring: Scoring { score: ScoreKind::Mean, map: MapKind::MeanOfScales },
        calibration: calibration.clone(),
        provenance: Provenance {
            data_sha256,
            images: images.len(),
            trained_on: parts.trained_on.len(),
            watched: parts.watched.len(),
            held_out: parts.held_out.len(),
            seed: options.seed,
            epochs_asked: schedule.epochs,
            epoch_kept: outcome.epoch_kept,
            watched_loss: outcome.watched_loss,
            backbone_sha256,
            command: options.command.clone(),
            software: concat!("csflowd ", env!("CARGO_PKG_VERSION")).to_owned(),
            libtorch: "2.11.0".to_owned(),
            created: jiff::Timestamp::try_from(clock.now().utc)?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        },
    };
    bundle::write(&options.out, &manifest, engine.network(), &self_test)?;
    Ok(Summary {
        trained_on: parts.trained_on.len(),
        watched: parts.watched.len(),
        held_out: parts.held_out.len(),
        outcome,
        calibration,
        feature_time: extracted.since(start),
        training_time: trained.since(extracted),
        total_time: clock.now().since(start),
    })
}

/// An hour of training must not end at a folder that is not there.
fn check_can_write(out: &Path) -> anyhow::Result<()> {
    let folder = match out.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => bail!("--out {}: is not a file name", out.display()),
    };
    if !folder.is_dir() {
        bail!("--out {}: there is no folder {}", out.display(), folder.display());
    }
    if out.is_dir() {
        bail!("--out {}: is a folder, give a file name such as product.csflow", out.display());
    }
    tempfile_in(folder).with_context(|| format!("--out {}: cannot write there", out.display()))
}

fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".csflowd-probe-{}", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(probe)
}

/// The good images by their use.
struct Parts {
    trained_on: Vec<PathBuf>,
    watched: Vec<PathBuf>,
    held_out: Vec<PathBuf>,
}

impl Parts {
    fn of(images: &[PathBuf], seed: u64) -> Self {
        let (rest, held_out) = dataset::split(images.len(), HELD_OUT, seed);
        let (trained_on, watched) = dataset::split(rest.len(), WATCHED, seed.wrapping_add(1));
        let pick = |positions: &[usize]| positions.iter().map(|&i| images[i].clone()).collect();
        let through_rest = |positions: Vec<usize>| positions.into_iter().map(|i| rest[i]).collect::<Vec<_>>();
        Self {
            trained_on: pick(&through_rest(trained_on)),
            watched: pick(&through_rest(watched)),
            held_out: pick(&held_out),
        }
    }
}

/// SHA-256 of the weights file.
fn load_backbone(network: &Network, file: Option<&Path>) -> anyhow::Result<String> {
    let kind = network.architecture.backbone;
    let file = match file {
        Some(file) => file.to_owned(),
        None => weights::find(kind).with_context(|| missing_weights(kind))?,
    };
    let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Weights::parse(&file, &bytes)?.load_into(&network.backbone_store, |name| kind.is_beyond(name))?;
    Ok(hex(&Sha256::digest(&bytes)))
}

fn missing_weights(kind: BackboneKind) -> String {
    let name = kind.name();
    match kind {
        BackboneKind::EfficientnetB5 => format!(
            "no weights of {name}: convert torchvision's with scripts/weights.py and give them by --backbone-weights"
        ),
        BackboneKind::EfficientnetLite0
        | BackboneKind::EfficientnetLite1
        | BackboneKind::EfficientnetLite2 => {
            format!(
                "no weights of {name} on this machine: run `make setup`, or give them by --backbone-weights"
            )
        }
    }
}

/// Features of `images`; the whitening is fitted on the first `fit_on` of them.
fn extract(
    network: &mut Network,
    images: &[PathBuf],
    fit_on: usize,
    stop: &AtomicBool,
) -> anyhow::Result<FeatureStore> {
    let _guard = tch::no_grad_guard();
    let side = network.architecture.input_px;
    let channels = network.architecture.flow.channels;
    let mut moments = network.architecture.whitened.then(|| Moments::new(channels));
    let cells = network.architecture.cells();
    let shapes: [[i64; 3]; SCALES] = [1, 2, 4].map(|factor| [channels, cells / factor, cells / factor]);
    let mut store = FeatureStore::new(images.len(), shapes).context("no room for features")?;
    let mut progress = Progress::start("features", images.len());
    let mut done = 0;
    // Batches do not straddle the border, so that the whitening sees the images trained on alone.
    let (first, rest) = images.split_at(fit_on);
    for (chunk, is_fitted) in
        first.chunks(BATCH).map(|c| (c, true)).chain(rest.chunks(BATCH).map(|c| (c, false)))
    {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            bail!("stopped before training began; nothing was written");
        }
        let pictures = read_all(chunk)?;
        let input = preprocess::to_input(&views(&pictures), side, &Preprocess::known(), network.device());
        let features = network.features(&input);
        if let (Some(moments), true) = (&mut moments, is_fitted) {
            moments.add(&features.each_ref().map(|x| x.to_device(TorchDevice::Cpu)));
        }
        store.push(&features).context("cannot keep features")?;
        done += chunk.len();
        progress.set(done, "");
    }
    network.whitening = moments.map(|moments| moments.whitening(network.device()));
    progress.finish(&format!("{} images, kept {}", images.len(), store.place()));
    Ok(store)
}

/// A decoded image file.
struct Decoded {
    size: Size,
    pixels: Vec<u8>,
}

fn read_all(files: &[PathBuf]) -> anyhow::Result<Vec<Decoded>> {
    let read = |file: &PathBuf| {
        let (size, pixels) = image_file::read(file, PixelFormat::Rgb8)?;
        Ok(Decoded { size, pixels })
    };
    files.iter().map(read).collect()
}

fn views(pictures: &[Decoded]) -> Vec<Picture<'_>> {
    pictures.iter().map(|p| Picture { size: p.size, format: PixelFormat::Rgb8, pixels: &p.pixels }).collect()
}

/// Scores and largest map values of the held-out images, judged as the daemon judges.
fn judge_held_out(
    engine: &mut Engine,
    images: &[PathBuf],
    clock: &dyn Clock,
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let mut progress = Progress::start("calibration", images.len());
    let (mut scores, mut maxima) = (Vec::new(), Vec::new());
    for chunk in images.chunks(BATCH) {
        let pictures = read_all(chunk)?;
        for measured in engine.measure(&views(&pictures), clock)?.measured {
            scores.push(measured.score);
            maxima.push(measured.map.max());
        }
        progress.set(scores.len(), "");
    }
    progress.finish(&format!("{} held-out images", images.len()));
    Ok((scores, maxima))
}

fn self_test_pictures(images: &[PathBuf], side: i64) -> anyhow::Result<Vec<Tensor>> {
    let pictures = read_all(&images[..images.len().min(SELF_TEST_PICTURES)])?;
    Ok(views(&pictures).into_iter().map(|picture| preprocess::resize(picture, side).contiguous()).collect())
}
