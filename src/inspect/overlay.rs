//! A picture with what the network saw drawn over it: a translucent heat for the map, boxes for the regions.
//!
//! The heat also grows brighter as it grows hotter, and boxes are white in a black rim: both can be read
//! without colour. Draws in memory; writing files is the caller's, under names from [`Names`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use imageproc::drawing::draw_hollow_rect_mut;
use imageproc::rect::Rect;

use crate::frame::Size;
use crate::roi::Roi;
use crate::verdict::regions::{AnomalyMap, Region};

/// The hottest heat still lets this much of the picture through.
const SHINE_THROUGH: f32 = 0.35;

/// Colours of the heat, cold to hot, each brighter than the one before.
const HEAT: [[f32; 3]; 4] =
    [[60.0, 0.0, 110.0], [190.0, 30.0, 90.0], [250.0, 140.0, 10.0], [255.0, 250.0, 170.0]];

const WHITE: Rgb<u8> = Rgb([255; 3]);
const BLACK: Rgb<u8> = Rgb([0; 3]);

/// Draws `map` and the boxes of `regions` over `picture`. The heat is half as hot as it can be at
/// `map_threshold`, and nothing at the map's smallest value: pictures of one product compare.
pub fn draw(picture: &mut RgbImage, map: &AnomalyMap, map_threshold: f64, regions: &[Region]) {
    let (width, height) = picture.dimensions();
    let heat = map.resized(width as usize, height as usize);
    let low = map.values.iter().copied().filter(|v| v.is_finite()).fold(f32::MAX, f32::min);
    for (pixel, &value) in picture.pixels_mut().zip(&heat.values) {
        let heat = temperature(value, low, map_threshold);
        let opacity = (1.0 - SHINE_THROUGH) * heat;
        for (channel, colour) in pixel.0.iter_mut().zip(colour(heat)) {
            *channel = to_u8(f32::from(*channel) * (1.0 - opacity) + colour * opacity);
        }
    }
    // A stroke that is still seen when the picture is shown on a screen.
    let stroke = (width.max(height) / 400).max(1);
    // The worst is drawn last and thicker.
    for (i, region) in regions.iter().enumerate().rev() {
        draw_box(picture, region, if i == 0 { stroke + 1 } else { stroke });
    }
}

/// Draws one cell's outline into the lower left corner: the map's true resolution, of which the heat shows nothing.
pub fn draw_cell(picture: &mut RgbImage, [w, h]: [f64; 2]) {
    let (width, height) = picture.dimensions();
    let stroke = (width.max(height) / 400).max(1);
    let margin = f64::from(2 * stroke);
    let y = (f64::from(height) - h - margin).max(0.0);
    let cell = Region { x: margin, y, w, h, cx: 0.0, cy: 0.0, area_px: w * h, peak: 0.0, mean: 0.0 };
    draw_box(picture, &cell, stroke);
}

/// Darkens what lies outside `roi`, which spans the picture whatever its size, and draws its outline: white inside,
/// black outside.
pub fn draw_roi(picture: &mut RgbImage, roi: &Roi) {
    let (width, height) = picture.dimensions();
    let stroke = (width.max(height) / 400).max(1);
    let Size { width: columns, height: rows } = roi.size();
    let at = |n: u32, new: u32, old: u32| n as usize * old as usize / new as usize;
    let is_inside =
        |x: u32, y: u32| roi.pixels()[at(y, height, rows) * columns as usize + at(x, width, columns)];
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let here = is_inside(x, y);
        // The picture's own edge is no border.
        let is_border = (1..=stroke).any(|d| {
            is_inside(x.saturating_sub(d), y) != here
                || is_inside((x + d).min(width - 1), y) != here
                || is_inside(x, y.saturating_sub(d)) != here
                || is_inside(x, (y + d).min(height - 1)) != here
        });
        *pixel = match (is_border, here) {
            (true, true) => WHITE,
            (true, false) => BLACK,
            (false, true) => *pixel,
            (false, false) => Rgb(pixel.0.map(|channel| channel / 3)),
        };
    }
}

