//! `csflowd calibrate`.

use std::path::PathBuf;

use clap::Args;

use super::{exit, print, print_json};
use crate::calibrate::Shortfall;
use crate::calibrate::share::Share;
use crate::clock::SystemClock;
use crate::config::engine::Device;
use crate::recalibrate::{self, Options};

pub(super) const LONG: &str = "\
Find a bundle's threshold again, with good parts from production

The threshold is one of the scores of good parts that the network was not trained on, the highest rank that keeps the \
target: with the confidence asked for, no more than the target share of good parts scores above it, whatever the law \
of the scores. That holds if these parts are drawn as the line's parts are: take them all as they come, over shifts, \
lots and days, and do not pick. The bundle keeps their scores, so --data may be given again and again, and without \
--data another target or guard band is set from the scores that are there. Without any change the calibration is shown.

Parts needed for a target at 95 % confidence: 5 %: 59, 2 %: 149, 1 %: 299, 0.5 %: 598, 0.2 %: 1497, 0.1 %: 2995. A target \
that there are too few parts for is refused with exit code 66.

Images of --data that look like one part count as one, as in training. A picture that is in the bundle already counts once, and one that the network was trained on is refused, if its pixels are the very same. Not noticed are: a picture that was saved again with loss, cropped or scaled; another picture of a part that the network was trained on; another picture of a part that came with an earlier --data, unless its name says so. With --group-by a part's name stands for that part for good: a name that comes again in a later call joins the part that is there, so names that start anew each day make many parts one. How many images joined is told.

A bundle that was trained with folds keeps scores of the folds' networks. Their bound rests on the assumption that the \
final network scores new parts as they do, and is marked so, until --replace puts held-out parts in their place.

A line marked \"extrapolated\" is an estimate of what lies beyond the scores. Nothing is decided by it.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Bundle to calibrate
    #[arg(long, value_name = "FILE.csflow")]
    bundle: PathBuf,
    /// Folder of good parts: images in the folder itself, else in test/good, else in good
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Product file whose ROI says what counts of each image; with --replace it may be a new one. The network sees all of
    /// the image, so what changes outside may still move the score
    #[arg(long, value_name = "FILE.toml", requires = "data")]
    product: Option<PathBuf>,
    /// Bundle to write [default: the same file]
    #[arg(long, value_name = "FILE.csflow")]
    out: Option<PathBuf>,
    /// Share of good parts that may be rejected, such as 0.5% [default: the bundle's]
    #[arg(long, value_name = "SHARE")]
    target_overkill: Option<Share>,
    /// How sure that must be [default: the bundle's]
    #[arg(long, value_name = "SHARE")]
    confidence: Option<Share>,
    /// Scores less than this below the threshold are not decidable; `csflowd msa` proposes one [default: the bundle's]
    #[arg(long, value_name = "SCORE", value_parser = guard_band)]
    guard_band: Option<f64>,
    /// Forget the scores in the bundle: the images of --data take their place
    #[arg(long, requires = "data")]
    replace: bool,
    /// Take the largest score where there are too few parts for the target; the bundle says that nothing is guaranteed
    #[arg(long)]
    force: bool,
    /// A file's name before the last SEPARATOR names its part, and images of one part count as one [default: each image
    /// is a part]
    #[arg(long, value_name = "SEPARATOR", requires = "data", value_parser = separator())]
    group_by: Option<String>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let Arguments { json, .. } = arguments;
    let options = Options {
        bundle: arguments.bundle,
        out: arguments.out,
        data: arguments.data,
        product: super::product::read(arguments.product.as_deref())?,
        group_by: arguments.group_by,
        replace: arguments.replace,
        overkill: arguments.target_overkill,
        confidence: arguments.confidence,
        guard_band: arguments.guard_band,
        shortfall: if arguments.force { Shortfall::Flag } else { Shortfall::Refuse },
        device: arguments.device,
        command: super::command_line(),
    };
    let report = recalibrate::run(&options, &SystemClock::start())?;
    if json {
        print_json(&report)?;
    } else {
        print(&report.to_string())?;
    }
    Ok(exit::OK)
}

/// What names a part ends before this.
pub(super) fn separator() -> impl clap::builder::TypedValueParser<Value = String> {
    clap::builder::NonEmptyStringValueParser::new()
}

fn guard_band(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| "must be a number, not negative, in the unit of the score".into())
}
