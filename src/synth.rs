//! Draws parts, good and defective, for the demo, the tests, and people without pictures of their own.
//!
//! Writes a data folder in the layout of MVTec AD. The same seed gives the same files, byte for byte, and
//! more good parts leave the first ones as they were.

pub mod defects;
mod folder;
pub mod part;
pub mod picture;
mod plan;
pub mod plane;
pub mod print;
pub mod surface;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ImageBuffer, PixelWithColorType};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::frame::Size;
use defects::Defect;
use part::Part;
use plan::Job;

/// What to draw.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder to make; must be empty, missing, or made by an earlier run.
    pub out: PathBuf,
    pub seed: u64,
    /// Good parts to train on.
    pub train: u32,
    /// Good parts to test with.
    pub good: u32,
    /// Defective parts to test with, shared out over the five kinds.
    pub defective: u32,
    pub size: Size,
}

impl Options {
    pub fn new(out: PathBuf) -> Self {
        let size = Size { width: 320, height: 320 };
        Self { out, seed: 1, train: 160, good: 120, defective: 80, size }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    #[error("size {0}: each side must be from {MIN_SIDE} to {MAX_SIDE} pixels")]
    Size(Size),
    #[error("{count} pictures of one kind are more than the {MAX_PICTURES} that fit")]
    TooMany { count: u32 },
    #[error("{}: not empty, and not made by csflowd synth; choose another folder", .0.display())]
    Foreign(PathBuf),
    #[error("{}: csflowd synth did not make this; move it away or choose another folder", .0.display())]
    Stray(PathBuf),
    #[error("{}: {doing}", path.display())]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    #[error("{}: cannot be written as PNG", path.display())]
    Encode { path: PathBuf, source: image::ImageError },
}

const MIN_SIDE: u16 = 64;
const MAX_SIDE: u16 = 4096;
const MAX_PICTURES: u32 = 100_000;

/// Draws everything. `progress` hears after each picture how many are done, and of how many.
pub fn run(options: &Options, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<(), SynthError> {
    let (width, height) = checked_size(options.size)?;
    let jobs = plan::jobs(options)?;
    folder::prepare(options, &jobs)?;
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // An error of one ends the others.
    let work = || -> Result<(), SynthError> {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            draw(job, options, width, height).inspect_err(|_| next.store(jobs.len(), Ordering::Relaxed))?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
        }
        Ok(())
    };
    let n_workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..n_workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    folder::finish(options)
}

/// Draws one picture, and the mask if it shows a defect.
fn draw(job: &Job, options: &Options, width: u16, height: u16) -> Result<(), SynthError> {
    let mut random = Pcg64::seed_from_u64(job.seed);
    let part = Part::draw_lot(&mut random);
    let camera_noise = random.random();
    let good = picture::draw(&part, None, width, height, camera_noise);
    let Some(flaw) = &job.defect else {
        return write_png(&good, options.out.join(&job.picture));
    };
    let defect = Defect::place(flaw.kind, flaw.severity, &mut random);
    let bad = picture::draw(&part, Some(&defect), width, height, camera_noise);
    let mask = picture::mask(&good, &bad);
    write_png(&bad, options.out.join(&job.picture))?;
    write_png(&mask, options.out.join(&flaw.mask))
}

fn checked_size(size: Size) -> Result<(u16, u16), SynthError> {
    let side = |pixels| u16::try_from(pixels).ok().filter(|side| (MIN_SIDE..=MAX_SIDE).contains(side));
    side(size.width).zip(side(size.height)).ok_or(SynthError::Size(size))
}

fn write_png<P>(picture: &ImageBuffer<P, Vec<u8>>, path: PathBuf) -> Result<(), SynthError>
where
    P: PixelWithColorType<Subpixel = u8>,
{
    let mut png = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive);
    if let Err(source) = picture.write_with_encoder(encoder) {
        return Err(SynthError::Encode { path, source });
    }
    std::fs::write(&path, png).map_err(|source| SynthError::Io { path, doing: "cannot be written", source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn few(out: &Path) -> Options {
        let size = Size { width: 80, height: 64 };
        Options { train: 3, good: 2, defective: 12, size, seed: 7, ..Options::new(out.to_owned()) }
    }

    fn draw_all(options: &Options) -> Result<(), SynthError> {
        run(options, &|_, _| {})
    }

    /// Every file below `folder` with its content.
    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.extend(
                    files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
                );
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
        found
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let (a, b, c) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        draw_all(&few(a.path())).unwrap();
        draw_all(&few(b.path())).unwrap();
        draw_all(&Options { seed: 8, ..few(c.path()) }).unwrap();
        let (a, b, c) = (files(a.path()), files(b.path()), files(c.path()));
        assert!(a == b);
        assert!(a.keys().eq(c.keys()));
        assert!(a.iter().all(|(path, bytes)| c[path] != *bytes));
    }

    #[test]
    fn the_folder_is_laid_out_as_mvtec_ad() {
        let out = tempfile::tempdir().unwrap();
        draw_all(&few(out.path())).unwrap();
        let mut expected = vec![folder::MARKER.to_owned()];
        expected.extend((0..3).map(|n| format!("train/good/00{n}.png")));
        expected.extend((0..2).map(|n| format!("test/good/00{n}.png")));
        for (kind, count) in
            [("scratch", 3), ("pit", 3), ("stain", 2), ("chipped_edge", 2), ("missing_print", 2)]
        {
            for n in 0..count {
                expected.push(format!("test/{kind}/00{n}.png"));
                expected.push(format!("ground_truth/{kind}/00{n}_mask.png"));
            }
        }
        expected.sort();
        assert!(files(out.path()).keys().eq(&expected));
        let picture = image::open(out.path().join("test/pit/000.png")).unwrap();
        assert_eq!((picture.width(), picture.height(), picture.color()), (80, 64, image::ColorType::Rgb8));
        let mask = image::open(out.path().join("ground_truth/pit/000_mask.png")).unwrap();
        assert_eq!((mask.width(), mask.height(), mask.color()), (80, 64, image::ColorType::L8));
    }

    #[test]
    fn a_mask_is_white_exactly_where_the_defect_changed_the_picture() {
        let out = tempfile::tempdir().unwrap();
        let options = Options { defective: 30, size: Size { width: 160, height: 160 }, ..few(out.path()) };
        draw_all(&options).unwrap();
        for job in plan::jobs(&options).unwrap() {
            let Some(flaw) = &job.defect else { continue };
            let mut random = Pcg64::seed_from_u64(job.seed);
            let part = Part::draw_lot(&mut random);
            let good = picture::draw(&part, None, 160, 160, random.random());
            let bad = image::open(out.path().join(&job.picture)).unwrap().to_rgb8();
            let mask = image::open(out.path().join(&flaw.mask)).unwrap().to_luma8();
            let mut strongest = 0;
            for ((before, after), mark) in good.pixels().zip(bad.pixels()).zip(mask.pixels()) {
                assert_eq!(mark.0[0], if before == after { 0 } else { 255 }, "{}", flaw.mask.display());
                strongest = strongest.max(before.0[1].abs_diff(after.0[1]));
            }
            let n_changed = mask.pixels().filter(|mark| mark.0[0] == 255).count();
            assert!((10..160 * 160 / 8).contains(&n_changed), "{}: {n_changed}", job.picture.display());
            assert!(strongest >= 25, "{}: at most {strongest} levels", job.picture.display());
        }
    }

    #[test]
    fn more_pictures_leave_the_first_ones_as_they_were() {
        let (few_out, more_out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        draw_all(&few(few_out.path())).unwrap();
        draw_all(&Options { train: 5, ..few(more_out.path()) }).unwrap();
        let more = files(more_out.path());
        for (path, bytes) in files(few_out.path()) {
            assert!(path == folder::MARKER || more[&path] == bytes, "{path}");
        }
    }

    #[test]
    fn progress_counts_every_picture_to_the_end() {
        let out = tempfile::tempdir().unwrap();
        let (n_calls, last) = (AtomicUsize::new(0), AtomicUsize::new(0));
        run(&few(out.path()), &|done, all| {
            assert_eq!(all, 17);
            n_calls.fetch_add(1, Ordering::Relaxed);
            last.fetch_max(done, Ordering::Relaxed);
        })
        .unwrap();
        assert_eq!((n_calls.into_inner(), last.into_inner()), (17, 17));
    }

    #[test]
    fn a_size_that_cannot_be_drawn_is_refused_before_anything_is_written() {
        let out = tempfile::tempdir().unwrap();
        let size = Size { width: 320, height: 63 };
        let error = draw_all(&Options { size, ..few(out.path()) }).unwrap_err();
        assert_eq!(error.to_string(), "size 320x63: each side must be from 64 to 4096 pixels");
        let error = draw_all(&Options { train: 100_001, ..few(out.path()) }).unwrap_err();
        assert_eq!(error.to_string(), "100001 pictures of one kind are more than the 100000 that fit");
        assert!(files(out.path()).is_empty());
    }
}
