//! Files that people edit, watched: the station file and the product files.
//!
//! A change counts when nothing has changed for a second: an editor that writes in pieces is left to finish. Whether
//! what it left can be read is for the reader to say.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::clock::Moment;

/// A file that changes is left alone until it has been the same for so long.
const QUIET: Duration = Duration::from_secs(1);

/// When a change has come to rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settling {
    last: Option<Moment>,
}

impl Settling {
    pub fn changed(&mut self, now: Moment) {
        self.last = Some(now);
    }

    /// True once after each run of changes.
    pub fn is_settled(&mut self, now: Moment) -> bool {
        let is_settled = self.last.is_some_and(|last| now.since(last) >= QUIET);
        if is_settled {
            self.last = None;
        }
        is_settled
    }
}

/// The folders of the files, as the system reports on them.
pub struct Watch {
    _watcher: RecommendedWatcher,
    changed: Receiver<()>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// Watches the folders, because a file that is replaced by renaming is another file.
    pub fn start(station_file: &Path, products_dir: &Path) -> notify::Result<Self> {
        // Full: one that waits says the same as two.
        let (tell, changed) = bounded(1);
        let (station_file, products) = (absolute(station_file), absolute(products_dir));
        let folder = station_file.parent().unwrap_or(Path::new("/")).to_owned();
        let watched = (station_file, products.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let counts = match event {
                Ok(event) => !matches!(event.kind, EventKind::Access(_)) && is_one_of(&watched, &event.paths),
                // Some events were lost: perhaps one of ours.
                Err(_) => true,
            };
            if counts {
                // One that waits already says the same.
                let _is_first = tell.try_send(()).is_ok();
            }
        })?;
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        if products != folder {
            watcher.watch(&products, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { _watcher: watcher, changed })
    }

    /// Gets a message when something has changed.
    pub fn changed(&self) -> &Receiver<()> {
        &self.changed
    }
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The station file, or a product file; editors leave hidden files beside them.
fn is_one_of((station_file, products): &(PathBuf, PathBuf), paths: &[PathBuf]) -> bool {
    let is_product = |path: &Path| {
        path.parent() == Some(products)
            && path.extension() == Some(OsStr::new("toml"))
            && path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
    };
    // Events without a path tell of lost events.
    paths.is_empty() || paths.iter().any(|path| path == station_file || is_product(path))
}
