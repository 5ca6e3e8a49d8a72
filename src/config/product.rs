//! `products/<name>.toml`: what is being made and how it is judged.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::problem::{Findings, Problem, Problems};
use super::section::Section;
use super::{layers, raw, reader, roi};
use crate::appearance::limits::Own;
use crate::roi::Roi;
use crate::verdict::Threshold;

const DEADLINE_MS: u64 = 1000;
const MIN_AREA_PX: f64 = 0.0;

#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The file's name without `.toml`.
    pub name: String,
    pub file: PathBuf,
    pub bundle: PathBuf,
    /// None takes the bundle's calibrated threshold.
    pub threshold: Option<Threshold>,
    /// None takes the bundle's.
    pub guard_band: Option<f64>,
    /// From capture to verdict.
    pub deadline: Duration,
    /// Map values above this belong to a region; None takes the bundle's.
    pub map_threshold: Option<f64>,
    pub min_area_px: f64,
    pub mm_per_px: Option<f64>,
    /// What counts of each frame; None is all of it.
    pub roi: Option<Arc<Roi>>,
    /// What pictures must look like for the network to be asked, where it is not what the bundle has learned.
    pub image: Own,
}

/// A product's file, read.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
    /// None where something was wrong with it.
    pub(super) product: Option<Product>,
}

/// Reads all product files of `folder`, not only the active product's: a mistake shows before the change-over,
/// not at it. A bundle given by its name alone is looked up beside its product, then in `bundles_dir`.
pub(super) fn read_all(
    folder: &Path,
    bundles_dir: &Path,
    problems: &mut Vec<Problem>,
) -> std::io::Result<Vec<File>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Editors leave hidden files behind.
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension() == Some(OsStr::new("toml")) && !is_hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.iter().filter_map(|path| read_file(path, bundles_dir, problems)).collect())
}

/// A product read by itself, for a command that is told its bundle: the file's own need not be there yet.
pub fn read_alone(path: &Path) -> Result<Product, Problems> {
    let mut problems = Vec::new();
    let file = read_with(path, &Bundles::Unseen, &mut problems);
    match file.and_then(|file| file.product) {
        Some(product) if problems.is_empty() => Ok(product),
        _ => Err(Problems(problems)),
    }
}

/// Where a product's bundle must be.
enum Bundles<'a> {
    /// Beside the product, or in this folder.
    In(&'a Path),
    Unseen,
}

fn read_file(path: &Path, bundles_dir: &Path, problems: &mut Vec<Problem>) -> Option<File> {
    read_with(path, &Bundles::In(bundles_dir), problems)
}

fn read_with(path: &Path, bundles: &Bundles<'_>, problems: &mut Vec<Problem>) -> Option<File> {
    let mut findings = Findings::new(path);
    let name = name(path);
    if name.is_none() {
        findings.add("", "a product's name must be 1 to 64 characters of A-Z a-z 0-9 _ . -");
    }
    let text = layers::read_text(path, &mut findings);
    let table = text.as_ref().and_then(|text| layers::parse(text, &mut findings)).and_then(layers::table);
    let product = table.and_then(|table| {
        let raw = reader::read(table, &mut findings);
        read(raw, (path, name.as_deref()), &mut Section::new("", &mut findings), bundles)
    });
    problems.extend(findings.into_problems());
    Some(File { name: name?, text: text.unwrap_or_default(), product })
}

fn name(path: &Path) -> Option<String> {
    let name = path.file_stem()?.to_str()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    ((1..=64).contains(&name.len()) && name.chars().all(fits)).then(|| name.into())
}

fn read(
    raw: raw::Product,
    (file, name): (&Path, Option<&str>),
    section: &mut Section<'_>,
    bundles: &Bundles<'_>,
) -> Option<Product> {
    const ANY: std::ops::RangeInclusive<f64> = f64::MIN..=f64::MAX;
    let bundle = match bundles {
        Bundles::In(folder) => {
            section.required_file("bundle", raw.bundle, &[section.folder().into(), (*folder).into()])
        }
        Bundles::Unseen => section.path("bundle", raw.bundle).or_else(|| Some(PathBuf::new())),
    };
    let threshold = section.number("threshold", raw.threshold, ANY).and_then(Threshold::new);
    let guard_band = section.number("guard_band", raw.guard_band, 0.0..=f64::MAX);
    let deadline_ms = section.whole("deadline_ms", raw.deadline_ms, 1..=60_000).unwrap_or(DEADLINE_MS);
    let mm_per_px = section.number("mm_per_px", raw.mm_per_px, 1e-6..=1000.0);
    let regions = section.get("regions", raw.regions).unwrap_or_default();
    let mut inner = section.inner("regions");
    let map_threshold = inner.number("map_threshold", regions.map_threshold, 0.0..=f64::MAX);
    let min_area_px = inner.number("min_area_px", regions.min_area_px, 0.0..=f64::MAX).unwrap_or(MIN_AREA_PX);
    let roi = match raw.roi {
        raw::Key::Absent => None,
        given => {
            let raw = section.get("roi", given);
            raw.and_then(|raw| roi::read(raw, &mut section.inner("roi"))).map(Arc::new)
        }
    };
    let image = image(raw.image, section);
    Some(Product {
        name: name?.into(),
        file: file.into(),
        bundle: bundle?,
        threshold,
        guard_band,
        deadline: Duration::from_millis(deadline_ms),
        map_threshold,
        min_area_px,
        mm_per_px,
        roi,
        image,
    })
}

fn image(raw: raw::Key<raw::Image>, section: &mut Section<'_>) -> Own {
    const GREY: std::ops::RangeInclusive<f64> = 0.0..=255.0;
    const SHARE: std::ops::RangeInclusive<f64> = 0.0..=1.0;
    let raw = section.get("image", raw).unwrap_or_default();
    let mut section = section.inner("image");
    let own = Own {
        check: section.get("check", raw.check).unwrap_or(Own::default().check),
        brightness_min: section.number("brightness_min", raw.brightness_min, GREY),
        brightness_max: section.number("brightness_max", raw.brightness_max, GREY),
        black_max: section.number("black_max", raw.black_max, SHARE),
        white_max: section.number("white_max", raw.white_max, SHARE),
        sharpness_min: section.number("sharpness_min", raw.sharpness_min, GREY),
        shift_max: section.number("shift_max", raw.shift_max, SHARE),
    };
    if let (Some(least), Some(most)) = (own.brightness_min, own.brightness_max)
        && least > most
    {
        section.wrong("brightness_min", format!("must be at most brightness_max, {most}, is {least}"));
    }
    own
}
