//! `products/<name>.toml`: what is being made and how it is judged.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{Findings, Problem};
use super::section::Section;
use super::{layers, raw, reader};
use crate::verdict::Threshold;

const DEADLINE_MS: u64 = 1000;
const MIN_AREA_PX: f64 = 0.0;

#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The file's name without `.toml`.
    pub name: String,
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

fn read_file(path: &Path, bundles_dir: &Path, problems: &mut Vec<Problem>) -> Option<File> {
    let mut findings = Findings::new(path);
    let name = name(path);
    if name.is_none() {
        findings.add("", "a product's name must be 1 to 64 characters of A-Z a-z 0-9 _ . -");
    }
    let text = layers::read_text(path, &mut findings);
    let table = text.as_ref().and_then(|text| layers::parse(text, &mut findings)).and_then(layers::table);
    let product = table.and_then(|table| {
        let raw = reader::read(table, &mut findings);
        read(raw, name.as_deref(), &mut Section::new("", &mut findings), bundles_dir)
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
    name: Option<&str>,
    section: &mut Section<'_>,
    bundles_dir: &Path,
) -> Option<Product> {
    const ANY: std::ops::RangeInclusive<f64> = f64::MIN..=f64::MAX;
    let bundle = section.required_file("bundle", raw.bundle, &[section.folder().into(), bundles_dir.into()]);
    let threshold = section.number("threshold", raw.threshold, ANY).and_then(Threshold::new);
    let guard_band = section.number("guard_band", raw.guard_band, 0.0..=f64::MAX);
    let deadline_ms = section.whole("deadline_ms", raw.deadline_ms, 1..=60_000).unwrap_or(DEADLINE_MS);
    let mm_per_px = section.number("mm_per_px", raw.mm_per_px, 1e-6..=1000.0);
    let regions = section.get("regions", raw.regions).unwrap_or_default();
    let mut inner = section.inner("regions");
    let map_threshold = inner.number("map_threshold", regions.map_threshold, ANY);
    let min_area_px = inner.number("min_area_px", regions.min_area_px, 0.0..=f64::MAX).unwrap_or(MIN_AREA_PX);
    Some(Product {
        name: name?.into(),
        bundle: bundle?,
        threshold,
        guard_band,
        deadline: Duration::from_millis(deadline_ms),
        map_threshold,
        min_area_px,
        mm_per_px,
    })
}
