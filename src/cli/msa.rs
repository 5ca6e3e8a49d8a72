//! `csflowd msa`.

use std::path::PathBuf;

use clap::Args;

use super::calibrate::separator;
use super::product::{ProductFile, Station};
use super::{exit, print, print_json};
use crate::clock::SystemClock;
use crate::config::engine::{Device, Precision};
use crate::dataset;
use crate::msa;
use crate::progress::Progress;

pub(super) const LONG: &str = "\
Say how far judging the same parts again gives the same answer

A measurement system analysis (AIAG, MSA, 4th edition): take a few dozen good and defective parts, some of them close \
to the limit, capture each several times as the line would, put in anew each time, and lay the images out as

  DIR/good/PART/*.png  and  DIR/DEFECT/PART/*.png

or, with --group-by _, as DIR/good/PART_1.png, DIR/good/PART_2.png and so on. Parts whose images the network was trained \
on say nothing about new ones.

Told are: repeatability, the standard deviation of the score within a part, with its interval; how much of the way from \
good parts to the threshold it takes up; effectiveness, misses and false alarms against the truth, by capture and, with \
exact intervals, by part; Cohen's kappa against the truth and Fleiss' kappa of the repeats; the parts whose repeats \
disagree; and a guard band to set with `csflowd calibrate`.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Bundle to judge with
    #[arg(long, value_name = "FILE.csflow")]
    bundle: PathBuf,
    #[command(flatten)]
    product: ProductFile,
    /// Folder with the captures of each part
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A file's name before the last SEPARATOR names its part [default: each part has a folder]
    #[arg(long, value_name = "SEPARATOR", value_parser = separator())]
    group_by: Option<String>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// f32, in which bundles are calibrated, or tf32, bf16, f16, or auto as a station has it
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let parts = dataset::repeats::repeats(&arguments.data, arguments.group_by.as_deref())?;
    let Station { bundle, mut engine, limits, product, .. } =
        arguments.product.load(&arguments.bundle, arguments.device, arguments.precision)?;
    let captures = parts.iter().map(|part| part.captures.len()).sum();
    let mut progress = Progress::start("captures", captures);
    let study = msa::run(
        &mut engine,
        &limits.judge,
        &parts,
        &|fingerprint| bundle.manifest.provenance.was_seen(fingerprint),
        &mut |done| progress.set(done, ""),
        &SystemClock::start(),
    )?;
    progress.finish(&format!("{captures} captures of {} parts", parts.len()));
    if arguments.json {
        print_json(&study)?;
        return Ok(exit::OK);
    }
    print(&study.to_string())?;
    if let Some(band) = study.proposed_guard_band {
        let band = band.rounded_up();
        // The product's own goes before the bundle's, and must be its own where the bundle's does not hold.
        let own = product.filter(|product| product.guard_band.is_some() || !limits.is_calibrated);
        let how = match own {
            Some(product) => format!("guard_band = {band:.6} in {}", product.file.display()),
            None => {
                format!("csflowd calibrate --bundle {} --guard-band {band:.6}", arguments.bundle.display())
            }
        };
        print(&format!("to set it             {how}"))?;
    }
    Ok(exit::OK)
}
