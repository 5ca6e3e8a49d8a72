//! `csflowd train`.

mod scoring;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use clap::Args;

use crate::calibrate::share::Share;
use crate::clock::SystemClock;
use crate::config::engine::Device;
use crate::engine::guard;
use crate::model::preset::Preset;
use crate::progress::say;
use crate::train::augment::Augment;
use crate::train::{self, Options, destination};

use super::architecture::Changes;
use super::exit;
use scoring::ScoringArguments;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder with train/good (the layout of MVTec AD), or with the images of good parts themselves
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Bundle to write
    #[arg(long, value_name = "FILE.csflow")]
    out: PathBuf,
    /// Size of the network
    #[arg(long, default_value = "lite", value_parser = super::preset())]
    preset: Preset,
    /// Train as this preset is trained, whatever the network: optimiser and epochs [default: the preset's own]
    #[arg(long, value_parser = super::preset(), value_name = "PRESET", hide_short_help = true)]
    schedule: Option<Preset>,
    /// Passes over the images [default: the schedule's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    epochs: Option<u32>,
    /// The same seed on the same machine gives the same network
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Weights of the backbone [default: where `make setup` put them]
    #[arg(long, value_name = "FILE.safetensors")]
    backbone_weights: Option<PathBuf>,
    /// Begin with the flow of another product's bundle, of the same network
    #[arg(long, value_name = "FILE.csflow")]
    from: Option<PathBuf>,
    /// File names name the part before the last SEPARATOR: images of one part stay together
    ///
    /// Without it images of one part are told by equal pixels and by their looks alone. A part under quite another light,
    /// turned or moved is not noticed, and a threshold from images of parts that were trained on is too low. Names must be
    /// unique: one that starts anew each day makes many parts one.
    #[arg(long, value_name = "SEPARATOR", value_parser = super::calibrate::separator())]
    group_by: Option<String>,
    /// Judge each of K folds by a network trained on the others; 0 holds a fifth of the parts out instead
    /// [default: 5 below 200 images, else 0; 0 too if --from has seen any of them]
    #[arg(long, value_name = "K", value_parser = folds)]
    folds: Option<usize>,
    /// Changes that a good part may show, such as flip-h,flip-v,rotate=3,brightness=5%
    #[arg(long, value_name = "LIST")]
    augment: Option<Augment>,
    /// Changed copies of each image trained on
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        requires = "augment",
        value_parser = clap::value_parser!(u8).range(1..=50)
    )]
    copies: u8,
    /// Share of good parts that may be rejected: sets the threshold [default: the smallest of 0.1, 0.2, 0.5, 1, 2, 5
    /// and 10 % that the images carry]
    #[arg(long, value_name = "SHARE")]
    target_overkill: Option<Share>,
    /// How sure that must be
    #[arg(long, default_value = "95%", value_name = "SHARE")]
    confidence: Share,
    /// Product file whose ROI says what counts of each image. The network sees all of the image, so what changes outside
    /// may still move the score
    #[arg(long, value_name = "FILE.toml")]
    product: Option<PathBuf>,
    /// Where pictures of good images go that look unlike the others [default: beside the bundle]
    #[arg(long, value_name = "DIR")]
    outliers: Option<PathBuf>,
    /// Forget an interrupted training instead of going on with it
    #[arg(long)]
    restart: bool,
    /// Train although the images cannot carry the target, or a picture to train on is called defective in test
    #[arg(long)]
    force: bool,
    // Last: their headings hold for all that follows.
    #[command(flatten)]
    scoring: ScoringArguments,
    #[command(flatten)]
    changes: Changes,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    // The second Ctrl-C does not wait for the best epoch to be written.
    signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 130, stop.clone())?;
    signal_hook::flag::register(signal_hook::consts::SIGINT, stop.clone())?;
    let outliers = arguments.outliers.unwrap_or_else(|| destination::outliers(&arguments.out));
    let product = super::product::read(arguments.product.as_deref())?;
    let options = Options {
        outliers,
        data: arguments.data,
        out: arguments.out,
        schedule: arguments.schedule.unwrap_or(arguments.preset),
        architecture: arguments.changes.apply(arguments.preset)?,
        epochs: arguments.epochs.map(|epochs| epochs as usize),
        seed: arguments.seed,
        device: arguments.device,
        backbone_weights: arguments.backbone_weights,
        from: arguments.from,
        group_by: arguments.group_by,
        folds: arguments.folds,
        augment: arguments.augment.unwrap_or_default(),
        copies: arguments.augment.map_or(0, |_| usize::from(arguments.copies)),
        target_overkill: arguments.target_overkill,
        confidence: arguments.confidence,
        restart: arguments.restart,
        force: arguments.force,
        method: arguments.scoring.method(arguments.preset),
        roi: product.and_then(|product| product.roi),
        command: super::command_line(),
    };
    // A GPU that is too small for the preset is no bug of ours: it is told in a sentence.
    let trained = guard::catch(|| train::run(&options, &stop, &SystemClock::start()));
    let summary = trained.map_err(|cause| anyhow!("training failed, nothing was written: {cause}"))??;

    if summary.outcome.stopped {
        let epochs = summary.outcome.losses.len();
        say(&format!(
            "stopped after {epochs} epochs; the best so far is kept, and the same command trains on"
        ));
    }
    say(&summary.calibration.to_string());
    say(&format!(
        "{} written in {:.0} s (features {:.0} s, training {:.0} s)",
        options.out.display(),
        summary.total_time.as_secs_f64(),
        summary.feature_time.as_secs_f64(),
        summary.training_time.as_secs_f64(),
    ));
    Ok(exit::OK)
}

fn folds(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&k: &usize| k != 1 && k <= 100);
    number.ok_or_else(|| "must be 0, or a number from 2 to 100".to_owned())
}
