//! Pictures on their way to a CUDA device: as they came, and resized there.

mod resize;

use std::collections::HashMap;

use tch::{Device, Kind, TchError, Tensor};

use crate::cuda::pinned::Pinned;
use crate::engine::upload::resize::Taps;
use crate::frame::{Picture, PixelFormat};

/// Sides of pictures for which taps are kept. Cameras have a few.
const MOST_SIDES: usize = 64;

#[derive(Debug)]
pub(super) struct Upload {
    device: Device,
    /// Of the network's input.
    side: i64,
    /// One for each picture that is judged together with others: the device reads it while the next is on its way.
    places: Vec<Place>,
    /// By the side that they resize.
    taps: HashMap<u32, Taps>,
}

#[derive(Debug)]
struct Place {
    bytes: usize,
    pinned: Pinned,
}

impl Upload {
    pub(super) fn new(device: Device, side: i64) -> Self {
        Self { device, side, places: Vec::new(), taps: HashMap::new() }
    }

    /// What [`resize`](crate::model::preprocess::resize) makes of each, on the device. The device is to be done with those of
    /// the call before.
    ///
    /// # Shapes
    /// To `[B, 3, side, side]`, u8.
    pub(super) fn pixels(&mut self, pictures: &[Picture<'_>]) -> Result<Tensor, TchError> {
        let resized: Vec<Tensor> = pictures
            .iter()
            .enumerate()
            .map(|(index, &picture)| self.one(index, picture))
            .collect::<Result<_, _>>()?;
        Tensor::f_cat(&resized, 0)
    }

    /// The device is lost. libtorch would ask it whether it is done with the pinned memory, and end the process by the answer before
    /// what waits is answered for; the process ends soon by itself.
    pub(super) fn abandon(&mut self) {
        std::mem::take(&mut self.places).leak();
    }

    fn one(&mut self, index: usize, picture: Picture<'_>) -> Result<Tensor, TchError> {
        let Picture { size, format, pixels } = picture;
        let (height, width) = (i64::from(size.height), i64::from(size.width));
        let channels = i64::try_from(format.channels()).expect("1 or 3");
        let device = self.device;
        let sent = self.place(index, pixels.len())?.fill(pixels)?;
        let sent = sent.f_to_device_(device, Kind::Uint8, true, true)?;
        let rows = sent.f_view([height, width, channels])?;
        let rows = self.along(&rows, 1, size.width)?;
        let square = self.along(&rows, 0, size.height)?;
        let planes = square.f_permute([2, 0, 1])?.f_unsqueeze(0)?;
        match format {
            PixelFormat::Rgb8 => Ok(planes),
            PixelFormat::Bgr8 => planes.f_flip([1]),
            PixelFormat::Gray8 => planes.f_expand([1, 3, self.side, self.side], false),
        }
    }

    fn place(&mut self, index: usize, bytes: usize) -> Result<&mut Pinned, TchError> {
        if self.places.get(index).is_none_or(|place| place.bytes != bytes) {
            let place = Place { bytes, pinned: Pinned::new(bytes, self.device)? };
            self.places.truncate(index);
            self.places.push(place);
        }
        Ok(&mut self.places[index].pinned)
    }

    /// One dimension of `side` pixels to that of the input.
    fn along(&mut self, pixels: &Tensor, dimension: i64, side: u32) -> Result<Tensor, TchError> {
        if i64::from(side) == self.side {
            return Ok(pixels.shallow_clone());
        }
        if self.taps.len() >= MOST_SIDES {
            self.taps.clear();
        }
        if !self.taps.contains_key(&side) {
            self.taps.insert(
                side,
                Taps::new(side as usize, usize::try_from(self.side).expect("a size"), self.device)?,
            );
        }
        self.taps[&side].apply(pixels, dimension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda;
    use crate::frame::Size;
    use crate::model::preprocess;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..bytes).map(next).collect()
    }

    #[test]
    fn each_pixel_is_that_of_the_resize_on_the_cpu() {
        let sizes =
            [(200, 160), (128, 128), (128, 31), (33, 17), (1, 1), (1280, 1024), (129, 127), (64, 128)];
        for (device, side) in cuda::devices().into_iter().flat_map(|device| [(device, 128), (device, 96)]) {
            let mut upload = Upload::new(device, side);
            for format in [PixelFormat::Rgb8, PixelFormat::Bgr8, PixelFormat::Gray8] {
                for (width, height) in sizes {
                    let size = Size { width, height };
                    let pixels = noise(size.pixels() * format.channels());
                    let picture = Picture { size, format, pixels: &pixels };
                    let expected = preprocess::resize(picture, side);
                    let found = upload.pixels(&[picture]).unwrap().to_device(Device::Cpu);
                    assert!(found.equal(&expected), "{device:?}, {format:?} {size} to {side}");
                }
            }
        }
    }

    #[test]
    fn pictures_of_different_sizes_go_together_and_again() {
        let pixels = noise(100 * 80 * 3);
        let of = |width, height| {
            let size = Size { width, height };
            Picture { size, format: PixelFormat::Rgb8, pixels: &pixels[..size.pixels() * 3] }
        };
        for device in cuda::devices() {
            let mut upload = Upload::new(device, 64);
            for pictures in
                [vec![of(100, 80), of(64, 64)], vec![of(20, 90)], vec![of(64, 64), of(100, 80), of(9, 9)]]
            {
                let found = upload.pixels(&pictures).unwrap().to_device(Device::Cpu);
                let each: Vec<Tensor> =
                    pictures.iter().map(|&picture| preprocess::resize(picture, 64)).collect();
                assert!(found.equal(&Tensor::cat(&each, 0)), "{device:?}");
            }
        }
    }
}
