//! An image file as pixels: one decoding for the files camera and for everything offline.
//!
//! Scores of the daemon and of an evaluation agree only if both see the same bytes, so both come here.

use std::io;
use std::path::{Path, PathBuf};

use image::ImageFormat;

use crate::frame::{PixelFormat, Size};

/// A file that is not a whole image of a known kind.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct ImageFileError {
    path: PathBuf,
    #[source]
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Decode(#[from] image::ImageError),
    #[error("the jpeg data is cut short")]
    CutShort,
}

/// The image in `path`, rows packed, converted to `format` as `image` converts. The kind of file is told by the
/// name's extension.
pub fn read(path: &Path, format: PixelFormat) -> Result<(Size, Vec<u8>), ImageFileError> {
    decode(path, format).map_err(|cause| ImageFileError { path: path.into(), cause })
}

fn decode(path: &Path, format: PixelFormat) -> Result<(Size, Vec<u8>), Cause> {
    let kind = ImageFormat::from_path(path)?;
    let bytes = std::fs::read(path)?;
    let decoded = image::load_from_memory_with_format(&bytes, kind)?;
    // The decoder fills what is missing of a JPEG with grey: a part that nobody saw would be judged.
    if kind == ImageFormat::Jpeg && !jpeg_has_its_end(&bytes) {
        return Err(Cause::CutShort);
    }
    let size = Size { width: decoded.width(), height: decoded.height() };
    let pixels = match format {
        PixelFormat::Gray8 => decoded.into_luma8().into_raw(),
        PixelFormat::Rgb8 => decoded.into_rgb8().into_raw(),
        PixelFormat::Bgr8 => {
            let mut pixels = decoded.into_rgb8().into_raw();
            for pixel in pixels.chunks_exact_mut(3) {
                pixel.swap(0, 2);
            }
            pixels
        }
    };
    Ok((size, pixels))
}

/// Whether an end-of-image marker follows the last start-of-scan marker. An embedded thumbnail brings an end of
/// its own, but in front of the scan.
fn jpeg_has_its_end(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    last([0xFF, 0xD9]) > last([0xFF, 0xDA])
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use image::{DynamicImage, RgbImage};

    use super::*;

    fn picture() -> DynamicImage {
        let at = |x: u32, y: u32| image::Rgb([x * 7, y * 11, x * y].map(|value| value.to_le_bytes()[0]));
        RgbImage::from_fn(37, 23, at).into()
    }

    fn whole_text(error: &ImageFileError) -> String {
        format!("{error}: {}", error.source().unwrap())
    }

    #[test]
    fn every_kind_of_file_decodes_as_image_open_does() {
        let folder = tempfile::tempdir().unwrap();
        for extension in ["png", "jpg", "JPEG", "bmp", "tif", "tiff"] {
            let path = folder.path().join(format!("part.{extension}"));
            picture().save(&path).unwrap();
            let opened = image::open(&path).unwrap();
            let (size, rgb) = read(&path, PixelFormat::Rgb8).unwrap();
            assert_eq!(size, Size { width: 37, height: 23 });
            assert_eq!(rgb, opened.to_rgb8().into_raw(), "{extension}");
            assert_eq!(
                read(&path, PixelFormat::Gray8).unwrap().1,
                opened.to_luma8().into_raw(),
                "{extension}"
            );
            let bgr = read(&path, PixelFormat::Bgr8).unwrap().1;
            assert!(rgb.chunks(3).zip(bgr.chunks(3)).all(|(r, b)| [r[0], r[1], r[2]] == [b[2], b[1], b[0]]));
        }
    }

    #[test]
    fn a_file_cut_short_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        for extension in ["png", "jpg", "bmp", "tif"] {
            let path = folder.path().join(format!("part.{extension}"));
            picture().save(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            for kept in [0, 1, 10, bytes.len() / 2, bytes.len() * 9 / 10] {
                std::fs::write(&path, &bytes[..kept]).unwrap();
                let error = read(&path, PixelFormat::Rgb8).unwrap_err();
                let text = whole_text(&error);
                assert!(text.starts_with(&format!("cannot read {}: ", path.display())), "{text}");
            }
        }
    }

    #[test]
    fn a_missing_file_and_an_unknown_kind_say_what_is_wrong() {
        let missing = read(Path::new("/nowhere/part.png"), PixelFormat::Rgb8).unwrap_err();
        assert_eq!(
            whole_text(&missing),
            "cannot read /nowhere/part.png: No such file or directory (os error 2)"
        );
        let unknown = read(Path::new("/nowhere/part.txt"), PixelFormat::Rgb8).unwrap_err();
        assert!(whole_text(&unknown).contains("txt"), "{unknown:?}");
    }
}
