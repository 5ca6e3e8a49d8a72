//! What a picture looks like as a whole: how bright, how sharp, how much of it without drawing.
//!
//! Pure, and cheap enough for every frame: some thousand pixels are looked at, wherever the picture is larger than that.

pub mod limits;
pub mod shift;
pub mod usual;

use crate::appearance::shift::Profiles;
use crate::frame::Picture;

/// At most so many rows, and so many pixels of each, are looked at.
const SAMPLES: usize = 192;

/// Pixels up to this value show nothing, and so do those from this value on.
const DARKEST: u32 = 2;
const BRIGHTEST: u32 = 253;

/// Sharpness compares pixels so far apart: one part in so many of the picture's longer side.
const REACH: usize = 640;

/// Grey values are 0 to 255, shares 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Appearance {
    /// Mean grey value.
    pub brightness: f64,
    /// Share of pixels that are black.
    pub dark: f64,
    /// Share of pixels that are white.
    pub bright: f64,
    /// Mean difference of pixels beside one another. Falls when the picture goes out of focus.
    pub sharpness: f64,
}

/// What one look at a picture gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    pub appearance: Appearance,
    pub profiles: Profiles,
}

impl Appearance {
    pub fn of(picture: Picture<'_>) -> Self {
        Look::at(picture).appearance
    }
}

impl Look {
    pub fn at(picture: Picture<'_>) -> Self {
        let (width, height) = (picture.size.width as usize, picture.size.height as usize);
        let reach = (width.max(height) / REACH).max(1);
        let (mut dark, mut bright, mut steps) = (0_u64, 0_u64, 0_u64);
        let (mut count, mut pairs) = (0_u64, 0_u64);
        let (mut columns, mut rows) = ([0; SAMPLES], [0; SAMPLES]);
        // Once: a division takes as long as all that is done with a pixel.
        let mut places = [0; SAMPLES];
        places.iter_mut().zip(spread(width)).for_each(|(place, x)| *place = x);
        let places = &places[..width.min(SAMPLES)];
        for (y, in_row) in spread(height).zip(&mut rows) {
            let row = Row::of(picture, y);
            // The last rows have none below.
            let below = (y + reach < height).then(|| Row::of(picture, y + reach));
            for (&x, in_column) in places.iter().zip(&mut columns) {
                let grey = row.grey(x);
                *in_column += grey;
                *in_row += grey;
                dark += u64::from(grey <= DARKEST);
                bright += u64::from(grey >= BRIGHTEST);
                count += 1;
                if x + reach < width {
                    steps += u64::from(grey.abs_diff(row.grey(x + reach)));
                    pairs += 1;
                }
                if let Some(below) = &below {
                    steps += u64::from(grey.abs_diff(below.grey(x)));
                    pairs += 1;
                }
            }
        }
        let (columns, rows) = (&columns[..width.min(SAMPLES)], &rows[..height.min(SAMPLES)]);
        let sum = rows.iter().map(|&sum| u64::from(sum)).sum();
        let appearance = Appearance {
            brightness: ratio(sum, count),
            dark: ratio(dark, count),
            bright: ratio(bright, count),
            sharpness: ratio(steps, pairs),
        };
        Self { appearance, profiles: Profiles::new(columns, rows) }
    }
}

struct Row<'a> {
    bytes: &'a [u8],
    channels: usize,
}

impl<'a> Row<'a> {
    fn of(picture: Picture<'a>, y: usize) -> Self {
        let channels = picture.format.channels();
        let length = picture.size.width as usize * channels;
        Self { bytes: &picture.pixels[y * length..(y + 1) * length], channels }
    }

    /// Green counts twice; red and blue may be exchanged.
    fn grey(&self, x: usize) -> u32 {
        let pixel = &self.bytes[x * self.channels..];
        match self.channels {
            1 => pixel[0].into(),
            _ => (u32::from(pixel[0]) + 2 * u32::from(pixel[1]) + u32::from(pixel[2])) / 4,
        }
    }
}

/// Up to [`SAMPLES`] positions, evenly spread over `length`.
fn spread(length: usize) -> impl Iterator<Item = usize> {
    let count = length.min(SAMPLES);
    (0..count).map(move |i| (2 * i + 1) * length / (2 * count))
}

#[expect(clippy::cast_precision_loss, reason = "some million at most")]
fn ratio(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{PixelFormat, Size};

    fn gray(size: Size, value: impl Fn(u32, u32) -> u8) -> Appearance {
        let pixels: Vec<u8> = (0..size.height)
            .flat_map(|y| (0..size.width).map(move |x| (x, y)))
            .map(|(x, y)| value(x, y))
            .collect();
        Appearance::of(Picture { size, format: PixelFormat::Gray8, pixels: &pixels })
    }

    #[test]
    fn a_picture_is_measured_alike_at_any_size_and_in_colour() {
        for size in [(1000, 700), (64, 48), (7, 5), (16, 1)].map(|(width, height)| Size { width, height }) {
            let half = gray(size, |x, _| if x < size.width / 2 { 100 } else { 255 });
            assert!((half.bright - 0.5).abs() < 0.08, "{size}: {half:?}");
            assert!((half.brightness - 177.0).abs() < 14.0, "{size}: {half:?}");
            assert_eq!(half.dark, 0.0);
            let black = gray(size, |_, _| 1);
            assert_eq!(black, Appearance { brightness: 1.0, dark: 1.0, bright: 0.0, sharpness: 0.0 });
        }
        let size = Size { width: 30, height: 20 };
        let values = |channels: usize| {
            (0..600_u32).flat_map(move |i| vec![u8::try_from(i * 7 % 256).unwrap(); channels])
        };
        let (one, three): (Vec<u8>, Vec<u8>) = (values(1).collect(), values(3).collect());
        let [grey, rgb, bgr] =
            [(PixelFormat::Gray8, &one), (PixelFormat::Rgb8, &three), (PixelFormat::Bgr8, &three)]
                .map(|(format, pixels)| Appearance::of(Picture { size, format, pixels }));
        assert_eq!((grey, grey), (rgb, bgr));
    }

    #[test]
    fn out_of_focus_is_less_sharp() {
        let size = Size { width: 320, height: 240 };
        let sharp = |x: u32, y: u32| if (x / 6 + y / 6).is_multiple_of(2) { 60 } else { 180 };
        let blurred = |x: u32, y: u32| {
            let around = (0..81).map(|i| u32::from(sharp(x + i % 9, y + i / 9))).sum::<u32>();
            u8::try_from(around / 81).unwrap()
        };
        let (sharp, blurred) = (gray(size, sharp), gray(size, blurred));
        assert!(blurred.sharpness < 0.5 * sharp.sharpness, "{sharp:?} {blurred:?}");
        assert!((blurred.brightness - sharp.brightness).abs() < 5.0);
    }
}
