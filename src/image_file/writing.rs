//! Writing a picture as a PNG file that holds every pixel as it is.

use std::borrow::Cow;
use std::io;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageError};

use crate::frame::{Picture, PixelFormat};

/// What `picture` is as a PNG file. Grey stays grey; what is read back are the same pixels.
pub fn png(picture: Picture<'_>) -> Result<Vec<u8>, io::Error> {
    let (pixels, kind) = match picture.format {
        PixelFormat::Gray8 => (Cow::Borrowed(picture.pixels), ExtendedColorType::L8),
        PixelFormat::Rgb8 => (Cow::Borrowed(picture.pixels), ExtendedColorType::Rgb8),
        PixelFormat::Bgr8 => {
            let mut pixels = picture.pixels.to_vec();
            pixels.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
            (Cow::Owned(pixels), ExtendedColorType::Rgb8)
        }
    };
    let mut file = Vec::with_capacity(pixels.len() / 2);
    // Fast: a camera's noise does not get smaller by trying harder.
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
        .write_image(&pixels, picture.size.width, picture.size.height, kind)
        .map_err(|error| match error {
            ImageError::IoError(error) => error,
            other => io::Error::other(other),
        })?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Size;
    use crate::image_file;

    #[test]
    fn each_pixel_format_is_read_back_to_the_bit_at_an_odd_width() {
        let folder = tempfile::tempdir().unwrap();
        let (path, size) = (folder.path().join("a.png"), Size { width: 13, height: 7 });
        for format in [PixelFormat::Gray8, PixelFormat::Rgb8, PixelFormat::Bgr8] {
            let count = size.pixels() * format.channels();
            let pixels: Vec<u8> = (0..count).map(|i| u8::try_from(i * 37 % 251).unwrap()).collect();
            std::fs::write(&path, png(Picture { size, format, pixels: &pixels }).unwrap()).unwrap();
            assert_eq!(image_file::read(&path, format).unwrap(), (size, pixels), "{format:?}");
        }
    }
}
