//! Which pictures of a folder may join a calibration: each once, and only with its part.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::dataset::DatasetError;
use crate::dataset::groups::part_name;
use crate::frame::PixelFormat;
use crate::image_file::{self, ImageFileError};
use crate::model::bundle::provenance::Provenance;
use crate::progress::Progress;

/// A picture that the calibration does not hold yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPicture {
    pub path: PathBuf,
    pub fingerprint: String,
    /// Pictures with the same name here are of one part.
    pub part: String,
}

/// The pictures of a folder, looked through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    pub new: Vec<NewPicture>,
    /// Already in the calibration.
    pub known: usize,
    /// The same picture as another of the folder.
    pub repeated: usize,
}

/// Reads every file, so that one that cannot be read is named before the network is loaded, and leaves out pictures
/// that are in `known` or came before. One that the network was trained on scores too low: it is refused.
pub fn choose(
    files: &[PathBuf],
    separator: Option<&str>,
    known: &[&str],
    provenance: &Provenance,
) -> anyhow::Result<Chosen> {
    let known: BTreeSet<&str> = known.iter().copied().collect();
    let mut chosen = Chosen::default();
    let mut seen = BTreeSet::new();
    let mut trained_on = Vec::new();
    let mut progress = Progress::start("images", files.len());
    for (i, path) in files.iter().enumerate() {
        let fingerprint = fingerprint(path)?;
        if known.contains(fingerprint.as_str()) {
            chosen.known += 1;
        } else if provenance.was_seen(&fingerprint) {
            trained_on.push(path);
        } else if !seen.insert(fingerprint.clone()) {
            chosen.repeated += 1;
        } else {
            // A file's name alone names no part: cameras count from 0 every day.
            let part = separator.map_or_else(|| fingerprint.clone(), |separator| part_name(path, separator));
            chosen.new.push(NewPicture { path: path.clone(), fingerprint, part });
        }
        progress.set(i + 1, "");
    }
    if let [first, more @ ..] = &*trained_on {
        return Err(DatasetError::TrainedOn { first: (*first).clone(), more: more.len() }.into());
    }
    progress.finish(&format!("{} read, {} of them new", files.len(), chosen.new.len()));
    Ok(chosen)
}

fn fingerprint(path: &Path) -> Result<String, ImageFileError> {
    let (size, pixels) = image_file::read(path, PixelFormat::Rgb8)?;
    Ok(image_file::fingerprint(size, &pixels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::bundle::fixture::Fixture;

    #[test]
    fn a_picture_is_taken_once_and_known_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a_1.png", "a_2.png", "b_1.png", "copy.bmp"].map(|name| folder.path().join(name));
        for (grey, file) in [10, 20, 30, 20].into_iter().zip(&files) {
            image::save_buffer(file, &[grey; 12], 2, 2, image::ColorType::Rgb8).unwrap();
        }
        let first = fingerprint(&files[0]).unwrap();
        let mut provenance = Fixture::new().manifest.provenance;
        let chosen = choose(&files, Some("_"), &[&first], &provenance).unwrap();
        assert_eq!((chosen.known, chosen.repeated), (1, 1));
        let parts: Vec<_> = chosen.new.iter().map(|new| (new.path.clone(), new.part.as_str())).collect();
        assert_eq!(parts, [(files[1].clone(), "a"), (files[2].clone(), "b")]);
        let alone = choose(&files, None, &[], &provenance).unwrap();
        assert!(alone.new.iter().all(|new| new.part == new.fingerprint) && alone.new.len() == 3);

        provenance.fingerprints.trained_on = vec![first.clone()];
        provenance.fingerprints.watched = vec![fingerprint(&files[2]).unwrap()];
        let error = choose(&files, None, &[], &provenance).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "and 1 more: the network knows it from training, so its score says nothing of new parts"
            ),
            "{error}"
        );
        // What stands in the calibration came from networks that had not seen it.
        assert!(choose(&files[..1], None, &[&first], &provenance).is_ok());
    }
}
