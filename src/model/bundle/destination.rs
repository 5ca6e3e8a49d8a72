//! Whether a bundle can be written, asked before anything else: an hour of training must not end at a folder that is
//! not there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where no bundle can be written.
#[derive(Debug, thiserror::Error)]
#[error("bundle {}: {problem}", .file.display())]
pub struct DestinationError {
    file: PathBuf,
    problem: String,
    source: Option<io::Error>,
}

/// Looks at the place, and tries to write beside it.
pub fn check(out: &Path) -> Result<(), DestinationError> {
    let refuse = |problem: String, source| Err(DestinationError { file: out.to_owned(), problem, source });
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

/// The folder that `file` lies in.
pub fn folder(file: &Path) -> Option<&Path> {
    file.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".csflowd-probe-{}", std::process::id()));
    fs::write(&probe, b"")?;
    fs::remove_file(probe)
}
