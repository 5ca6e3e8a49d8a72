//! The number of a verdict, `seq`: counts up, and never goes back, whatever ends the process.
//!
//! Numbers are reserved on disk in blocks before they are used, from half a block on by a thread of its own, so that no
//! verdict waits for the disk. A clean stop gives back what is left of a block; after a crash the count goes on at the
//! next block, so that a number may be skipped but never used twice.

use std::fmt::Debug;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{error, info, warn};

use crate::clock::{Clock, Moment};

/// Numbers reserved at a time: one write to disk for so many verdicts.
const BLOCK: u64 = 10_000;

/// A disk that did not take a reservation is asked again after this.
const RETRY: Duration = Duration::from_secs(1);

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

/// The counter of a station. It never waits for the disk: a [`Reserver`] does.
#[derive(Debug)]
pub struct Sequence {
    next: u64,
    is_at_risk: bool,
    shared: Arc<Shared>,
    /// Dropped: there are no more numbers to come.
    wake: Sender<()>,
}

/// Reserves numbers on disk ahead of a [`Sequence`], and gives back what is left at its end.
#[derive(Debug)]
pub struct Reserver {
    store: Box<dyn Store>,
    shared: Arc<Shared>,
    woken: Receiver<()>,
    not_before: Duration,
    has_failed: bool,
}

/// What the two know of each other.
#[derive(Debug)]
struct Shared {
    /// The number that comes next.
    next: AtomicU64,
    /// The disk has it that numbers below this are reserved.
    reserved: AtomicU64,
    /// `next` is final.
    is_finished: AtomicBool,
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

/// Opens the counter in `folder`, which is made if need be; a new counter begins at 1.
pub fn open(folder: &Path) -> Result<(Sequence, Reserver), SequenceError> {
    fs::create_dir_all(folder)
        .map_err(|source| SequenceError::Folder { folder: folder.to_owned(), source })?;
    let io = |source| SequenceError::Io { file: folder.join(NAME), source };
    let lock = File::create(folder.join("lock")).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(SequenceError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    kept_in(Box::new(Locked { _lock: lock, file: folder.join(NAME) }))
}

/// Goes on with the counter that `store` keeps.
pub fn kept_in(mut store: Box<dyn Store>) -> Result<(Sequence, Reserver), SequenceError> {
    let file = store.path().to_owned();
    let io = |source| SequenceError::Io { file: file.clone(), source };
    let broken =
        |found: &str| SequenceError::Broken { file: file.clone(), found: found.chars().take(40).collect() };
    let text = store.read().map_err(io)?;
    let next: u64 = match &text {
        Some(text) => text.trim().parse().map_err(|_| broken(text))?,
        None => 1,
    };
    let reserved = next.checked_add(BLOCK).ok_or_else(|| broken(text.as_deref().unwrap_or_default()))?;
    store.write(&reserved.to_string()).map_err(io)?;
    let shared = Arc::new(Shared {
        next: next.into(),
        reserved: reserved.into(),
        is_finished: AtomicBool::new(false),
    });
    // Full: the reserver is called already.
    let (wake, woken) = bounded(1);
    let reserver =
        Reserver { store, shared: Arc::clone(&shared), woken, not_before: Duration::ZERO, has_failed: false };
    Ok((Sequence { next, is_at_risk: false, shared, wake }, reserver))
}

impl Sequence {
    /// Never waits. A number that the disk has not reserved is given all the same: the verdict is the product.
    pub fn next_number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.shared.next.store(self.next, Relaxed);
        if self.shared.is_low() {
            self.wake.try_send(()).ok();
        }
        let is_at_risk = self.is_at_risk();
        let was_at_risk = std::mem::replace(&mut self.is_at_risk, is_at_risk);
        if is_at_risk && !was_at_risk {
            error!(
                number,
                "verdict numbers go on unreserved, a crash now would repeat some: the disk does not answer"
            );
        }
        number
    }

    /// Whether a crash now would use numbers twice.
    pub fn is_at_risk(&self) -> bool {
        self.next > self.shared.reserved.load(Acquire)
    }

    /// Lets the reserver give back the numbers that were not used.
    pub fn finish(self) {
        self.shared.is_finished.store(true, Release);
    }
}

impl Shared {
    fn is_low(&self) -> bool {
        self.reserved.load(Acquire).saturating_sub(self.next.load(Relaxed)) < BLOCK / 2
    }
}

impl Reserver {
    /// Reserves numbers until the [`Sequence`] is gone. This alone waits for the disk.
    pub fn run(mut self, clock: &dyn Clock) {
        loop {
            let now = clock.now();
            let woken = match self.attend(now) {
                Some(next) => self.woken.recv_timeout(next.saturating_sub(now.mono)),
                None => self.woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if woken == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
        if let Err(error) = self.finish() {
            error!("cannot keep the number of the last verdict: {error}");
        }
    }

    /// Reserves the next block if it is time to. Returns when to try again, if the disk did not take it.
    pub fn attend(&mut self, now: Moment) -> Option<Duration> {
        if !self.shared.is_low() {
            return None;
        }
        if now.mono < self.not_before {
            return Some(self.not_before);
        }
        let reserved = self.shared.next.load(Relaxed).saturating_add(BLOCK);
        match self.store.write(&reserved.to_string()) {
            Ok(()) => {
                self.shared.reserved.store(reserved, Release);
                if std::mem::take(&mut self.has_failed) {
                    info!("verdict numbers are reserved on disk again");
                }
                None
            }
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    warn!(file = %self.store.path().display(), "cannot reserve verdict numbers yet: {error}");
                }
                self.not_before = now.mono + RETRY;
                Some(self.not_before)
            }
        }
    }

    /// Keeps the next number exactly, if the [`Sequence`] was finished; without this a restart skips some.
    pub fn finish(mut self) -> io::Result<()> {
        if self.shared.is_finished.load(Acquire) {
            let next = self.shared.next.load(Relaxed);
            self.store.write(&next.to_string())?;
        }
        Ok(())
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
mod tests;
