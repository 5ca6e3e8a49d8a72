//! Production's good parts in a bundle's calibration, without a new training.
//!
//! Owns the order of the work: which pictures are new, what the bundle's own network says of them, and that the
//! bundle is written whole or not at all. The statistics are those of [`calibrate`](crate::calibrate).

pub mod pictures;
pub mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::appearance::usual::Usual;
use crate::calibrate::evidence::{MadeOn, Sample};
use crate::calibrate::renew::Renewal;
use crate::calibrate::share::Share;
use crate::calibrate::{Calibration, Shortfall, Target, check_carried, tail};
use crate::clock::Clock;
use crate::config::engine::{Device, Precision};
use crate::config::product::Product;
use crate::dataset;
use crate::engine::detector::Detector;
use crate::engine::{Engine, How, threads};
use crate::model::bundle::manifest::Manifest;
use crate::model::bundle::roi::CalibratedRoi;
use crate::model::bundle::{Bundle, destination, writing};
use crate::progress::Progress;
use crate::recalibrate::pictures::{Chosen, Held, NewPicture};
use crate::recalibrate::report::{Report, Taken};
use crate::train::held_out::{self, Judged};

/// What to change, and where.
#[derive(Clone, Debug)]
pub struct Options {
    pub bundle: PathBuf,
    /// None writes the bundle in its place.
    pub out: Option<PathBuf>,
    /// Good parts that the network was not trained on. None keeps the scores that are there.
    pub data: Option<PathBuf>,
    /// What is being made: its ROI says what counts of each image.
    pub product: Option<Product>,
    /// What stands between a part's name and the rest of a file's name. None takes each image for a part.
    pub group_by: Option<String>,
    /// The parts take the place of those in the bundle.
    pub replace: bool,
    /// None keeps the bundle's.
    pub overkill: Option<Share>,
    pub confidence: Option<Share>,
    pub guard_band: Option<f64>,
    pub shortfall: Shortfall,
    pub device: Device,
    /// The command as given, for the bundle.
    pub command: String,
}

/// Calibrates again and writes the bundle, if anything changes.
pub fn run(options: &Options, clock: &dyn Clock) -> anyhow::Result<Report> {
    let found = options.data.as_deref().map(dataset::good::images).transpose()?;
    let bundle = Bundle::read(&options.bundle)?;
    let before = &bundle.manifest.calibration;
    let target = Target {
        overkill: options.overkill.unwrap_or(before.target().overkill),
        confidence: options.confidence.unwrap_or(before.target().confidence),
    };
    let guard_band = options.guard_band.unwrap_or(before.guard_band);
    // Whoever sets a guard band alone asks nothing new of the parts: a target that is flagged stays so.
    let asks_anew = options.data.is_some() || target != before.target();
    let shortfall = if asks_anew { options.shortfall } else { Shortfall::Flag };
    if !asks_anew && guard_band == before.guard_band && options.out.is_none() {
        return Ok(report(options, before, before, None, None));
    }
    let out = options.out.as_ref().unwrap_or(&options.bundle);
    destination::check(out)?;

    let (mut samples, mut made_on, mut taken, mut inspected) = (Vec::new(), None, None, None);
    let (mut scoring, mut appearance) = (bundle.manifest.scoring.clone(), bundle.manifest.appearance.clone());
    if let Some((folder, files)) = found {
        let calibrated = CalibratedRoi::of(&bundle.manifest);
        match &options.product {
            None => calibrated.check_alone()?,
            Some(product) => calibrated.check_anew(product.roi.as_deref(), options.replace, &product.file)?,
        }
        let held = if options.replace { Held::default() } else { held(before) };
        let chosen =
            pictures::choose(&files, options.group_by.as_deref(), &held, &bundle.manifest.provenance)?;
        if shortfall == Shortfall::Refuse {
            // Known before the network looks at anything.
            let new = chosen.new.iter().map(|new| new.part.as_str());
            let parts: BTreeSet<&str> = held.parts.iter().copied().chain(new).collect();
            check_carried(parts.len(), target)?;
        }
        let roi = options.product.as_ref().and_then(|product| product.roi.as_deref());
        inspected = roi.map(|roi| calibrated.inspected(roi));
        if options.replace || !chosen.new.is_empty() {
            let mut engine = Engine::load(&bundle, how(options.device, before))?;
            engine.set_roi(roi)?;
            (samples, made_on) = measure(&mut engine, &chosen.new, clock)?;
            scoring.roi_sha256 = roi.map(|roi| roi.sha256().to_owned());
        }
        appearance = appearance.map(|usual| chosen.looks.iter().fold(usual, Usual::with));
        taken = Some(tally(&folder, &files, &chosen, &held));
    }
    let is_changed = options.replace
        || !samples.is_empty()
        || target != before.target()
        || guard_band != before.guard_band;
    if !is_changed {
        // Another file is a copy of this one, and this one need not be written.
        if let Some(out) = &options.out {
            writing::rewrite(&options.bundle, &bundle.sha256, &bundle.manifest, out)?;
        }
        return Ok(report(options, before, before, taken, options.out.as_ref()));
    }
    let after = before.renewed(&Renewal {
        samples: &samples,
        made_on: made_on.as_ref(),
        replace: options.replace,
        target,
        shortfall,
        guard_band: options.guard_band,
        at: &clock.now().rfc3339()?,
        command: &options.command,
    })?;
    if let (Some(taken), Some(change)) = (&mut taken, after.changes.last()) {
        taken.parts_added = change.parts;
    }
    let manifest = Manifest { calibration: after.clone(), scoring, appearance, ..bundle.manifest.clone() };
    writing::rewrite(&options.bundle, &bundle.sha256, &manifest, out)?;
    let mut report = report(options, before, &after, taken, Some(out));
    report.roi = inspected.map(Into::into);
    Ok(report)
}

