//! From pictures to the network's input: resize, RGB, normalise. Training, evaluation and the daemon all come
//! through here, so that a threshold means the same everywhere.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::frame::{Picture, PixelFormat};

/// The parameters, as a bundle states them. This build knows one set; a bundle with another is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Method of the resize to the square input; aspect is not kept, as in the research code.
    pub resize: String,
    /// Mean and standard deviation of R, G, B in 0..1, of `ImageNet`.
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Preprocess {
    pub fn known() -> Self {
        Self {
            resize: "bilinear_antialias_u8".to_owned(),
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}

/// A picture as `[1, 3, size, size]` u8, R G B. The resize is bilinear with anti-aliasing on 8 bits, like
/// Pillow's, which the research code uses; a picture of the right size is taken as it is.
pub fn resize(picture: Picture<'_>, size_px: i64) -> Tensor {
    let (height, width) = (i64::from(picture.size.height), i64::from(picture.size.width));
    let channels = picture.format.channels();
    assert_eq!(picture.pixels.len(), picture.size.pixels() * channels, "a picture fills its size");
    let channels = i64::try_from(channels).expect("1 or 3");
    // The rows stay interleaved: for libtorch that is the channels-last layout.
    let pixels = Tensor::from_data_size(picture.pixels, &[1, height, width, channels], Kind::Uint8);
    let planes = pixels.permute([0, 3, 1, 2]);
    let resized = if (height, width) == (size_px, size_px) {
        planes
    } else {
        planes.internal_upsample_bilinear2d_aa([size_px, size_px], false, None, None)
    };
    match picture.format {
        PixelFormat::Rgb8 => resized,
        PixelFormat::Bgr8 => resized.flip([1]),
        PixelFormat::Gray8 => resized.expand([1, 3, size_px, size_px], false),
    }
}

/// Makes the network's input of pixels, on one device.
#[derive(Debug)]
pub struct Normaliser {
    /// `[1, 3, 1, 1]` each, in levels of the picture.
    mean: Tensor,
    std: Tensor,
}

impl Normaliser {
    pub fn new(parameters: &Preprocess, device: Device) -> Self {
        let channel = |values: [f64; 3]| {
            Tensor::from_slice(&values).to_kind(Kind::Float).view([1, 3, 1, 1]).to_device(device) * 255.0
        };
        Self { mean: channel(parameters.mean), std: channel(parameters.std) }
    }

    pub fn device(&self) -> Device {
        self.mean.device()
    }

    /// u8 `[B, 3, H, W]`, wherever it is, to normalised f32 `[B, 3, H, W]` on the device, laid out in the same way.
    pub fn apply(&self, pixels: &Tensor) -> Tensor {
        (pixels.to_device(self.device()).to_kind(Kind::Float) - &self.mean) / &self.std
    }
}

/// u8 `[B, 3, H, W]` to normalised f32 `[B, 3, H, W]` on `device`.
pub fn normalise(pixels: &Tensor, parameters: &Preprocess, device: Device) -> Tensor {
    Normaliser::new(parameters, device).apply(pixels).contiguous()
}

/// Pictures of any sizes to `[B, 3, size, size]`, u8, on the CPU.
pub fn resize_all(pictures: &[Picture<'_>], size_px: i64) -> Tensor {
    let resized: Vec<Tensor> = pictures.iter().map(|&picture| resize(picture, size_px)).collect();
    Tensor::cat(&resized, 0)
}

/// Pictures of any sizes to `[B, 3, size, size]` on `device`.
pub fn to_input(pictures: &[Picture<'_>], size_px: i64, parameters: &Preprocess, device: Device) -> Tensor {
    normalise(&resize_all(pictures, size_px), parameters, device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Size;

    fn picture(format: PixelFormat, width: u32, height: u32, pixels: &[u8]) -> Picture<'_> {
        Picture { size: Size { width, height }, format, pixels }
    }

    fn rgb(x: &Tensor, row: i64, column: i64) -> [i64; 3] {
        std::array::from_fn(|c| x.int64_value(&[0, i64::try_from(c).unwrap(), row, column]))
    }

    #[test]
    fn all_formats_become_rgb() {
        let x = resize(picture(PixelFormat::Rgb8, 1, 1, &[10, 20, 30]), 1);
        assert_eq!(rgb(&x, 0, 0), [10, 20, 30]);
        let x = resize(picture(PixelFormat::Bgr8, 1, 1, &[10, 20, 30]), 1);
        assert_eq!(rgb(&x, 0, 0), [30, 20, 10]);
        let x = resize(picture(PixelFormat::Gray8, 1, 1, &[7]), 1);
        assert_eq!(rgb(&x, 0, 0), [7, 7, 7]);
    }

    #[test]
    fn rows_and_columns_keep_their_places() {
        // Left half dark, right half bright; top row of another colour would show a transposition.
        let mut pixels = Vec::new();
        for row in 0..64_u8 {
            for column in 0..128_u8 {
                pixels.extend([if column < 64 { 0 } else { 255 }, row * 4, 9]);
            }
        }
        let x = resize(picture(PixelFormat::Rgb8, 128, 64, &pixels), 32);
        assert_eq!(x.size(), [1, 3, 32, 32]);
        assert_eq!(rgb(&x, 0, 0)[0], 0);
        assert_eq!(rgb(&x, 0, 31)[0], 255);
        assert!(rgb(&x, 31, 0)[1] > 240 && rgb(&x, 0, 0)[1] < 8);
        assert_eq!(rgb(&x, 16, 16)[2], 9);
    }

    #[test]
    fn a_flat_picture_normalises_to_its_colour() {
        let grey = [124; 48];
        let x = to_input(&[picture(PixelFormat::Rgb8, 4, 4, &grey)], 4, &Preprocess::known(), Device::Cpu);
        let expected = (124.0 / 255.0 - 0.485) / 0.229;
        assert!((x.double_value(&[0, 0, 2, 3]) - expected).abs() < 1e-5);
    }
}
