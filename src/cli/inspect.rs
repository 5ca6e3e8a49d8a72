//! `csflowd inspect`.

use std::path::PathBuf;

use clap::Args;

use super::product::{ProductFile, Station};
use super::{exit, print, print_json};
use crate::clock::SystemClock;
use crate::config::engine::{Device, Precision};
use crate::inference::rules::Limits;
use crate::inspect::{self, Rules};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Bundle to judge with
    #[arg(long, value_name = "FILE.csflow")]
    bundle: PathBuf,
    #[command(flatten)]
    product: ProductFile,
    /// PNG, JPEG, BMP or TIFF files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// f32, in which bundles are calibrated, or tf32, bf16, f16, or auto as a station has it
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Write each image with its anomaly map and regions into this folder; what lies outside the ROI is darkened
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    json: bool,
}

/// Ends with 66 if an image could not be read; the others are judged all the same.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let Station { bundle, mut engine, limits, product, image } =
        arguments.product.load(&arguments.bundle, arguments.device, arguments.precision)?;
    let Limits { judge, regions, is_calibrated } = limits;
    let calibration = is_calibrated.then_some(&bundle.manifest.calibration);
    let roi = product.as_ref().and_then(|product| product.roi.as_deref());
    let rules = Rules { judge, regions, calibration, roi, image: &image };
    let mut printed = Ok(());
    let inspections = inspect::run(
        &mut engine,
        rules,
        &arguments.images,
        arguments.overlay.as_deref(),
        &mut |inspection| {
            if !arguments.json && printed.is_ok() {
                printed = print(&inspection.to_string());
            }
        },
        &SystemClock::start(),
    )?;
    printed?;
    if arguments.json {
        print_json(&inspections)?;
    }
    Ok(if inspections.unreadable > 0 { exit::NO_INPUT } else { exit::OK })
}
