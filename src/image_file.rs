//! Reading an image file from disk into packed rows.
//!
//! The file's content decides its format, not its name. Whatever cannot be shown whole is an error that names
//! the file: half a picture must never be judged.

pub mod writing;

use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::digest;
use crate::frame::{PixelFormat, Size};

/// Larger images are refused before their pixels are decoded.
pub const MAX_PIXELS: usize = 100_000_000;

/// Memory that one decoder may ask for: [`MAX_PIXELS`] of 4 channels with 16 bits, and some room.
const MAX_DECODER_BYTES: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum ImageFileError {
    #[error("image {}: there is no such file", .path.display())]
    Missing { path: PathBuf },
    #[error("image {}: cannot be read", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("image {}: is not a PNG, JPEG, BMP or TIFF file", .path.display())]
    NotAnImage { path: PathBuf },
    #[error("image {}: is damaged", .path.display())]
    Damaged { path: PathBuf, source: ImageError },
    #[error("image {}: is cut short", .path.display())]
    CutShort { path: PathBuf },
    #[error("image {}: has no pixels ({size})", .path.display())]
    Empty { path: PathBuf, size: Size },
    #[error("image {}: {size} is more than {} megapixels", .path.display(), MAX_PIXELS / 1_000_000)]
    TooLarge { path: PathBuf, size: Size },
}

/// The picture in `path`, as 8-bit pixels of `format` in rows without padding.
pub fn read(path: &Path, format: PixelFormat) -> Result<(Size, Vec<u8>), ImageFileError> {
    let bytes = load(path)?;
    let image = decode(path, &bytes)?;
    let size = Size { width: image.width(), height: image.height() };
    let pixels = match format {
        PixelFormat::Gray8 => image.into_luma8().into_raw(),
        PixelFormat::Rgb8 => image.into_rgb8().into_raw(),
        PixelFormat::Bgr8 => {
            let mut pixels = image.into_rgb8().into_raw();
            pixels.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
            pixels
        }
    };
    Ok((size, pixels))
}

/// The picture in `path` as [`read`] gives it for [`PixelFormat::Rgb8`], and its [`fingerprint`].
pub fn read_known(path: &Path) -> Result<(Size, Vec<u8>, String), ImageFileError> {
    let (size, pixels) = read(path, PixelFormat::Rgb8)?;
    let fingerprint = fingerprint(size, &pixels);
    Ok((size, pixels, fingerprint))
}

/// What a picture is known by, in 16 hex digits: the same picture in another file or format is the same picture.
/// `rgb` are its pixels as [`read`] gives them for [`PixelFormat::Rgb8`].
pub fn fingerprint(size: Size, rgb: &[u8]) -> String {
    let mut text = digest::sha256_of_all(&[&size.width.to_le_bytes(), &size.height.to_le_bytes(), rgb]);
    text.truncate(16);
    text
}

fn load(path: &Path) -> Result<Vec<u8>, ImageFileError> {
    fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ImageFileError::Missing { path: path.into() },
        _ => ImageFileError::Unreadable { path: path.into(), source },
    })
}

fn decode(path: &Path, bytes: &[u8]) -> Result<DynamicImage, ImageFileError> {
    let (decoder, _) = open(path, bytes)?;
    DynamicImage::from_decoder(decoder)
        .map_err(|source| ImageFileError::Damaged { path: path.into(), source })
}

fn known_format(path: &Path, bytes: &[u8]) -> Result<ImageFormat, ImageFileError> {
    image::guess_format(bytes).map_err(|_| ImageFileError::NotAnImage { path: path.into() })
}

/// A decoder that has read the header, and the size that stands there.
fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<(impl ImageDecoder + 'a, Size), ImageFileError> {
    let damaged = |source| ImageFileError::Damaged { path: path.into(), source };
    let format = known_format(path, bytes)?;
    let is_whole = match format {
        // The JPEG decoder fills what is missing with grey and says nothing.
        ImageFormat::Jpeg => jpeg_is_whole(bytes),
        ImageFormat::Png => png_is_whole(bytes),
        // The decoder finds out.
        _ => true,
    };
    if !is_whole {
        return Err(ImageFileError::CutShort { path: path.into() });
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|source| match source {
        ImageError::Unsupported(_) => ImageFileError::NotAnImage { path: path.into() },
        source => damaged(source),
    })?;
    let (width, height) = decoder.dimensions();
    let size = Size { width, height };
    if size.pixels() == 0 {
        return Err(ImageFileError::Empty { path: path.into(), size });
    }
    if size.pixels() > MAX_PIXELS {
        return Err(ImageFileError::TooLarge { path: path.into(), size });
    }
    Ok((decoder, size))
}

