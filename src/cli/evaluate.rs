//! `csflowd evaluate`.

use std::path::PathBuf;

use clap::Args;

use super::product::{ProductFile, Station};
use super::{exit, print, print_json};
use crate::clock::SystemClock;
use crate::config::engine::Device;
use crate::dataset;
use crate::evaluate;
use crate::progress::{Progress, say};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Bundle to evaluate
    #[arg(long, value_name = "FILE.csflow")]
    bundle: PathBuf,
    #[command(flatten)]
    product: ProductFile,
    /// Folder with test/good, test/<defect> and, for pixels, `ground_truth/<defect>/<name>_mask.png`
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let test = dataset::test_images(&arguments.data)?;
    for warning in &test.warnings {
        say(&format!("warning: {warning}"));
    }
    let Station { mut engine, judge, .. } = arguments.product.load(&arguments.bundle, arguments.device)?;
    let mut progress = Progress::start("evaluation", test.images.len());
    let evaluation = evaluate::run(
        &mut engine,
        &judge,
        &test.images,
        &mut |done, _| progress.set(done, ""),
        &SystemClock::start(),
    )?;
    progress.finish(&format!("{} images", test.images.len()));
    if arguments.json {
        print_json(&evaluation)?;
    } else {
        print(&evaluation.to_string())?;
    }
    Ok(exit::OK)
}
