//! Which pictures of a folder may join a calibration: each once, and only with its part.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::appearance::Look;
use crate::dataset::DatasetError;
use crate::dataset::groups::part_name;
use crate::dataset::likeness::Thumbnail;
use crate::dataset::parts::{self, Parts};
use crate::frame::{Picture, PixelFormat};
use crate::image_file;
use crate::model::bundle::provenance::Provenance;
use crate::progress::{Progress, say};

/// A picture that the calibration does not hold yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPicture {
    pub path: PathBuf,
    pub fingerprint: String,
    /// Pictures with the same name here are of one part.
    pub part: String,
}

/// The pictures of a folder, looked through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    pub new: Vec<NewPicture>,
    /// Already in the calibration.
    pub known: usize,
    /// The same picture as another of the folder.
    pub repeated: usize,
    /// Pairs of new pictures that look like one part, and are counted as one.
    pub alike: usize,
    /// What each new picture looks like as a whole.
    pub looks: Vec<Look>,
}

/// What the calibration holds.
#[derive(Clone, Debug, Default)]
pub struct Held<'a> {
    /// Fingerprints.
    pub images: BTreeSet<&'a str>,
    /// Names.
    pub parts: BTreeSet<&'a str>,
}

/// Reads every file, so that one that cannot be read is named before the network is loaded, and leaves out pictures
/// that are in `held` or came before. One that the network was trained on scores too low: it is refused. Pictures of
/// one part, by their names or by their looks, get its name: the first of theirs that is in `held`, else the first.
pub fn choose(
    files: &[PathBuf],
    separator: Option<&str>,
    held: &Held<'_>,
    provenance: &Provenance,
) -> anyhow::Result<Chosen> {
    let mut chosen = Chosen::default();
    let mut seen = BTreeSet::new();
    let (mut trained_on, mut thumbnails) = (Vec::new(), Vec::new());
    let mut progress = Progress::start("images", files.len());
    for (i, path) in files.iter().enumerate() {
        let (size, pixels, fingerprint) = image_file::read_known(path)?;
        if held.images.contains(fingerprint.as_str()) {
            chosen.known += 1;
        } else if provenance.was_seen(&fingerprint) {
            trained_on.push(path);
        } else if !seen.insert(fingerprint.clone()) {
            chosen.repeated += 1;
        } else {
            // A file's name alone names no part: cameras count from 0 every day.
            let part = separator.map_or_else(|| fingerprint.clone(), |separator| part_name(path, separator));
            let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
            thumbnails.push(Thumbnail::of(picture));
            chosen.looks.push(Look::at(picture));
            chosen.new.push(NewPicture { path: path.clone(), fingerprint, part });
        }
        progress.set(i + 1, "");
    }
    if let [first, more @ ..] = &*trained_on {
        return Err(DatasetError::TrainedOn { first: (*first).clone(), more: more.len() }.into());
    }
    progress.finish(&format!("{} read, {} of them new", files.len(), chosen.new.len()));
    unite(&mut chosen, &thumbnails, separator, held);
    Ok(chosen)
}

/// Gives the new pictures of one part one name, and tells which look like one.
fn unite(chosen: &mut Chosen, thumbnails: &[Thumbnail], separator: Option<&str>, held: &Held<'_>) {
    let new = &mut chosen.new;
    let paths: Vec<&Path> = new.iter().map(|picture| picture.path.as_path()).collect();
    let fingerprints: Vec<String> = new.iter().map(|picture| picture.fingerprint.clone()).collect();
    let Parts { groups, alike, notes } = parts::group(&paths, &fingerprints, thumbnails, separator);
    for note in &notes {
        say(note);
    }
    if alike > 0 {
        say(&format!("note: {} new images count as {} parts", new.len(), groups.count()));
    }
    let all: Vec<usize> = (0..new.len()).collect();
    for members in groups.divide(&all) {
        let is_held = |&&image: &&usize| held.parts.contains(new[image].part.as_str());
        let namesake = members.iter().find(is_held).unwrap_or(&members[0]);
        let part = new[*namesake].part.clone();
        for image in members {
            new[image].part.clone_from(&part);
        }
    }
    chosen.alike = alike;
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
        let fingerprint = |file: &Path| image_file::read_known(file).unwrap().2;
        let first = fingerprint(&files[0]);
        let held = Held { images: BTreeSet::from([first.as_str()]), parts: BTreeSet::new() };
        let mut provenance = Fixture::new().manifest.provenance;
        let chosen = choose(&files, Some("_"), &held, &provenance).unwrap();
        assert_eq!((chosen.known, chosen.repeated), (1, 1));
        let parts: Vec<_> = chosen.new.iter().map(|new| (new.path.clone(), new.part.as_str())).collect();
        assert_eq!(parts, [(files[1].clone(), "a"), (files[2].clone(), "b")]);
        let alone = choose(&files, None, &Held::default(), &provenance).unwrap();
        assert!(alone.new.iter().all(|new| new.part == new.fingerprint) && alone.new.len() == 3);

        provenance.fingerprints.trained_on = vec![first.clone()];
        provenance.fingerprints.watched = vec![fingerprint(&files[2])];
        let error = choose(&files, None, &Held::default(), &provenance).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "and 1 more: the network knows it from training, so its score says nothing of new parts"
            ),
            "{error}"
        );
        // What stands in the calibration came from networks that had not seen it.
        assert!(choose(&files[..1], None, &held, &provenance).is_ok());
    }
    #[test]
    fn pictures_that_look_like_one_part_get_the_name_of_the_part_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        // Two pictures of one part, under names of two.
        let files = ["a_1.png", "b_1.png", "c_1.png", "d_1.png"].map(|name| folder.path().join(name));
        for (file, [field, grey]) in files.iter().zip([[0, 50], [0, 60], [70, 50], [120, 50]]) {
            let mut pixels = vec![grey; 768];
            pixels[3 * usize::from(field)] = 200;
            image::save_buffer(file, &pixels, 16, 16, image::ColorType::Rgb8).unwrap();
        }
        let provenance = Fixture::new().manifest.provenance;
        for (there, expected) in [("b", ["b", "b", "c", "d"]), ("x", ["a", "a", "c", "d"])] {
            let held = Held { images: BTreeSet::new(), parts: BTreeSet::from([there]) };
            let chosen = choose(&files, Some("_"), &held, &provenance).unwrap();
            assert_eq!(chosen.new.iter().map(|new| new.part.as_str()).collect::<Vec<_>>(), expected);
            assert_eq!(chosen.alike, 1);
        }
    }
}
