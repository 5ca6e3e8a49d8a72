//! `[station]`: who this csflowd is and where it keeps its state.

use std::path::PathBuf;

use super::raw;
use super::section::Section;

const STATE_DIR: &str = "/var/lib/csflowd";
const PRODUCTS_DIR: &str = "products";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Printable ASCII, at most 64 characters.
    pub name: String,
    /// Created if absent: verdict counter, outbox and lifetime counters live here.
    pub state_dir: PathBuf,
}

/// What `[station]` says. `station` is None where something was wrong with it.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) station: Option<Station>,
    pub(super) state_dir: PathBuf,
    /// Name of the active product.
    pub(super) product: Option<String>,
    pub(super) products_dir: PathBuf,
}

pub(super) fn read(raw: raw::Station, section: &mut Section<'_>) -> Said {
    let name = section.required("name", raw.name);
    let name = section.plain_text("name", name, 64);
    let state_dir = section.path("state_dir", raw.state_dir).unwrap_or_else(|| STATE_DIR.into());
    Said {
        station: name.map(|name| Station { name, state_dir: state_dir.clone() }),
        state_dir,
        product: section.required("product", raw.product),
        products_dir: section
            .path("products_dir", raw.products_dir)
            .unwrap_or_else(|| section.folder().join(PRODUCTS_DIR)),
    }
}
