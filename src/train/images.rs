//! The good images: looked at before anything takes long, divided by use, read when their turn comes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::dataset;
use crate::frame::{Picture, PixelFormat, Size};
use crate::image_file::{self, ImageFileError};
use crate::progress::{Progress, say};
use crate::roi::Roi;
use crate::train::error::TrainError;

/// Share of the good images held out for calibration.
const HELD_OUT: f64 = 0.2;

/// Share of the rest that picks the best epoch.
const WATCHED: f64 = 0.1;

/// The good images by their use.
#[derive(Debug)]
pub struct Parts {
    pub trained_on: Vec<PathBuf>,
    pub watched: Vec<PathBuf>,
    pub held_out: Vec<PathBuf>,
}

impl Parts {
    pub fn of(images: &[PathBuf], seed: u64) -> Self {
        let (rest, held_out) = dataset::split(images.len(), HELD_OUT, seed);
        let (trained_on, watched) = dataset::split(rest.len(), WATCHED, seed.wrapping_add(1));
        let pick = |positions: &[usize]| positions.iter().map(|&i| images[i].clone()).collect();
        let through_rest = |positions: Vec<usize>| positions.into_iter().map(|i| rest[i]).collect::<Vec<_>>();
        Self {
            trained_on: pick(&through_rest(trained_on)),
            watched: pick(&through_rest(watched)),
            held_out: pick(&held_out),
        }
    }
}

/// Looks at every file, and tells if they differ in size, since all are stretched to a square of `side` pixels.
/// One unreadable image among thousands should be named now and not after an hour of features.
pub fn look_over(images: &[PathBuf], side: i64, roi: Option<&Roi>, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut progress = Progress::start("images", images.len());
    let mut sizes: Vec<Size> = Vec::new();
    for (i, file) in images.iter().enumerate() {
        if stop.load(Relaxed) {
            return Err(TrainError::Stopped { before: "training began" }.into());
        }
        let size = image_file::probe(file)?;
        if let Some(roi) = roi.filter(|roi| roi.size() != size) {
            return Err(TrainError::RoiSize { file: file.clone(), found: size, expected: roi.size() }.into());
        }
        if !sizes.contains(&size) {
            sizes.push(size);
        }
        progress.set(i + 1, "");
    }
    sizes.sort_by_key(|size| (size.pixels(), size.width));
    let (Some(smallest), Some(largest)) = (sizes.first(), sizes.last()) else { return Ok(()) };
    if smallest == largest {
        progress.finish(&format!("{} images of {largest}", images.len()));
    } else {
        progress.finish(&format!("{} images", images.len()));
        say(&format!(
            "note: the images have {} sizes, from {smallest} to {largest}; each is stretched to {side}x{side}",
            sizes.len()
        ));
    }
    Ok(())
}

/// A decoded image file.
#[derive(Debug)]
pub struct Decoded {
    size: Size,
    pixels: Vec<u8>,
}

pub fn read_all(files: &[PathBuf]) -> Result<Vec<Decoded>, ImageFileError> {
    let read = |file: &PathBuf| {
        let (size, pixels) = image_file::read(file, PixelFormat::Rgb8)?;
        Ok(Decoded { size, pixels })
    };
    files.iter().map(read).collect()
}

pub fn views(pictures: &[Decoded]) -> Vec<Picture<'_>> {
    pictures.iter().map(|p| Picture { size: p.size, format: PixelFormat::Rgb8, pixels: &p.pixels }).collect()
}
