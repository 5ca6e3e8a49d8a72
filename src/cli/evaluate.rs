//! `csflowd evaluate`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::calibrate::separator;
use super::product::{ProductFile, Station};
use super::{exit, print, print_json};
use crate::appearance::{self, Look};
use crate::clock::{Clock, SystemClock};
use crate::config::engine::{Device, Precision};
use crate::config::product::Product;
use crate::dataset::groups::Groups;
use crate::dataset::parts::Parts;
use crate::dataset::{self, Labelled};
use crate::engine;
use crate::evaluate::check::{self, Note};
use crate::evaluate::compare::Comparison;
use crate::evaluate::record::{About, Record};
use crate::evaluate::{self, Judged, Rules};
use crate::frame::Size;
use crate::inference::rules::Limits;
use crate::model::bundle::manifest::Manifest;
use crate::progress::{Progress, say};
use crate::report::{self, Subject};
use crate::train::held_out;

/// How to read what is printed.
const FIGURES: &str = "\
What is printed, each with its exact or DeLong's 95 % limits where it has some:
  AUROC             chance that a defective image scores higher than a good one; also for each
                    class of defects alone. Limits: DeLong's, or, where hardly any image is on the
                    wrong side, the exact ones of as many pairs as there are images
  FPR at N % TPR    good images rejected by the threshold that finds N % of the defective ones
  overkill          good images judged not OK at the bundle's threshold
  escape            defective images judged OK at the bundle's threshold
    by part         good parts with an image judged not OK, where several images show one part
  promise           the most overkill that the calibration allows, and whether these parts agree
  AUPRO             share of each defect that is marked, over the share of good pixels that are,
                    up to 0.3 of these (Bergmann et al. 2020)
  one cell          what the network sees as one: much smaller defects are hard to see
  defects hit       single defects of the masks (8-connected) that a region lies on, by their area
                    as a multiple of the area of one cell of the network
  false regions     regions on good images
  time per image    pre-processing, network and regions for one image alone

Images within the guard band are not decidable: neither overkill nor escape, but rejected. Images
and masks that cannot be used are told before the network runs, and nothing is skipped.

Examples:
  csflowd evaluate --bundle tile.csflow --data tiles --report tiles-report
  csflowd evaluate --bundle old.csflow --compare new.csflow --data tiles --json";

#[derive(Debug, Args)]
#[command(after_long_help = FIGURES)]
pub(super) struct Arguments {
    /// Bundle to evaluate
    #[arg(long, value_name = "FILE.csflow")]
    bundle: PathBuf,
    #[command(flatten)]
    product: ProductFile,
    /// Further bundles, judged on the same images and shown side by side, with the difference of each AUROC to that
    /// of --bundle and DeLong's paired test. A report is about --bundle and holds the table of all
    #[arg(long, value_name = "FILE.csflow", num_args = 1..)]
    compare: Vec<PathBuf>,
    /// Folder with test/good, test/<defect> and, for pixels, `ground_truth/<defect>/<name>_mask.png` of the size of
    /// its image, defects white
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A file's name before the last SEPARATOR names its part, and the promise is judged by part: a good part is
    /// rejected when one of its images is
    ///
    /// Without it good images of one part are told by equal pixels and by their looks alone, as in training.
    #[arg(long, value_name = "SEPARATOR", value_parser = separator())]
    group_by: Option<String>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// f32, in which bundles are calibrated, or tf32, bf16, f16, or auto as a station has it
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Write a report for people into this folder: one page, index.html, that needs nothing but itself and prints
    /// well. It replaces the one that is there
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    json: bool,
}

/// One bundle on the test set, and what is needed to show it.
struct Evaluated {
    record: Record,
    judged: Vec<Judged>,
    manifest: Manifest,
    product: Option<Product>,
}

/// What is the same for all bundles.
struct TestSet<'a> {
    images: &'a [Labelled],
    notes: Vec<Note>,
    fingerprints: &'a [String],
    sizes: &'a [Size],
    good_parts: Option<&'a Groups>,
    looks: &'a [Look],
    data: &'a Path,
    data_sha256: String,
    command: String,
}