/// In the precision in which the parts that are there were judged.
fn how(device: Device, before: &Calibration) -> How {
    How { device, precision: Precision::F32, threads: threads::count(), together: 1, judge: before.judge() }
}

/// What the bundle's network says of `pictures`, one at a time, as the daemon judges them; and what computed it.
fn measure(
    engine: &mut Engine,
    pictures: &[NewPicture],
    clock: &dyn Clock,
) -> anyhow::Result<(Vec<Sample>, Option<MadeOn>)> {
    let mut progress = Progress::start("calibration", pictures.len());
    let files: Vec<PathBuf> = pictures.iter().map(|picture| picture.path.clone()).collect();
    let judged = held_out::judge(engine, &files, 1, &mut |done| progress.set(done, ""), clock)?;
    progress.finish(&format!("{} images", pictures.len()));
    let sample = |(NewPicture { fingerprint, part, .. }, Judged { score, map_max }): (&NewPicture, _)| {
        Sample { score, map_max, part: part.clone(), image: fingerprint.clone() }
    };
    Ok((pictures.iter().zip(judged).map(sample).collect(), Some(held_out::made_on(engine))))
}

fn held(calibration: &Calibration) -> Held<'_> {
    let parts = calibration.parts.iter().map(|part| part.part.as_str()).collect();
    Held { images: calibration.images(), parts }
}

fn tally(folder: &Path, files: &[PathBuf], chosen: &Chosen, held: &Held<'_>) -> Taken {
    Taken {
        folder: folder.display().to_string(),
        images: files.len(),
        known: chosen.known,
        repeated: chosen.repeated,
        added: chosen.new.len(),
        parts_added: 0,
        joined: chosen.new.iter().filter(|new| held.parts.contains(new.part.as_str())).count(),
        alike: chosen.alike,
    }
}

fn report(
    options: &Options,
    before: &Calibration,
    after: &Calibration,
    taken: Option<Taken>,
    written: Option<&PathBuf>,
) -> Report {
    let text = |path: &PathBuf| path.display().to_string();
    Report::new(text(&options.bundle), before, after, taken, written.map(text), tail::fit(after))
}
