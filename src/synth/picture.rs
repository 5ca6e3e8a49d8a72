//! From a part to the picture that a camera takes of it, and the mask of what a defect changed.

use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use super::defects::Defect;
use super::part::Part;
use super::plane::Point;

/// Draws the part as a camera of `width` by `height` sees it. The same `camera_noise` gives the same noise,
/// with and without a defect.
pub fn draw(part: &Part, defect: Option<&Defect>, width: u16, height: u16, camera_noise: u64) -> RgbImage {
    let mut random = Pcg64::seed_from_u64(camera_noise);
    let pixel = 2.0 / f32::from(width.min(height));
    let middle = Point::new(f32::from(width), f32::from(height)) * 0.5;
    let mut picture = RgbImage::new(width.into(), height.into());
    for y in 0..height {
        for x in 0..width {
            let seen = (Point::new(f32::from(x) + 0.5, f32::from(y) + 0.5) - middle) * pixel;
            let colour = part.colour_at(seen, pixel, defect);
            let noise = sensor_noise(random.next_u64());
            let levels = std::array::from_fn(|channel| level(colour[channel] * 255.0 + noise[channel]));
            picture.put_pixel(x.into(), y.into(), Rgb(levels));
        }
    }
    picture
}

/// 255 where the two pictures differ, 0 elsewhere.
pub fn mask(good: &RgbImage, bad: &RgbImage) -> GrayImage {
    GrayImage::from_fn(good.width(), good.height(), |x, y| {
        Luma([if good.get_pixel(x, y) == bad.get_pixel(x, y) { 0 } else { 255 }])
    })
}

/// Grey levels that a sensor adds, about 1.3 in each channel, part of it common to all three.
fn sensor_noise(bits: u64) -> [f32; 3] {
    let uniform = bits.to_le_bytes().map(|byte| f32::from(byte) / 127.5 - 1.0);
    let common = uniform[0] + uniform[1];
    std::array::from_fn(|channel| 1.1 * (common + uniform[2 + channel] + uniform[5 - channel]))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
fn level(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}
