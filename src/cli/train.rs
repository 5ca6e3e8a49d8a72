//! `csflowd train`.

mod scoring;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use clap::Args;

use crate::calibrate::Target;
use crate::calibrate::share::{Percent, Share};
use crate::clock::SystemClock;
use crate::config::engine::Device;
use crate::engine::guard;
use crate::model::preset::Preset;
use crate::progress::say;
use crate::train::{self, Options};

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
    #[command(flatten)]
    changes: Changes,
    /// Passes over the images [default: the preset's]
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
    /// Share of good parts that may be rejected: sets the threshold
    #[arg(long, default_value = "1%", value_name = "SHARE")]
    target_overkill: Share,
    /// How sure that must be
    #[arg(long, default_value = "95%", value_name = "SHARE")]
    confidence: Share,
    /// Product file whose ROI says what counts of each image
    #[arg(long, value_name = "FILE.toml")]
    product: Option<PathBuf>,
    #[command(flatten)]
    scoring: ScoringArguments,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    // The second Ctrl-C does not wait for the best epoch to be written.
    signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 130, stop.clone())?;
    signal_hook::flag::register(signal_hook::consts::SIGINT, stop.clone())?;
    let product = super::product::read(arguments.product.as_deref())?;
    let options = Options {
        data: arguments.data,
        out: arguments.out,
        preset: arguments.preset,
        architecture: arguments.changes.apply(arguments.preset)?,
        epochs: arguments.epochs.map(|epochs| epochs as usize),
        seed: arguments.seed,
        device: arguments.device,
        backbone_weights: arguments.backbone_weights,
        target: Target { overkill: arguments.target_overkill, confidence: arguments.confidence },
        method: arguments.scoring.method(arguments.preset),
        roi: product.and_then(|product| product.roi),
        command: std::env::args_os()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" "),
    };
    // A GPU that is too small for the preset is no bug of ours: it is told in a sentence.
    let trained = guard::catch(|| train::run(&options, &stop, &SystemClock::start()));
    let summary = trained.map_err(|cause| anyhow!("training failed, nothing was written: {cause}"))??;

    let train::Summary { trained_on, watched, held_out, outcome, calibration, .. } = &summary;
    if outcome.stopped {
        say(&format!("stopped after {} epochs; the best so far is kept", outcome.losses.len()));
    }
    say(&format!("trained on {trained_on} images, watched {watched}, held out {held_out}"));
    say(&format!(
        "threshold {:.4}: at most {} of good parts are rejected, with {} confidence",
        calibration.threshold,
        Percent(calibration.attained_overkill_bound),
        Percent(calibration.confidence),
    ));
    if !calibration.guaranteed {
        say(&format!(
            "the target of {} needs {} held-out good images; {held_out} carry no more than that",
            Percent(calibration.target_overkill),
            calibration.n_needed,
        ));
    }
    say(&format!(
        "{} written in {:.0} s (features {:.0} s, training {:.0} s)",
        options.out.display(),
        summary.total_time.as_secs_f64(),
        summary.feature_time.as_secs_f64(),
        summary.training_time.as_secs_f64(),
    ));
    Ok(exit::OK)
}
