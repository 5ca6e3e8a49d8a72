//! The number of a verdict, `seq`: counts up, and never goes back, whatever ends the process.
//!
//! Numbers are reserved on disk in blocks before they are used. A clean stop gives back what is left of a block;
//! after a crash the count goes on at the next block, so that a number may be skipped but never used twice.

use std::fmt::Debug;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tracing::error;

/// Numbers reserved at a time: one write to disk for so many verdicts.
const BLOCK: u64 = 10_000;

/// In the state folder.
const NAME: &str = "seq";

/// Where the counter is kept. A trait, so that the simulation can fail and crash it.
pub trait Store: Debug + Send {
    /// What was written last; None if nothing ever was.
    fn read(&mut self) -> io::Result<Option<String>>;

    /// Replaces it as a whole, and for ever: also a power cut leaves the one or the other.
    fn write(&mut self, text: &str) -> io::Result<()>;

    /// For people.
    fn path(&self) -> &Path;
}

/// The counter of a station.
#[derive(Debug)]
pub struct Sequence {
    store: Box<dyn Store>,
    next: u64,
    /// Numbers below this are reserved.
    reserved: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SequenceError {
    #[error("cannot make the state folder {folder}")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("{folder} is in use by another csflowd: each station needs a state_dir of its own")]
    InUse { folder: PathBuf },
    #[error("cannot read or write {file}, which keeps the verdict counter")]
    Io { file: PathBuf, source: io::Error },
    #[error(
        "{file} should hold the next verdict number and holds \"{found}\": restore it, or write a number above the last that was published"
    )]
    Broken { file: PathBuf, found: String },
}

impl Sequence {
    /// Opens the counter in `folder`, which is made if need be; a new counter begins at 1.
    pub fn open(folder: &Path) -> Result<Self, SequenceError> {
        fs::create_dir_all(folder)
            .map_err(|source| SequenceError::Folder { folder: folder.to_owned(), source })?;
        let io = |source| SequenceError::Io { file: folder.join(NAME), source };
        let lock = File::create(folder.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SequenceError::InUse { folder: folder.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        Self::kept_in(Box::new(Locked { _lock: lock, file: folder.join(NAME) }))
    }

    /// Goes on with the counter that `store` keeps.
    pub fn kept_in(mut store: Box<dyn Store>) -> Result<Self, SequenceError> {
        let file = store.path().to_owned();
        let io = |source| SequenceError::Io { file: file.clone(), source };
        let broken = |found: &str| SequenceError::Broken {
            file: file.clone(),
            found: found.chars().take(40).collect(),
        };
        let text = store.read().map_err(io)?;
        let next: u64 = match &text {
            Some(text) => text.trim().parse().map_err(|_| broken(text))?,
            None => 1,
        };
        let reserved = next.checked_add(BLOCK).ok_or_else(|| broken(text.as_deref().unwrap_or_default()))?;
        store.write(&reserved.to_string()).map_err(io)?;
        Ok(Self { store, next, reserved })
    }

    pub fn next_number(&mut self) -> u64 {
        if self.next == self.reserved {
            self.reserved += BLOCK;
            // The line goes on: a full disk must not stop verdicts. It is said for each block.
            if let Err(error) = self.store.write(&self.reserved.to_string()) {
                error!(file = %self.store.path().display(), "cannot reserve verdict numbers, a crash now would repeat some: {error}");
            }
        }
        let number = self.next;
        self.next += 1;
        number
    }

    /// Gives back the numbers that were not used.
    pub fn finish(mut self) -> io::Result<()> {
        self.store.write(&self.next.to_string())
    }
}

/// A file in a folder that nobody else uses.
#[derive(Debug)]
struct Locked {
    /// Held locked: two stations on one counter would use numbers twice.
    _lock: File,
    file: PathBuf,
}

impl Store for Locked {
    fn read(&mut self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let temporary = self.file.with_extension("part");
        let mut part = File::create(&temporary)?;
        writeln!(part, "{text}")?;
        part.sync_all()?;
        fs::rename(&temporary, &self.file)?;
        // The new name must survive a power cut as well.
        File::open(self.file.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    fn path(&self) -> &Path {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_after_a_clean_stop_and_skip_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let mut sequence = Sequence::open(folder.path()).unwrap();
        assert_eq!([sequence.next_number(), sequence.next_number()], [1, 2]);
        sequence.finish().unwrap();
        let mut sequence = Sequence::open(folder.path()).unwrap();
        assert_eq!(sequence.next_number(), 3);
        drop(sequence);
        assert_eq!(Sequence::open(folder.path()).unwrap().next_number(), 3 + BLOCK);
    }

    #[test]
    fn a_block_that_is_used_up_is_followed_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut sequence = Sequence::open(folder.path()).unwrap();
        let last = (0..=BLOCK).map(|_| sequence.next_number()).last();
        assert_eq!(last, Some(BLOCK + 1));
        drop(sequence);
        assert!(Sequence::open(folder.path()).unwrap().next_number() > BLOCK + 1);
    }

    #[test]
    fn two_stations_cannot_share_a_counter() {
        let folder = tempfile::tempdir().unwrap();
        let first = Sequence::open(folder.path()).unwrap();
        assert!(matches!(Sequence::open(folder.path()), Err(SequenceError::InUse { .. })));
        drop(first);
        Sequence::open(folder.path()).unwrap();
    }

    #[test]
    fn a_counter_that_is_not_a_number_is_not_started_anew() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["1\u{0}2", "", "-1", &u64::MAX.to_string()] {
            fs::write(folder.path().join("seq"), text).unwrap();
            assert!(matches!(Sequence::open(folder.path()), Err(SequenceError::Broken { .. })), "{text}");
        }
    }
}
