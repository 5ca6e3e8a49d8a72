//! What lies in one folder: its folders, its images and the rest, in a fixed order.

use std::fs;
use std::path::{Path, PathBuf};

use crate::dataset::DatasetError;

const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];
pub(super) const KINDS: &str = "png, jpg, jpeg, bmp, tif or tiff";

/// Each group is sorted by path. Hidden files are not seen.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) folders: Vec<PathBuf>,
    pub(super) images: Vec<PathBuf>,
    pub(super) others: Vec<PathBuf>,
}

pub(super) fn list(folder: &Path) -> Result<Listing, DatasetError> {
    let io = |source| DatasetError::Io { path: folder.into(), source };
    let mut listing = Listing::default();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if name(&path).starts_with('.') {
            continue;
        }
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        let is_image = extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()));
        let group = match (path.is_dir(), is_image) {
            (true, _) => &mut listing.folders,
            (false, true) => &mut listing.images,
            (false, false) => &mut listing.others,
        };
        group.push(path);
    }
    listing.folders.sort();
    listing.images.sort();
    listing.others.sort();
    Ok(listing)
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
