//! The images in a folder, the order in which they are shown, and the part ids made of their names.

use std::fs;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use crate::capture::error::CaptureError;
use crate::config::camera::{Files, Order};
use crate::frame::{PartId, is_plain};

const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];

/// The images of a [`Files`] source, in the order of their showing.
#[derive(Debug)]
pub(super) struct Playlist {
    /// Of the pass that goes on.
    paths: Vec<PathBuf>,
    /// How many of them have been shown.
    shown: usize,
    repeat: bool,
    shuffle: Option<Pcg64>,
}

impl Playlist {
    pub(super) fn new(files: &Files) -> Result<Self, CaptureError> {
        let mut paths = Vec::new();
        find(&files.folder, &mut paths)?;
        if paths.is_empty() {
            return Err(CaptureError::NoImages { folder: files.folder.clone() });
        }
        paths.sort_unstable();
        let mut shuffle = match files.order {
            Order::Sorted => None,
            Order::Shuffled { seed } => Some(Pcg64::seed_from_u64(seed)),
        };
        if let Some(rng) = &mut shuffle {
            paths.shuffle(rng);
        }
        Ok(Self { paths, shown: 0, repeat: files.repeat, shuffle })
    }

    /// The next image; None after the last one, unless they are repeated.
    pub(super) fn advance(&mut self) -> Option<&Path> {
        if self.shown == self.paths.len() && self.repeat {
            self.shown = 0;
            if let Some(rng) = &mut self.shuffle {
                self.paths.shuffle(rng);
            }
        }
        let path = self.paths.get(self.shown)?;
        self.shown += 1;
        Some(path)
    }
}

/// Appends the images in `folder` and below it. Symbolic links are not followed: they could lead round in circles.
fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), CaptureError> {
    let failed = |cause| CaptureError::Folder { folder: folder.into(), cause };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (kind, path) = (entry.file_type().map_err(failed)?, entry.path());
        if kind.is_dir() {
            find(&path, found)?;
        } else if kind.is_file() && is_image(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The file's name as a part id: what cannot stand in one becomes `_`, and it ends after 64 characters.
pub(super) fn part_id(path: &Path) -> Option<PartId> {
    let name = path.file_name()?.to_string_lossy();
    let name: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(64).collect();
    PartId::new(&name).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn files(folder: &Path, repeat: bool, order: Order) -> Files {
        Files { folder: folder.into(), rate_hz: 1.0, repeat, order }
    }

    /// The names of the next `count` images.
    fn names(playlist: &mut Playlist, count: usize) -> Vec<String> {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        (0..count).map_while(|_| playlist.advance().map(name)).collect()
    }

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn images_are_found_in_sub_folders_and_sorted_by_path() {
        let folder =
            folder_with(&["b/2.JPG", "c.tiff", "b/1.png", "a.bmp", "notes.txt", "png", "b/deep/0.jpeg"]);
        symlink(folder.path(), folder.path().join("b/circle")).unwrap();
        symlink(folder.path().join("a.bmp"), folder.path().join("link.png")).unwrap();
        let mut playlist = Playlist::new(&files(folder.path(), false, Order::Sorted)).unwrap();
        assert_eq!(names(&mut playlist, 9), ["a.bmp", "1.png", "2.JPG", "0.jpeg", "c.tiff"]);
        assert!(playlist.advance().is_none());
    }

    #[test]
    fn a_seed_gives_the_same_orders_each_time_and_a_new_one_for_each_pass() {
        let all: Vec<String> = (0..20).map(|n| format!("{n:02}.png")).collect();
        let folder = folder_with(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let draw = |seed| {
            names(&mut Playlist::new(&files(folder.path(), true, Order::Shuffled { seed })).unwrap(), 40)
        };
        let order = draw(7);
        assert_eq!(order, draw(7));
        assert_ne!(order, draw(8));
        let (first, second) = order.split_at(20);
        assert_ne!(first, second);
        for pass in [first, second] {
            let mut pass = pass.to_vec();
            pass.sort_unstable();
            assert_eq!(pass, all);
        }
    }

    #[test]
    fn a_folder_without_images_or_without_existence_is_named() {
        let folder = folder_with(&["notes.txt"]);
        let empty = Playlist::new(&files(folder.path(), false, Order::Sorted)).unwrap_err();
        assert!(empty.to_string().contains(folder.path().to_str().unwrap()), "{empty}");
        let missing = Playlist::new(&files(Path::new("/nowhere"), false, Order::Sorted)).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read folder /nowhere");
    }

    #[test]
    fn any_file_name_becomes_a_part_id() {
        for (name, id) in
            [("a b.png", "a b.png"), ("tür\"\\\n.png", "t_r___.png"), (&"x".repeat(70), &"x".repeat(64))]
        {
            assert_eq!(part_id(&Path::new("folder").join(name)).unwrap().as_str(), id);
        }
    }
}
