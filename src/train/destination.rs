//! Whether the bundle can be written, asked before anything else: an hour of training must not end at a folder
//! that is not there.

use std::fs;
use std::io;
use std::path::Path;

use crate::train::error::TrainError;

pub fn check(out: &Path) -> Result<(), TrainError> {
    let refuse = |problem: String, source| Err(TrainError::Out { file: out.to_owned(), problem, source });
    let folder = match out.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return refuse("is not a file name".into(), None),
    };
    if !folder.is_dir() {
        return refuse(format!("there is no folder {}", folder.display()), None);
    }
    if out.is_dir() {
        return refuse("is a folder, give a file name such as product.csflow".into(), None);
    }
    try_to_write(folder).or_else(|error| refuse("cannot write there".into(), Some(error)))
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".csflowd-probe-{}", std::process::id()));
    fs::write(&probe, b"")?;
    fs::remove_file(probe)
}
