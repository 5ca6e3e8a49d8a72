//! The pre-processing's resize on the CPU, as fast as it allows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tch::{Kind, TchError, Tensor};

use crate::cpu::resize::{LEAST_HEIGHT, Resize, Taps};
use crate::engine::triangle::Triangle;
use crate::frame::{Picture, PixelFormat, Size};
use crate::model::preprocess;

/// Cameras have a few sizes; a set of files may have many.
const MOST_SIZES: usize = 8;

#[derive(Debug)]
pub(super) struct Resizer {
    /// Of the network's input.
    side: i64,
    /// By the picture's size and channels.
    made: HashMap<(Size, usize), Resize>,
    /// `[side, side, channels]`.
    out: Vec<u8>,
}

impl Resizer {
    pub(super) fn new(side: i64) -> Self {
        Self { side, made: HashMap::new(), out: Vec::new() }
    }

    /// What [`resize`](preprocess::resize) makes of each.
    ///
    /// # Shapes
    /// To `[B, 3, side, side]`, u8.
    pub(super) fn pixels(&mut self, pictures: &[Picture<'_>]) -> Result<Tensor, TchError> {
        if let &[picture] = pictures {
            return self.one(picture);
        }
        let each: Vec<Tensor> =
            pictures.iter().map(|&picture| self.one(picture)).collect::<Result<_, _>>()?;
        Tensor::f_cat(&each, 0)
    }

    fn one(&mut self, picture: Picture<'_>) -> Result<Tensor, TchError> {
        let Picture { size, format, pixels } = picture;
        let is_square = i64::from(size.height) == self.side && i64::from(size.width) == self.side;
        if is_square || (size.height as usize) < LEAST_HEIGHT {
            return Ok(preprocess::resize(picture, self.side));
        }
        let (channels, side) = (format.channels(), usize::try_from(self.side).expect("a size"));
        if self.made.len() >= MOST_SIZES && !self.made.contains_key(&(size, channels)) {
            self.made.clear();
        }
        let resize = match self.made.entry((size, channels)) {
            Entry::Occupied(made) => made.into_mut(),
            Entry::Vacant(place) => place.insert(make(size, channels, side)?),
        };
        self.out.resize(side * side * channels, 0);
        resize.run(pixels, &mut self.out)?;
        let last = i64::try_from(channels).expect("1 or 3");
        let rows = Tensor::f_from_data_size(&self.out, &[1, self.side, self.side, last], Kind::Uint8)?;
        let planes = rows.f_permute([0, 3, 1, 2])?;
        match format {
            PixelFormat::Rgb8 => Ok(planes),
            PixelFormat::Bgr8 => planes.f_flip([1]),
            PixelFormat::Gray8 => planes.f_expand([1, 3, self.side, self.side], false),
        }
    }
}

fn make(size: Size, channels: usize, side: usize) -> Result<Resize, TchError> {
    let taps = |pixels: u32| {
        let Triangle { outputs, precision } = Triangle::new(pixels as usize, side);
        Taps::new(pixels as usize, &outputs, precision)
    };
    Resize::new(taps(size.width)?, taps(size.height)?, channels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::threads;

    const SIZES: [(u32, u32); 9] =
        [(200, 160), (128, 128), (128, 31), (33, 17), (17, 33), (1, 16), (1, 1), (640, 8), (1281, 1027)];

    /// Dark and bright, and what is between.
    fn noise() -> Vec<u8> {
        let mut state = 3_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state.to_be_bytes()[0] / 4).wrapping_mul(5)
        };
        std::iter::repeat_with(next).take(1281 * 1027 * 3).collect()
    }

    #[test]
    fn each_pixel_is_libtorch_s() {
        let pixels = noise();
        for (threads, side) in [(1, 96), (3, 129), (2, 256)] {
            let mut resizer = Resizer::new(side);
            for format in [PixelFormat::Rgb8, PixelFormat::Bgr8, PixelFormat::Gray8] {
                for (width, height) in SIZES {
                    let size = Size { width, height };
                    let pixels = &pixels[..size.pixels() * format.channels()];
                    let picture = Picture { size, format, pixels };
                    let found = threads::with(threads, || resizer.pixels(&[picture])).unwrap();
                    let expected = preprocess::resize(picture, side);
                    assert!(found.equal(&expected), "{format:?} {size} to {side}, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn pictures_of_any_sizes_go_together_however_many_there_are() {
        let pixels: Vec<u8> = (0..=255).cycle().take(200 * 200).collect();
        let mut resizer = Resizer::new(32);
        for first in [20, 60, 20] {
            let picture = |height| {
                let size = Size { width: 100, height };
                Picture { size, format: PixelFormat::Gray8, pixels: &pixels[..size.pixels()] }
            };
            let pictures: Vec<Picture<'_>> = (first..first + 12).map(picture).collect();
            let expected = preprocess::resize_all(&pictures, 32);
            assert!(resizer.pixels(&pictures).unwrap().equal(&expected));
            assert!(resizer.made.len() <= MOST_SIZES);
        }
    }
}
