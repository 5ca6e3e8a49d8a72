//! A folder of good parts from production, however it is laid out.

use std::path::{Path, PathBuf};

use crate::dataset::listing::{KINDS, list};
use crate::dataset::{DatasetError, require_folder};

/// The folder that was taken, and its images, sorted by path: `root` itself if it holds images, else
/// `root/test/good`, else `root/good`. Never `root/train/good`, which a network was trained on.
pub fn images(root: &Path) -> Result<(PathBuf, Vec<PathBuf>), DatasetError> {
    require_folder(root)?;
    for folder in [root.to_owned(), root.join("test/good"), root.join("good")] {
        if folder.is_dir() {
            let images = list(&folder)?.images;
            if !images.is_empty() {
                return Ok((folder, images));
            }
        }
    }
    let trained = if root.join("train").is_dir() { " (train is not looked into)" } else { "" };
    let expected =
        format!("{KINDS} images of good parts in the folder itself, test/good or good{trained}, found none");
    Err(DatasetError::Layout { folder: root.into(), expected })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_of_three_places_that_holds_images_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let add = |place: &str| {
            fs::create_dir_all(root.join(place)).unwrap();
            fs::write(root.join(place).join("a.png"), b"").unwrap();
        };
        assert!(images(&root.join("none")).unwrap_err().to_string().ends_with("there is no such folder"));
        add("train/good");
        let text = images(root).unwrap_err().to_string();
        assert!(
            text.ends_with("in the folder itself, test/good or good (train is not looked into), found none")
        );
        for place in ["good", "test/good", "."] {
            add(place);
            let (taken, found) = images(root).unwrap();
            assert_eq!(taken, root.join(place).components().collect::<PathBuf>());
            assert_eq!(found, [taken.join("a.png")]);
        }
    }
}
