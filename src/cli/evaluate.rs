//! `csflowd evaluate`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::{exit, load, print, print_json};
use crate::clock::{Clock, SystemClock};
use crate::config::engine::Device;
use crate::dataset::{self, Labelled};
use crate::engine;
use crate::evaluate::check::{self, Note};
use crate::evaluate::compare::Comparison;
use crate::evaluate::record::{About, Record};
use crate::evaluate::{self, Rules};
use crate::progress::{Progress, say};
use crate::verdict::regions::RegionRule;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Bundle to evaluate
    #[arg(long, value_name = "FILE.csflow")]
    bundle: PathBuf,
    /// Other bundles to show beside it, on the same images
    #[arg(long, value_name = "FILE.csflow", num_args = 1..)]
    compare: Vec<PathBuf>,
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

/// What is the same for all bundles.
struct TestSet<'a> {
    images: &'a [Labelled],
    notes: Vec<Note>,
    data: &'a Path,
    data_sha256: String,
    command: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let clock = SystemClock::start();
    let test = dataset::test_images(&arguments.data)?;
    for warning in &test.warnings {
        say(&format!("warning: {warning}"));
    }
    let notes = check::images(&test.images)?;
    for note in &notes {
        say(&format!("note: {note}"));
    }
    let masks = test.images.iter().filter_map(|image| image.mask.clone());
    let files: Vec<PathBuf> = test.images.iter().map(|image| image.path.clone()).chain(masks).collect();
    let set = TestSet {
        images: &test.images,
        notes,
        data: &arguments.data,
        data_sha256: dataset::data_sha256(&arguments.data, &files)?,
        command: super::command_line(),
    };
    let mut records = Vec::new();
    for bundle in std::iter::once(&arguments.bundle).chain(&arguments.compare) {
        records.push(evaluate(&set, bundle, arguments.device, &clock)?);
    }
    if let [record] = records.as_slice() {
        if arguments.json { print_json(record)? } else { print(&record.evaluation.to_string())? }
    } else {
        let comparison = Comparison::new(records).context("the bundles were not shown the same images")?;
        if arguments.json { print_json(&comparison)? } else { print(&comparison.to_string())? }
    }
    Ok(exit::OK)
}

fn evaluate(
    set: &TestSet<'_>,
    bundle_file: &Path,
    device: Device,
    clock: &dyn Clock,
) -> anyhow::Result<Record> {
    let (bundle, mut engine) = load(bundle_file, device)?;
    let calibration = &bundle.manifest.calibration;
    let rules = Rules {
        judge: calibration.judge(),
        regions: RegionRule { map_threshold: calibration.map_threshold, min_area_px: 0.0 },
        calibration,
    };
    let mut progress = Progress::start("evaluation", set.images.len());
    let (evaluation, _) =
        evaluate::run(&mut engine, rules, set.images, &mut |done, _| progress.set(done, ""), clock)?;
    progress.finish(&format!("{} images, {}", set.images.len(), bundle_file.display()));
    let about = About {
        bundle: bundle_file.display().to_string(),
        bundle_sha256: bundle.sha256,
        data: set.data.display().to_string(),
        data_sha256: set.data_sha256.clone(),
        device: engine.device_name().into(),
        precision: engine.precision().into(),
        software: concat!("csflowd ", env!("CARGO_PKG_VERSION")).into(),
        libtorch: engine::LIBTORCH.into(),
        command: set.command.clone(),
        created: jiff::Timestamp::try_from(clock.now().utc)?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    Ok(Record { about, notes: set.notes.clone(), evaluation })
}
