//! `[station]`: who this csflowd is and where it keeps its state.

use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Printable ASCII, at most 64 characters.
    pub name: String,
    /// Created if absent: the verdict counter lives here.
    pub state_dir: PathBuf,
}
