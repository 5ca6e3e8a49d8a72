//! Folders of parts that were captured again and again, to see how far judging them repeats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dataset::groups::part_name;
use crate::dataset::listing::{KINDS, list, name};
use crate::dataset::{DatasetError, require_folder};

/// One part and its captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// Name of its class's folder: `good` or the kind of defect.
    pub class: String,
    pub is_good: bool,
    pub part: String,
    /// At least two, sorted by path.
    pub captures: Vec<PathBuf>,
}

/// The parts in `root/<class>/<part>/`, by class and name; with a `separator` also those in `root/<class>/`, whose
/// files' names say the part before the last separator. There are at least two good ones.
pub fn repeats(root: &Path, separator: Option<&str>) -> Result<Vec<Repeated>, DatasetError> {
    require_folder(root)?;
    let layout = |folder: &Path, expected: String| DatasetError::Layout { folder: folder.into(), expected };
    let mut parts = Vec::new();
    for class_folder in list(root)?.folders {
        let class = name(&class_folder);
        let listing = list(&class_folder)?;
        let mut by_part: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for folder in listing.folders {
            by_part.entry(name(&folder)).or_default().extend(list(&folder)?.images);
        }
        match (separator, listing.images.first()) {
            (None, Some(_)) => {
                let expected =
                    "a folder for each part, found images; if their names say the part, as part7_1.png \
                                does, give --group-by _"
                        .into();
                return Err(layout(&class_folder, expected));
            }
            (Some(separator), Some(_)) => {
                for image in listing.images {
                    by_part.entry(part_name(&image, separator)).or_default().push(image);
                }
            }
            (_, None) => {}
        }
        for (part, captures) in by_part {
            if captures.len() < 2 {
                let found = if captures.is_empty() { "none" } else { "one" };
                let expected = format!("at least two captures ({KINDS}) of part \"{part}\", found {found}");
                return Err(layout(&class_folder, expected));
            }
            parts.push(Repeated { is_good: class == "good", class: class.clone(), part, captures });
        }
    }
    let good = parts.iter().filter(|part| part.is_good).count();
    if good < 2 {
        let expected = format!(
            "at least two good parts, each with its captures in good/<part>/, found {}; defective ones go to \
             <defect>/<part>/",
            if good == 0 { "none" } else { "one" }
        );
        return Err(layout(root, expected));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        folder
    }

    #[test]
    fn parts_are_found_in_folders_of_their_own_and_by_name() {
        let found = folder(&[
            "good/a/1.png",
            "good/a/2.png",
            "good/b/1.png",
            "good/b/2.png",
            "pit/c_1.png",
            "pit/c_2.png",
            "pit/notes.txt",
            "readme.txt",
        ]);
        let parts = repeats(found.path(), Some("_")).unwrap();
        let names: Vec<_> =
            parts.iter().map(|p| (p.class.as_str(), p.part.as_str(), p.is_good, p.captures.len())).collect();
        assert_eq!(names, [("good", "a", true, 2), ("good", "b", true, 2), ("pit", "c", false, 2)]);
    }

    #[test]
    fn what_cannot_be_studied_is_said_with_its_place() {
        let whole = ["good/a/1.png", "good/a/2.png", "good/b/1.png", "good/b/2.png"];
        for (more, separator, expected) in [
            (&["pit/1.png"][..], None, "pit: expected a folder for each part, found images; if"),
            (
                &["pit/1.png"],
                Some("_"),
                "pit: expected at least two captures (png, jpg, jpeg, bmp, tif or tiff)",
            ),
            (&["pit/c/1.png"], None, "of part \"c\", found one"),
            (&["pit/c/notes.txt"], None, "of part \"c\", found none"),
        ] {
            let found = folder(&[&whole[..], more].concat());
            let text = repeats(found.path(), separator).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
        for (files, expected) in [
            (&whole[..2], "at least two good parts, each with its captures in good/<part>/, found one"),
            (&["pit/a/1.png", "pit/a/2.png"], "found none; defective"),
            (&[], "found none; defective"),
        ] {
            let text = repeats(folder(files).path(), None).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}
