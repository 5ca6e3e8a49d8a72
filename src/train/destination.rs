//! Where training puts what is not the bundle.

use std::path::{Path, PathBuf};

use crate::model::bundle::destination::folder;

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