/// Whether the last chunk is there, with its checksum; something may follow it.
fn png_is_whole(bytes: &[u8]) -> bool {
    bytes.windows(8).rev().any(|end| end == b"IEND\xAE\x42\x60\x82")
}

/// Whether an end-of-image marker follows the last start-of-scan marker. Neither can occur inside a scan.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let last = |code: u8| bytes.windows(2).rposition(|pair| pair == [0xFF, code]);
    last(0xD9) > last(0xDA)
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(33, 17, |x, y| {
            Rgb([u8::try_from(7 * x).unwrap(), u8::try_from(9 * y).unwrap(), 40])
        })
    }

    fn fails(path: &Path) -> String {
        read(path, PixelFormat::Rgb8).unwrap_err().to_string()
    }

    #[test]
    fn each_pixel_format_holds_the_same_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        picture().save(&path).unwrap();
        let (size, rgb) = read(&path, PixelFormat::Rgb8).unwrap();
        assert_eq!((size.width, size.height), (33, 17));
        assert_eq!(rgb, picture().into_raw());
        let (_, bgr) = read(&path, PixelFormat::Bgr8).unwrap();
        assert!(rgb.chunks(3).zip(bgr.chunks(3)).all(|(a, b)| a[0] == b[2] && a[1] == b[1] && a[2] == b[0]));
        let (_, gray) = read(&path, PixelFormat::Gray8).unwrap();
        assert_eq!(gray, DynamicImage::from(picture()).into_luma8().into_raw());
    }

    #[test]
    fn the_content_decides_and_not_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("really_a_png.jpg");
        picture().save_with_format(&path, ImageFormat::Png).unwrap();
        assert_eq!(read(&path, PixelFormat::Rgb8).unwrap().1, picture().into_raw());
    }

    #[test]
    fn a_picture_is_known_again_in_another_format_and_not_in_another_shape() {
        let folder = tempfile::tempdir().unwrap();
        let known = [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff].map(|format| {
            let path = folder.path().join("part");
            picture().save_with_format(&path, format).unwrap();
            let (size, rgb) = read(&path, PixelFormat::Rgb8).unwrap();
            fingerprint(size, &rgb)
        });
        assert!(known[0].len() == 16 && known.iter().all(|one| *one == known[0]), "{known:?}");
        let rgb = picture().into_raw();
        assert_ne!(fingerprint(Size { width: 17, height: 33 }, &rgb), known[0]);
        let other: Vec<u8> = rgb.iter().map(|value| value ^ 1).collect();
        assert_ne!(fingerprint(Size { width: 33, height: 17 }, &other), known[0]);
    }

    #[test]
    fn a_file_of_any_format_that_is_cut_short_anywhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::Tiff] {
            let path = folder.path().join("part");
            picture().save_with_format(&path, format).unwrap();
            let whole = fs::read(&path).unwrap();
            for kept in [0, 1, 7, 20, whole.len() / 2, whole.len() - 13] {
                fs::write(&path, &whole[..kept]).unwrap();
                let text = fails(&path);
                assert!(text.contains("part"), "{format:?} cut to {kept}: {text}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        assert!(fails(&path).ends_with("a.png: there is no such file"));
        assert!(fails(folder.path()).ends_with("cannot be read"));
        fs::write(&path, "not a picture").unwrap();
        assert!(fails(&path).ends_with("a.png: is not a PNG, JPEG, BMP or TIFF file"));
    }

    #[test]
    fn a_picture_that_says_it_is_huge_is_refused_before_it_is_decoded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.bmp");
        picture().save(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[18..26].copy_from_slice(&[0x10, 0x27, 0, 0, 0x11, 0x27, 0, 0]);
        fs::write(&path, bytes).unwrap();
        assert!(fails(&path).contains("10000x10001 is more than 100 megapixels"), "{}", fails(&path));
    }
}