impl<'a> TestSet<'a> {
    /// The images whose fingerprints are such.
    fn those(&self, is_such: impl Fn(&str) -> bool) -> Vec<&'a Labelled> {
        let known = self.images.iter().zip(self.fingerprints);
        known.filter(|(_, print)| is_such(print)).map(|(image, _)| image).collect()
    }

    fn out_of_range(&self, limits: &appearance::limits::Limits) -> Option<Note> {
        let looked = self.images.iter().zip(self.looks);
        let odd: Vec<_> = looked.filter_map(|(image, look)| Some((image, limits.oddity(look)?))).collect();
        let (first, why) = odd.first()?;
        let good = odd.iter().filter(|(image, _)| image.is_good).count();
        Some(Note::OutOfRange { images: odd.len(), good, first: first.path.clone(), why: why.to_string() })
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let clock = SystemClock::start();
    if let Some(folder) = &arguments.report {
        report::prepare(folder)?;
    }
    let test = dataset::test_images(&arguments.data)?;
    for warning in &test.warnings {
        say(&format!("warning: {warning}"));
    }
    let mut looked = check::images(&test.images)?;
    let parts = check::good_parts(&test.images, &looked, arguments.group_by.as_deref());
    if let Some(Parts { groups, notes, .. }) = &parts {
        for note in notes {
            say(note);
        }
        let images = test.images.iter().filter(|image| image.is_good).count();
        looked
            .notes
            .extend((groups.count() < images).then_some(Note::Parts { images, parts: groups.count() }));
    }
    let check::Looked { notes, sizes, fingerprints, looks, .. } = looked;
    for note in &notes {
        say(&format!("note: {note}"));
    }
    let masks = test.images.iter().filter_map(|image| image.mask.clone());
    let files: Vec<PathBuf> = test.images.iter().map(|image| image.path.clone()).chain(masks).collect();
    let set = TestSet {
        images: &test.images,
        notes,
        fingerprints: &fingerprints,
        sizes: &sizes,
        good_parts: parts.as_ref().map(|parts| &parts.groups),
        looks: &looks,
        data: &arguments.data,
        data_sha256: dataset::data_sha256(&arguments.data, &files)?,
        command: super::command_line(),
    };
    let Evaluated { record, judged, manifest, product } =
        evaluate(&set, &arguments.bundle, arguments, &clock)?;
    let mut records = vec![record.clone()];
    for bundle in &arguments.compare {
        records.push(evaluate(&set, bundle, arguments, &clock)?.record);
    }
    let comparison = match records.len() {
        1 => None,
        _ => Some(Comparison::new(records).context("the bundles were not shown the same images")?),
    };
    if let Some(folder) = &arguments.report {
        let subject = Subject {
            record: &record,
            manifest: &manifest,
            images: &test.images,
            judged: &judged,
            roi: product.as_ref().and_then(|product| product.roi.as_deref()),
            comparison: comparison.as_ref(),
        };
        let page = report::write(folder, subject)?;
        say(&format!("report written to {}", page.display()));
    }
    match comparison {
        None if arguments.json => print_json(&record)?,
        None => print(&record.to_string())?,
        Some(comparison) if arguments.json => print_json(&comparison)?,
        Some(comparison) => print(&comparison.to_string())?,
    }
    Ok(exit::OK)
}

fn evaluate(
    set: &TestSet<'_>,
    bundle_file: &Path,
    arguments: &Arguments,
    clock: &dyn Clock,
) -> anyhow::Result<Evaluated> {
    let Station { bundle, mut engine, limits, product, image } =
        arguments.product.load(bundle_file, arguments.device, arguments.precision)?;
    let Manifest { calibration, provenance, .. } = &bundle.manifest;
    let roi = product.as_ref().and_then(|product| product.roi.as_deref());
    if let Some(roi) = roi {
        check::sizes(set.images, set.sizes, roi)?;
    }
    let mut notes = set.notes.clone();
    let mut tell = |note: Note| {
        say(&format!("note: {note}"));
        notes.push(note);
    };
    let calibrating = calibration.images();
    let seen = set.those(|print| provenance.was_seen(print));
    if let Some(first) = seen.first() {
        tell(Note::SeenInTraining { images: seen.len(), first: first.path.clone() });
    }
    let own = set.those(|print| calibrating.contains(print));
    if let Some(first) = own.first() {
        tell(Note::Calibrating { images: own.len(), first: first.path.clone() });
    }
    if let Some(note) = set.out_of_range(&image) {
        tell(note);
    }
    let known = set.those(|print| provenance.was_seen(print) || calibrating.contains(print));
    let known_good = known.iter().filter(|image| image.is_good).count();
    let Limits { judge, regions, is_calibrated } = limits;
    let good_parts = set.good_parts;
    let rules = Rules { judge, regions, calibration, is_calibrated, roi, known_good, good_parts };
    let here = held_out::made_on(&engine);
    let calibrated_on: Vec<String> = (bundle.manifest.calibrated_on().into_iter())
        .map(|made_on| made_on.map_or("not recorded".into(), ToString::to_string))
        .collect();
    if calibrated_on != [here.to_string()] {
        tell(Note::CalibratedOn { calibration: calibrated_on.join(" and "), here: here.to_string() });
    }
    let mut progress = Progress::start("evaluation", set.images.len());
    let (evaluation, judged) =
        evaluate::run(&mut engine, rules, set.images, &mut |done, _| progress.set(done, ""), clock)?;
    progress.finish(&format!("{} images, {}", set.images.len(), bundle_file.display()));
    if let Some(first) = evaluation.outside_roi.first() {
        tell(Note::OutsideRoi { masks: evaluation.outside_roi.len(), first: first.clone() });
    }
    let about = About {
        bundle: bundle_file.display().to_string(),
        bundle_sha256: bundle.sha256,
        product: arguments.product.product.as_ref().map(|file| file.display().to_string()),
        roi_sha256: roi.map(|roi| roi.sha256().to_owned()),
        data: set.data.display().to_string(),
        data_sha256: set.data_sha256.clone(),
        device: here.device,
        precision: here.precision,
        calibrated_on,
        software: concat!("csflowd ", env!("CARGO_PKG_VERSION")).into(),
        libtorch: engine::LIBTORCH.into(),
        command: set.command.clone(),
        created: clock.now().rfc3339()?,
    };
    let record = Record { about, notes, evaluation };
    Ok(Evaluated { record, judged, manifest: bundle.manifest, product })
}
