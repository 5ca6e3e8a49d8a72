//! Single image files judged as the daemon would judge them, for people who want to look.
//!
//! Owns the order of the work and what is told about each image; the drawing is in `overlay`. A file that
//! cannot be read does not stop the others: it is told in its place, and [`Inspections::unreadable`] counts it.

pub mod overlay;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use image::RgbImage;
use serde::Serialize;

use crate::appearance::Look;
use crate::appearance::limits::Limits;
use crate::calibrate::Calibration;
use crate::calibrate::share::Percent;
use crate::causes;
use crate::clock::Clock;
use crate::engine::EngineError;
use crate::engine::detector::Detector;
use crate::frame::{Picture, PixelFormat, Size};
use crate::image_file;
use crate::inspect::overlay::Names;
use crate::roi::Roi;
use crate::verdict::regions::{self, Region, RegionRule};
use crate::verdict::{Evaluation, Judge, Outcome, Reason};

/// What the images are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub judge: Judge,
    pub regions: RegionRule,
    /// Where p-values come from, if there are held-out scores.
    pub calibration: Option<&'a Calibration>,
    /// What counts of each picture; None is the whole.
    pub roi: Option<&'a Roi>,
    /// What a picture must look like for the network to be asked.
    pub image: &'a Limits,
}

/// All images, in the order they were given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspections {
    pub images: Vec<Inspection>,
    /// How many of them could not be read.
    pub unreadable: usize,
}

/// What became of one image file. Lengths are in its pixels, origin top left, x right, y down.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    pub file: String,
    /// 1 OK, 2 `NotOK`, 3 `NotDecidable`, 0 not inspected.
    pub evaluation: u8,
    /// Why it was not inspected; 0 if it was.
    pub code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub threshold: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
}

/// What the network saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    pub width: u32,
    pub height: u32,
    /// Absent if it is not finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// Longer side of one network cell: how coarse the regions are.
    pub cell_px: f64,
    /// Worst first.
    pub regions: Vec<Area>,
    /// How many there were before the list was cut.
    pub region_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<PathBuf>,
}

/// One region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Area {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
    pub cx: f64,
    pub cy: f64,
    pub area_px: f64,
    pub peak: f64,
    pub mean: f64,
}

/// Judges `images` one by one and tells `each`. With `overlays`, a folder that is made if need be, it writes
/// one PNG per image there.
pub fn run(
    detector: &mut dyn Detector,
    rules: Rules<'_>,
    images: &[PathBuf],
    overlays: Option<&Path>,
    each: &mut dyn FnMut(&Inspection),
    clock: &dyn Clock,
) -> anyhow::Result<Inspections> {
    if let Some(folder) = overlays {
        fs::create_dir_all(folder)
            .with_context(|| format!("overlay folder {}: cannot be made", folder.display()))?;
    }
    let mut names = Names::new(images);
    let mut inspections = Vec::with_capacity(images.len());
    for path in images {
        let inspection = match image_file::read(path, PixelFormat::Rgb8) {
            Ok((size, pixels)) => {
                let overlay = overlays.map(|folder| folder.join(names.next(path)));
                judge(detector, rules, path, (size, pixels), overlay, clock)?
            }
            Err(error) => {
                let outcome = Outcome::NotInspected(Reason::FrameCorrupt);
                let error = Some(causes::chain(&error));
                Inspection { error, ..inspection(path, rules, outcome, None) }
            }
        };
        each(&inspection);
        inspections.push(inspection);
    }
    let is_unreadable = |inspection: &&Inspection| inspection.code == Reason::FrameCorrupt.code();
    let unreadable = inspections.iter().filter(is_unreadable).count();
    Ok(Inspections { images: inspections, unreadable })
}

fn judge(
    detector: &mut dyn Detector,
    rules: Rules<'_>,
    path: &Path,
    (size, pixels): (Size, Vec<u8>),
    overlay: Option<PathBuf>,
    clock: &dyn Clock,
) -> anyhow::Result<Inspection> {
    let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
    if let Some(oddity) = rules.image.oddity(&Look::at(picture)) {
        let refused = inspection(path, rules, Outcome::NotInspected(Reason::ImageOutOfRange), None);
        let error = Some(format!("image {}: {oddity}", path.display()));
        return Ok(Inspection { error, ..refused });
    }
    let measured = match detector.measure_one(picture, clock) {
        Ok(measured) => measured,
        Err(error @ EngineError::WrongSize { .. }) => {
            let refused = inspection(path, rules, Outcome::NotInspected(Reason::FrameCorrupt), None);
            let error = Some(format!("image {}: {error}", path.display()));
            return Ok(Inspection { error, ..refused });
        }
        Err(error) => {
            return Err(error).with_context(|| format!("image {}: cannot be judged", path.display()));
        }
    };
    let regions = regions::find(&measured.map, size, rules.regions);
    if let Some(file) = &overlay {
        let mut picture = RgbImage::from_raw(size.width, size.height, pixels).expect("rows are packed");
        if let Some(roi) = rules.roi {
            overlay::draw_roi(&mut picture, roi);
        }
        overlay::draw(&mut picture, &measured.map, rules.regions.map_threshold, &regions.worst);
        overlay::draw_cell(&mut picture, regions::cell_size(measured.cell_px, size));
        picture.save(file).with_context(|| format!("overlay {}: cannot be written", file.display()))?;
    }
    let score = measured.score.is_finite().then_some(measured.score);
    let found = Found {
        width: size.width,
        height: size.height,
        score,
        p_value: score.and_then(|score| Some(rules.calibration?.p_value(score))),
        cell_px: measured.cell_px,
        regions: regions.worst.iter().map(area).collect(),
        region_count: regions.total,
        overlay,
    };
    Ok(inspection(path, rules, rules.judge.outcome(measured.score), Some(found)))
}

fn inspection(path: &Path, rules: Rules<'_>, outcome: Outcome, found: Option<Found>) -> Inspection {
    Inspection {
        file: path.display().to_string(),
        evaluation: outcome.evaluation() as u8,
        code: outcome.code(),
        error: None,
        threshold: rules.judge.threshold().get(),
        found,
    }
}

fn area(region: &Region) -> Area {
    let Region { x, y, w, h, cx, cy, area_px, peak, mean } = *region;
    Area { x, y, w, h, cx, cy, area_px, peak, mean }
}

/// One line.
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.evaluation {
            e if e == Evaluation::Ok as u8 => "OK",
            e if e == Evaluation::NotOk as u8 => "NotOK",
            e if e == Evaluation::NotDecidable as u8 => "undecided",
            _ => "not inspected",
        };
        write!(f, "{word:13}  ")?;
        if let Some(error) = &self.error {
            return f.write_str(error);
        }
        if let Some(found) = &self.found {
            match found.score {
                Some(score) => write!(f, "score {score:.6} (threshold {:.6})", self.threshold)?,
                None => f.write_str("score is not a number")?,
            }
            if let Some(p_value) = found.p_value {
                write!(f, ", p {}", Percent(p_value))?;
            }
            let plural = if found.region_count == 1 { "" } else { "s" };
            write!(f, ", {} region{plural}", found.region_count)?;
            if let Some(worst) = found.regions.first() {
                write!(f, ", worst at ({:.0}, {:.0})", worst.cx, worst.cy)?;
            }
            let frame = Size { width: found.width, height: found.height };
            let [width, height] = regions::cell_size(found.cell_px, frame);
            write!(f, ", one cell is {width:.0}x{height:.0} px")?;
        }
        write!(f, "  {}", self.file)
    }
}

#[cfg(test)]
mod tests;
