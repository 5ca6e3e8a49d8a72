//! `[outbox]`: how much room results have on disk.

use super::raw;
use super::section::Section;

const MAX_MB: u32 = 256;

/// The outbox, which lies in `state_dir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// All its files together.
    pub max_bytes: u64,
}

pub(super) fn read(raw: raw::Outbox, section: &mut Section<'_>) -> Outbox {
    let max_mb = section.whole("max_mb", raw.max_mb, 1..=1_000_000).unwrap_or(MAX_MB);
    Outbox { max_bytes: u64::from(max_mb) * 1_000_000 }
}
