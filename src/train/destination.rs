//! Whether the bundle can be written, asked before anything else: an hour of training must not end at a folder
//! that is not there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::train::error::TrainError;

pub fn check(out: &Path) -> Result<(), TrainError> {
    let refuse = |problem: String, source| Err(TrainError::Out { file: out.to_owned(), problem, source });
    let Some(folder) = folder(out) else {
        return refuse("is not a file name".into(), None);
    };
    if !folder.is_dir() {
        return refuse(format!("there is no folder {}", folder.display()), None);
    }
    if out.is_dir() {
        return refuse("is a folder, give a file name such as product.csflow".into(), None);
    }
    try_to_write(folder).or_else(|error| refuse("cannot write there".into(), Some(error)))
}

/// The folder for what training keeps on disk while it runs: `TMPDIR`, or beside the bundle, where there is room for
/// large files. `/tmp` is often memory.
pub fn scratch(out: &Path) -> PathBuf {
    let named = std::env::var_os("TMPDIR").map(PathBuf::from);
    named.unwrap_or_else(|| folder(out).unwrap_or(Path::new(".")).to_owned())
}

/// Beside the bundle: where pictures of outliers go if nobody says where.
pub fn outliers(out: &Path) -> PathBuf {
    out.with_extension("outliers")
}

fn folder(file: &Path) -> Option<&Path> {
    file.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".csflowd-probe-{}", std::process::id()));
    fs::write(&probe, b"")?;
    fs::remove_file(probe)
}
