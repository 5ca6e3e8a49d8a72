//! The good images: looked at before anything takes long, grouped by the part they show, read when their turn comes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::appearance::Look;
use crate::dataset;
use crate::dataset::groups::Groups;
use crate::dataset::likeness::{self, Thumbnail};
use crate::dataset::parts::{self, Parts};
use crate::frame::{Picture, PixelFormat, Size};
use crate::image_file::{self, ImageFileError};
use crate::progress::{Progress, say};
use crate::train::Options;
use crate::train::error::TrainError;
use crate::train::suspects;

/// Fewer good images than this get a word of warning.
const FEW: usize = 50;

/// All good images, sorted by path.
#[derive(Debug)]
pub struct GoodImages {
    pub files: Vec<PathBuf>,
    pub fingerprints: Vec<String>,
    /// Those of one part are a group.
    pub groups: Groups,
    /// What each looks like as a whole.
    pub looks: Vec<Look>,
}

/// Images as they are told apart.
#[derive(Debug, Default)]
pub struct Looks {
    pub fingerprints: Vec<String>,
    pub thumbnails: Vec<Thumbnail>,
    pub looks: Vec<Look>,
}

impl GoodImages {
    /// Decodes every image, and tells what a person should know before an hour of training: sizes that differ, images
    /// of one part, images to test with that are to be trained on. One unreadable image among thousands is named now.
    pub fn look_over(
        files: Vec<PathBuf>,
        options: &Options,
        side: i64,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let tests: Vec<_> = dataset::test_images(&options.data).map(|set| set.images).unwrap_or_default();
        let n = files.len();
        let mut progress = Progress::start("images", n + tests.len());
        let mut sizes = BTreeSet::new();
        let mut good = Looks::default();
        for (i, file) in files.iter().enumerate() {
            stopped(stop)?;
            let size = good.add(file)?;
            if let Some(roi) = options.roi.as_deref().filter(|roi| roi.size() != size) {
                return Err(
                    TrainError::RoiSize { file: file.clone(), found: size, expected: roi.size() }.into()
                );
            }
            sizes.insert((size.pixels(), size.width, size.height));
            progress.set(i + 1, "");
        }
        let mut test = Looks::default();
        let mut readable = Vec::new();
        for (i, label) in tests.iter().enumerate() {
            stopped(stop)?;
            // Those that cannot be read are no matter of training: evaluation names them.
            if test.add(&label.path).is_ok() {
                readable.push(label);
            }
            progress.set(n + i + 1, "");
        }
        progress.finish(&told_sizes(n, &sizes, side));
        if n < FEW {
            say(&format!("note: {n} good images are few to learn from: 100 or more are better"));
        }

        let groups = grouped(&files, &good, options.group_by.as_deref());
        let copies = suspects::copies(&good.fingerprints, &test.fingerprints);
        let defective = copies.iter().find(|&&(_, test)| !readable[test].is_good);
        if let (Some(&(good, test)), false) = (defective, options.force) {
            let (defective, good) = (readable[test].path.clone(), files[good].clone());
            return Err(TrainError::Contradiction { defective, good }.into());
        }
        let alike = likeness::across(&good.thumbnails, &test.thumbnails);
        let name = |&(one, other): &(usize, usize)| (files[one].as_path(), readable[other].path.as_path());
        suspects::tell_tests(
            &copies.iter().map(name).collect::<Vec<_>>(),
            &alike.iter().map(name).collect::<Vec<_>>(),
        );
        Ok(Self { files, fingerprints: good.fingerprints, groups, looks: good.looks })
    }

    pub fn files(&self, images: &[usize]) -> Vec<PathBuf> {
        images.iter().map(|&image| self.files[image].clone()).collect()
    }

    pub fn fingerprints(&self, images: &[usize]) -> Vec<String> {
        images.iter().map(|&image| self.fingerprints[image].clone()).collect()
    }

    /// How many parts `images` show.
    pub fn parts(&self, images: &[usize]) -> usize {
        self.groups.divide(images).len()
    }

    /// A name of the part that `image` shows: the first image's fingerprint.
    pub fn part(&self, image: usize) -> &str {
        let group = self.groups.of(image);
        let first = (0..=image).find(|&one| self.groups.of(one) == group).unwrap_or(image);
        &self.fingerprints[first]
    }
}

impl Looks {
    fn add(&mut self, file: &Path) -> Result<Size, ImageFileError> {
        let (size, pixels, fingerprint) = image_file::read_known(file)?;
        self.fingerprints.push(fingerprint);
        let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
        self.thumbnails.push(Thumbnail::of(picture));
        self.looks.push(Look::at(picture));
        Ok(size)
    }
}

/// Groups the images by their parts and tells about it.
fn grouped(files: &[PathBuf], good: &Looks, separator: Option<&str>) -> Groups {
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let Parts { groups, notes, .. } = parts::group(&paths, &good.fingerprints, &good.thumbnails, separator);
    for note in &notes {
        say(note);
    }
    let (n, count) = (files.len(), groups.count());
    if count < n {
        say(&format!(
            "note: the {n} good images count as {count} parts; images of one part stay on one side of every division"
        ));
    }
    groups
}

fn stopped(stop: &AtomicBool) -> Result<(), TrainError> {
    if stop.load(Relaxed) { Err(TrainError::Stopped { before: "training began" }) } else { Ok(()) }
}

fn told_sizes(n: usize, sizes: &BTreeSet<(usize, u32, u32)>, side: i64) -> String {
    let size = |&(_, width, height): &(usize, u32, u32)| Size { width, height };
    match (sizes.first().map(size), sizes.last().map(size)) {
        (Some(smallest), Some(largest)) if sizes.len() > 1 => format!(
            "{n} images\nnote: the images have {} sizes, from {smallest} to {largest}; each is stretched to {side}x{side}",
            sizes.len()
        ),
        (Some(size), _) => format!("{n} images of {size}"),
        (None, _) => format!("{n} images"),
    }
}

/// A decoded image file.
#[derive(Debug)]
pub struct Decoded {
    pub size: Size,
    pub pixels: Vec<u8>,
}

impl Decoded {
    pub fn view(&self) -> Picture<'_> {
        Picture { size: self.size, format: PixelFormat::Rgb8, pixels: &self.pixels }
    }
}

pub fn read_all(files: &[PathBuf]) -> Result<Vec<Decoded>, ImageFileError> {
    let read = |file: &PathBuf| {
        let (size, pixels) = image_file::read(file, PixelFormat::Rgb8)?;
        Ok(Decoded { size, pixels })
    };
    files.iter().map(read).collect()
}

pub fn views(pictures: &[Decoded]) -> Vec<Picture<'_>> {
    pictures.iter().map(Decoded::view).collect()
}
