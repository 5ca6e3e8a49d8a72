//! `[roi]` of a product: polygons and a mask, in pixels of the camera's frame.

use std::path::Path;

use super::raw;
use super::section::Section;
use crate::frame::{PixelFormat, Size};
use crate::image_file::{self, MAX_PIXELS};
use crate::roi::{Point, Roi, Shapes};

/// A mask's pixels count from this value on: its borders may be soft.
const COUNTS_FROM: u8 = 128;

/// None where something is wrong; all of it is noted.
pub(super) fn read(raw: raw::Roi, section: &mut Section<'_>) -> Option<Roi> {
    let is_drawn = !raw.include.is_absent() || !raw.exclude.is_absent();
    if !is_drawn && raw.mask.is_absent() {
        section.wrong("", "says nothing: give include, exclude or mask");
        return None;
    }
    let is_masked = !raw.mask.is_absent();
    let has_size = !raw.width.is_absent() && !raw.height.is_absent();
    match (raw.width.is_absent(), raw.height.is_absent()) {
        (false, true) => section.wrong("height", "is missing: give width and height, or neither"),
        (true, false) => section.wrong("width", "is missing: give width and height, or neither"),
        (true, true) if !is_masked => {
            section
                .wrong("width", "is missing: width and height of the frame that the polygons are drawn on");
        }
        (true, true) | (false, false) => {}
    }
    let width = section.whole("width", raw.width, 16..=16384);
    let height = section.whole("height", raw.height, 16..=16384);
    let written = width.zip(height).map(|(width, height)| Size { width, height });
    let include = polygons("include", raw.include, section);
    let exclude = polygons("exclude", raw.exclude, section);
    let mask = section.file("mask", raw.mask).and_then(|file| mask(&file, written, section));
    let size = match (written, &mask) {
        (Some(size), _) if size.pixels() > MAX_PIXELS => {
            section.wrong(
                "width",
                format!("a frame of {size} is more than {} megapixels", MAX_PIXELS / 1_000_000),
            );
            return None;
        }
        (Some(size), _) => size,
        (None, Some((size, _))) if !has_size => *size,
        (None, _) => return None,
    };
    if is_masked && mask.is_none() {
        return None;
    }
    let shapes = Shapes { include: include?, exclude: exclude?, mask: mask.map(|(_, pixels)| pixels) };
    match Roi::new(size, &shapes) {
        Ok(roi) => Some(roi),
        Err(bad) => {
            for bad in bad {
                section.wrong(&bad.key, bad.text);
            }
            None
        }
    }
}

/// None where one of them cannot be read.
fn polygons(
    key: &str,
    list: raw::Key<Vec<raw::Key<raw::Polygon>>>,
    section: &mut Section<'_>,
) -> Option<Vec<Vec<Point>>> {
    if list.is_absent() {
        return Some(Vec::new());
    }
    let list = section.get(key, list)?;
    if list.is_empty() {
        section.wrong(key, "is empty: add a polygon, or leave it out");
        return None;
    }
    let mut is_whole = true;
    let mut polygons = Vec::new();
    for (i, polygon) in list.into_iter().enumerate() {
        let key = format!("{key}[{i}]");
        let points = section.get(&key, polygon).unwrap_or_else(|| {
            is_whole = false;
            Vec::new()
        });
        let mut read = Vec::with_capacity(points.len());
        for (j, point) in points.into_iter().enumerate() {
            match section.get(&format!("{key}[{j}]"), point) {
                Some(point) => read.push(point),
                None => is_whole = false,
            }
        }
        polygons.push(read);
    }
    is_whole.then_some(polygons)
}

fn mask(file: &Path, written: Option<Size>, section: &mut Section<'_>) -> Option<(Size, Vec<bool>)> {
    match image_file::read(file, PixelFormat::Gray8) {
        Ok((size, _)) if written.is_some_and(|written| written != size) => {
            let written = written.map_or(String::new(), |size| size.to_string());
            section
                .wrong("mask", format!("{} is {size}, but width and height say {written}", file.display()));
            None
        }
        Ok((size, pixels)) => Some((size, pixels.into_iter().map(|value| value >= COUNTS_FROM).collect())),
        Err(error) => {
            section.wrong("mask", error.to_string());
            None
        }
    }
}
