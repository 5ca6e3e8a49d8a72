//! Pictures on their way to a CUDA device: as they came, and resized there.

use std::collections::HashMap;

use tch::{Kind, TchError, Tensor};

use crate::cuda::Target;
use crate::cuda::kernels::resize::{Channels, ResizeKernels, Taps};
use crate::cuda::pinned::Pinned;
use crate::engine::triangle::Triangle;
use crate::frame::{Picture, PixelFormat};

/// Sides of pictures for which taps are kept. Cameras have a few.
const MOST_SIDES: usize = 64;

#[derive(Debug)]
pub(super) struct Upload {
    target: Target,
    kernels: ResizeKernels,
    /// Of the network's input.
    side: i64,
    /// One for each picture that is judged together with others: the device reads it while the next is on its way.
    places: Vec<Pinned>,
    /// By the side that they resize.
    taps: HashMap<u32, Taps>,
}

impl Upload {
    pub(super) fn new(target: Target, side: i64) -> Result<Self, TchError> {
        let kernels = ResizeKernels::new(&target)?;
        Ok(Self { target, kernels, side, places: Vec::new(), taps: HashMap::new() })
    }

    /// What [`resize`](crate::model::preprocess::resize) makes of each, on the device. The device is to be done with those of
    /// the call before.
    ///
    /// # Shapes
    /// To `[B, 3, side, side]`, u8, its channels next to one another.
    pub(super) fn pixels(&mut self, pictures: &[Picture<'_>]) -> Result<Tensor, TchError> {
        let count = i64::try_from(pictures.len()).unwrap_or(i64::MAX);
        let pixels = self.kernels.empty(&[count, self.side, self.side, 3])?;
        for (index, &picture) in pictures.iter().enumerate() {
            let row = i64::try_from(index).unwrap_or(i64::MAX);
            self.one(index, picture, &pixels.f_narrow(0, row, 1)?)?;
        }
        pixels.f_permute([0, 3, 1, 2])
    }

    /// To `[1, side, side, 3]`: rows first and columns after, as libtorch does on a CPU.
    fn one(&mut self, index: usize, picture: Picture<'_>, to: &Tensor) -> Result<(), TchError> {
        let Picture { size, format, pixels } = picture;
        self.prepare([size.width, size.height])?;
        let device = self.target.device();
        let sent = self.place(index, pixels.len())?.fill(pixels)?;
        let sent = sent.f_to_device_(device, Kind::Uint8, true, false)?;
        let (height, input) = (i64::from(size.height), i64::try_from(format.channels()).unwrap_or(1));
        let same = Channels { input, output: input, origin: 0, stride: 1 };
        let wide = self.kernels.empty(&[height, self.side, 1, input])?;
        let x = sent.f_view([height, i64::from(size.width), 1, input])?;
        self.kernels.along(&self.taps[&size.width], same, (&x, &wide))?;
        let (origin, stride) = match format {
            PixelFormat::Rgb8 => (0, 1),
            PixelFormat::Bgr8 => (2, -1),
            PixelFormat::Gray8 => (0, 0),
        };
        let three = Channels { input, output: 3, origin, stride };
        let x = wide.f_view([1, height, self.side, input])?;
        self.kernels.along(&self.taps[&size.height], three, (&x, to))
    }

    /// For so many bytes at least: cameras differ, and locked memory takes a while to get.
    fn place(&mut self, index: usize, bytes: usize) -> Result<&mut Pinned, TchError> {
        if self.places.get(index).is_none_or(|place| place.bytes() < bytes) {
            let place = Pinned::new(bytes, &self.target)?;
            if index < self.places.len() {
                self.places[index] = place;
            } else {
                self.places.push(place);
            }
        }
        Ok(&mut self.places[index])
    }

    /// Sees to it that there are taps from sides of so many pixels.
    fn prepare(&mut self, sides: [u32; 2]) -> Result<(), TchError> {
        if sides.iter().all(|side| self.taps.contains_key(side)) {
            return Ok(());
        }
        if self.taps.len() + sides.len() > MOST_SIDES {
            self.taps.clear();
        }
        let to = usize::try_from(self.side).unwrap_or(usize::MAX);
        for side in sides {
            let Triangle { outputs, precision } = Triangle::new(side as usize, to);
            self.taps.insert(side, self.kernels.taps(side.into(), &outputs, precision)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

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
        let devices = cuda::devices::devices();
        for (device, side) in devices.iter().flat_map(|&device| [(device, 128), (device, 96)]) {
            let mut upload = Upload::new(Target::of(device).unwrap(), side).unwrap();
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
        for &device in cuda::devices::devices().iter() {
            let mut upload = Upload::new(Target::of(device).unwrap(), 64).unwrap();
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

    #[test]
    fn pictures_of_more_sizes_than_are_kept_are_resized_all_the_same() {
        let pixels = noise(300 * 300 * 3);
        for &device in cuda::devices::devices().iter() {
            let mut upload = Upload::new(Target::of(device).unwrap(), 32).unwrap();
            for step in 0..u32::try_from(MOST_SIDES).unwrap() {
                let size = Size { width: 20 + step, height: 200 - 2 * step };
                let picture =
                    Picture { size, format: PixelFormat::Rgb8, pixels: &pixels[..size.pixels() * 3] };
                let found = upload.pixels(&[picture]).unwrap().to_device(Device::Cpu);
                assert!(found.equal(&preprocess::resize(picture, 32)), "{device:?}, {size}");
                assert!(upload.taps.len() <= MOST_SIDES);
            }
        }
    }
}
