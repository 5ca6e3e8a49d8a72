//! Pictures that stand in the page itself.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::dataset::Labelled;
use crate::evaluate::{Judged, pixels};
use crate::frame::PixelFormat;
use crate::image_file;
use crate::inspect::overlay;
use crate::report::ReportError;
use crate::roi::Roi;
use crate::verdict::regions::Region;

/// Longer side of a picture in the page. Small images are enlarged, so that what is drawn on them stays fine.
const SIDE: u32 = 480;

/// Of JPEG, of 100.
const QUALITY: u8 = 82;

/// Length of a dash of the outline around the true defect.
const DASH: u32 = 4;

/// An image twice, as data URIs.
pub(super) struct Pair {
    /// With the outline of the true defects, if they are known.
    pub(super) plain: String,
    /// With the ROI, the anomaly map and the regions over it.
    pub(super) seen: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

pub(super) fn pair(
    label: &Labelled,
    judged: &Judged,
    map_threshold: f64,
    roi: Option<&Roi>,
) -> Result<Pair, ReportError> {
    let (size, raw) = image_file::read(&label.path, PixelFormat::Rgb8)?;
    let picture = RgbImage::from_raw(size.width, size.height, raw).expect("rows are packed");
    let scale = f64::from(SIDE) / f64::from(size.width.max(size.height));
    let (width, height) = (scaled(size.width, scale), scaled(size.height, scale));
    let mut plain = imageops::resize(&picture, width, height, FilterType::Triangle);
    let mut seen = plain.clone();
    if let Some(mask) = &label.mask {
        let marked = pixels::read_mask(mask, size)?;
        let is_marked = |x: u32, y: u32| {
            let at = |n: u32, new: u32, old: u32| n as usize * old as usize / new as usize;
            marked[at(y, height, size.height) * size.width as usize + at(x, width, size.width)]
        };
        outline(&mut plain, &is_marked);
    }
    if let Some(roi) = roi {
        overlay::draw_roi(&mut seen, roi);
    }
    let regions: Vec<Region> = judged.regions.worst.iter().map(|region| larger(region, scale)).collect();
    if let Some(map) = &judged.map {
        overlay::draw(&mut seen, map, map_threshold, &regions);
    }
    Ok(Pair { plain: data_uri(&plain)?, seen: data_uri(&seen)?, width, height })
}

/// A dashed line, black and white in turn, just outside of what is marked.
fn outline(picture: &mut RgbImage, is_marked: &dyn Fn(u32, u32) -> bool) {
    let (width, height) = picture.dimensions();
    let marked: Vec<bool> =
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| is_marked(x, y)).collect();
    let at = |x: u32, y: u32| marked[(y * width + x) as usize];
    for y in 0..height {
        for x in 0..width {
            let (columns, rows) =
                (x.saturating_sub(2)..=(x + 2).min(width - 1), y.saturating_sub(2)..=(y + 2).min(height - 1));
            let is_near =
                !at(x, y) && rows.flat_map(|y| columns.clone().map(move |x| (x, y))).any(|(x, y)| at(x, y));
            if is_near {
                let is_white = ((x + y) / DASH).is_multiple_of(2);
                picture.put_pixel(x, y, Rgb([if is_white { 255 } else { 0 }; 3]));
            }
        }
    }
}

fn larger(region: &Region, scale: f64) -> Region {
    let Region { x, y, w, h, cx, cy, area_px, peak, mean } = *region;
    Region {
        x: x * scale,
        y: y * scale,
        w: w * scale,
        h: h * scale,
        cx: cx * scale,
        cy: cy * scale,
        area_px: area_px * scale * scale,
        peak,
        mean,
    }
}

fn data_uri(picture: &RgbImage) -> Result<String, ReportError> {
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(picture)?;
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes.into_inner())))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most SIDE")]
fn scaled(length: u32, scale: f64) -> u32 {
    ((f64::from(length) * scale).round() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_lies_around_the_defect_and_not_on_it() {
        let mut picture = RgbImage::from_pixel(20, 10, Rgb([100; 3]));
        outline(&mut picture, &|x, y| (8..12).contains(&x) && (4..6).contains(&y));
        let grey = Rgb([100; 3]);
        assert!((8..12).all(|x| (4..6).all(|y| *picture.get_pixel(x, y) == grey)));
        assert!((6..14).all(|x| *picture.get_pixel(x, 3) != grey && *picture.get_pixel(x, 7) != grey));
        assert_eq!((*picture.get_pixel(5, 5), *picture.get_pixel(8, 1)), (grey, grey));
        assert!(picture.pixels().any(|p| *p == Rgb([0; 3])) && picture.pixels().any(|p| *p == Rgb([255; 3])));
    }
}