/// 0 is cold, 0.5 is the threshold, 1 is as hot as it gets.
#[expect(clippy::cast_possible_truncation, reason = "a colour")]
fn temperature(value: f32, low: f32, map_threshold: f64) -> f32 {
    if !value.is_finite() {
        return 1.0;
    }
    let span = map_threshold - f64::from(low);
    if span > 0.0 { (0.5 * f64::from(value - low) / span).clamp(0.0, 1.0) as f32 } else { 1.0 }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "heat is between 0 and 1")]
fn colour(heat: f32) -> [f32; 3] {
    let position = heat * 3.0;
    let lower = (position as usize).min(2);
    let part = position - f32::from(lower as u8);
    std::array::from_fn(|c| HEAT[lower][c] + (HEAT[lower + 1][c] - HEAT[lower][c]) * part)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
fn to_u8(value: f32) -> u8 {
    value.round() as u8
}

/// A white frame around `region` and a black rim on both its sides.
#[expect(clippy::cast_possible_truncation, reason = "pixels of a picture")]
fn draw_box(picture: &mut RgbImage, region: &Region, stroke: u32) {
    let left = region.x.floor() as i32;
    let top = region.y.floor() as i32;
    let right = (region.x + region.w).ceil() as i32 - 1;
    let bottom = (region.y + region.h).ceil() as i32 - 1;
    let stroke = i32::try_from(stroke).unwrap_or(1);
    for ring in -1..=stroke {
        let colour = if (0..stroke).contains(&ring) { WHITE } else { BLACK };
        let (width, height) = (right - left + 1 - 2 * ring, bottom - top + 1 - 2 * ring);
        let (Ok(width @ 1..), Ok(height @ 1..)) = (u32::try_from(width), u32::try_from(height)) else {
            break;
        };
        draw_hollow_rect_mut(picture, Rect::at(left + ring, top + ring).of_size(width, height), colour);
    }
}

/// Gives each image a file name of its own for its overlay: `<name>_overlay.png` of harmless characters, never
/// one of the image files themselves, and told apart by a number where two images share a name.
#[derive(Debug)]
pub struct Names {
    /// In lower case, since some file systems do not tell cases apart.
    taken: HashSet<String>,
}

impl Names {
    /// For overlays of `images`.
    pub fn new(images: &[PathBuf]) -> Self {
        let file_name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().to_lowercase());
        Self { taken: images.iter().filter_map(file_name).collect() }
    }

    pub fn next(&mut self, image: &Path) -> String {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy();
        let is_harmless = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        let stem: String = stem.chars().take(100).map(|c| if is_harmless(c) { c } else { '_' }).collect();
        let stem = stem.trim_start_matches('.');
        let candidates = std::iter::once(format!("{stem}_overlay.png"))
            .chain((2_u64..).map(|number| format!("{stem}_overlay-{number}.png")));
        let mut free = candidates.filter(|name| self.taken.insert(name.to_lowercase()));
        free.next().expect("the numbers do not end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roi::Shapes;

    const REGION: Region = Region {
        x: 40.0,
        y: 0.0,
        w: 40.0,
        h: 40.0,
        cx: 60.0,
        cy: 20.0,
        area_px: 1600.0,
        peak: 4.0,
        mean: 4.0,
    };

    fn drawn(values: [f32; 2], regions: &[Region]) -> RgbImage {
        let mut picture = RgbImage::from_pixel(80, 40, Rgb([100; 3]));
        let map = AnomalyMap { width: 2, height: 1, values: values.to_vec() };
        draw(&mut picture, &map, 2.0, regions);
        picture
    }

    fn brightness(pixel: Rgb<u8>) -> u32 {
        pixel.0.iter().map(|&c| u32::from(c)).sum()
    }

    #[test]
    fn heat_leaves_the_cold_side_alone_and_brightens_the_hot_side() {
        let picture = drawn([0.0, 4.0], &[]);
        assert_eq!(*picture.get_pixel(0, 20), Rgb([100; 3]));
        assert!(brightness(*picture.get_pixel(79, 20)) > 500);
    }

    #[test]
    fn boxes_are_white_with_a_black_rim_and_stay_inside_the_picture() {
        let picture = drawn([0.0, 0.0], &[REGION]);
        assert_eq!(*picture.get_pixel(39, 20), BLACK);
        assert_eq!((*picture.get_pixel(40, 20), *picture.get_pixel(41, 20)), (WHITE, WHITE));
        assert_eq!(*picture.get_pixel(42, 20), BLACK);
        assert_eq!(*picture.get_pixel(60, 20), Rgb([100; 3]));
        assert_eq!((*picture.get_pixel(60, 0), *picture.get_pixel(79, 39)), (WHITE, WHITE));
    }

    #[test]
    fn the_size_of_a_cell_stands_in_the_lower_left_corner() {
        let mut picture = RgbImage::from_pixel(80, 40, Rgb([100; 3]));
        draw_cell(&mut picture, [10.0, 5.0]);
        assert_eq!((*picture.get_pixel(2, 33), *picture.get_pixel(11, 37)), (WHITE, WHITE));
        assert_eq!((*picture.get_pixel(12, 35), *picture.get_pixel(40, 20)), (BLACK, Rgb([100; 3])));
        draw_cell(&mut picture, [1e6, 1e6]);
    }

    #[test]
    fn what_lies_outside_the_roi_is_dark_behind_an_outline() {
        let mut picture = RgbImage::from_pixel(80, 40, Rgb([99; 3]));
        let left = vec![[0.0, 0.0], [30.0, 0.0], [30.0, 40.0], [0.0, 40.0]];
        let shapes = Shapes { include: vec![left], ..Shapes::default() };
        draw_roi(&mut picture, &Roi::new(Size { width: 80, height: 40 }, &shapes).unwrap());
        let row = [0, 28, 29, 30, 31, 79].map(|x| *picture.get_pixel(x, 0));
        assert_eq!(row, [Rgb([99; 3]), Rgb([99; 3]), WHITE, BLACK, Rgb([33; 3]), Rgb([33; 3])]);
        // On a picture of twice the size it spans twice as much.
        let mut picture = RgbImage::from_pixel(160, 80, Rgb([99; 3]));
        draw_roi(&mut picture, &Roi::new(Size { width: 80, height: 40 }, &shapes).unwrap());
        let row = [0, 58, 59, 60, 61, 159].map(|x| *picture.get_pixel(x, 79));
        assert_eq!(row, [Rgb([99; 3]), Rgb([99; 3]), WHITE, BLACK, Rgb([33; 3]), Rgb([33; 3])]);
    }

    #[test]
    fn odd_maps_and_tiny_regions_are_drawn_all_the_same() {
        let tiny = Region { x: 79.5, y: 39.5, w: 0.5, h: 0.5, ..REGION };
        let picture = drawn([f32::NAN, 9.0], &[REGION, tiny]);
        assert!(brightness(*picture.get_pixel(0, 20)) > 500);
        drawn([7.0, 7.0], &[]);
        drawn([f32::INFINITY, f32::NEG_INFINITY], &[]);
    }

    #[test]
    fn names_neither_collide_nor_leave_the_folder_nor_hit_an_image() {
        let images = [
            "a/part.png",
            "b/PART.jpg",
            "c/part.png",
            "part_overlay-2.png",
            "..",
            "x/../..hidden.png",
            "ü ü.png",
        ]
        .map(PathBuf::from);
        let mut names = Names::new(&images);
        let given = images.each_ref().map(|image| names.next(image));
        assert_eq!(
            given,
            [
                "part_overlay.png",
                "PART_overlay-3.png",
                "part_overlay-4.png",
                "part_overlay-2_overlay.png",
                "_overlay.png",
                "hidden_overlay.png",
                "____overlay.png",
            ]
        );
    }
}
