//! A disk in memory that fails on command, for tests and the simulation.
//!
//! It forgets in a crash what a real one may forget: bytes that were not synced, names that were not synced, and
//! anything in between.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::RngExt;
use rand_pcg::Pcg64;

use crate::publish::outbox::disk::Disk;

/// The disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<File>,
    /// Index into `files` by name, as programs see it, and as a crash leaves it.
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    capacity: Option<u64>,
    writes_fail: Option<ErrorKind>,
    reads_fail: Option<ErrorKind>,
    tear: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// So many bytes survive a crash for sure.
    synced: usize,
}

impl MemoryDisk {
    /// From now on the disk has room for so many bytes; None for any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// From now on everything that changes the disk fails so, or nothing does.
    pub fn fail_writes(&self, kind: Option<ErrorKind>) {
        self.state().writes_fail = kind;
    }

    /// From now on everything that reads fails so, or nothing does.
    pub fn fail_reads(&self, kind: Option<ErrorKind>) {
        self.state().reads_fail = kind;
    }

    /// The next write that appends ends after so many bytes with an error.
    pub fn tear_next(&self, bytes: usize) {
        self.state().tear = Some(bytes);
    }

    /// Bytes in all files.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Flips a bit of a file. False if it has no such byte.
    pub fn damage(&self, name: &str, at: usize) -> bool {
        let mut state = self.state();
        let file = state.names.get(name).copied();
        let byte = file.and_then(|file| state.files[file].bytes.get_mut(at));
        byte.map(|byte| *byte ^= 0x10).is_some()
    }

    /// The power goes: what was not synced is kept, lost or garbled, as `rng` wants it.
    pub fn crash(&self, rng: &mut Pcg64) {
        let mut state = self.state();
        let all: BTreeSet<_> = state.names.keys().chain(state.synced_names.keys()).cloned().collect();
        let mut names = BTreeMap::new();
        for name in all {
            let (now, synced) = (state.names.get(&name), state.synced_names.get(&name));
            let kept = if now == synced || rng.random() { now } else { synced };
            if let Some(&file) = kept {
                names.insert(name, file);
            }
        }
        for file in &mut state.files {
            let unsynced = file.bytes.len() - file.synced;
            file.bytes.truncate(file.synced + rng.random_range(0..=unsynced));
            let garbled = rng.random_range(file.synced..=file.bytes.len());
            if rng.random() {
                file.bytes[garbled..].fill(0);
            }
            file.synced = file.bytes.len();
        }
        state.synced_names.clone_from(&names);
        state.names = names;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|&file| self.files[file].bytes.len() as u64).sum()
    }

    fn writable(&mut self) -> io::Result<&mut Self> {
        self.writes_fail.map_or(Ok(self), |kind| Err(kind.into()))
    }

    fn find(&mut self, name: &str) -> io::Result<&mut File> {
        let file = *self.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(&mut self.files[file])
    }

    fn find_or_make(&mut self, name: &str) -> &mut File {
        let fresh = self.files.len();
        let file = *self.names.entry(name.into()).or_insert(fresh);
        if file == fresh {
            self.files.push(File::default());
        }
        &mut self.files[file]
    }
}

impl Disk for MemoryDisk {
    fn prepare(&mut self) -> io::Result<()> {
        self.state().writable().map(drop)
    }

    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        if let Some(kind) = state.reads_fail {
            return Err(kind.into());
        }
        let length = |&file: &usize| state.files[file].bytes.len() as u64;
        Ok(state.names.iter().map(|(name, file)| (name.clone(), length(file))).collect())
    }

    fn read(&mut self, name: &str, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        if let Some(kind) = state.reads_fail {
            return Err(kind.into());
        }
        let bytes = &state.find(name)?.bytes;
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[from..bytes.len().min(from.saturating_add(length))].to_vec())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let room = state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used()));
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let state = state.writable()?;
        let torn = state.tear.take().map(|torn| torn.min(bytes.len()));
        let written = torn.unwrap_or(fits).min(fits);
        state.find_or_make(name).bytes.extend_from_slice(&bytes[..written]);
        match torn {
            Some(_) => Err(ErrorKind::Other.into()),
            None if written < bytes.len() => Err(ErrorKind::StorageFull.into()),
            None => Ok(()),
        }
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.writable()?.find(name)?;
        file.synced = file.bytes.len();
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut state = self.state();
        let state = state.writable()?;
        state.synced_names.clone_from(&state.names);
        Ok(())
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.state();
        let file = state.writable()?.find_or_make(name);
        file.bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        file.synced = file.synced.min(file.bytes.len());
        Ok(())
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let state = state.writable()?;
        let file = state.files.len();
        state.files.push(File { bytes: bytes.into(), synced: bytes.len() });
        state.names.insert(name.into(), file);
        state.synced_names.insert(name.into(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let removed = state.writable()?.names.remove(name);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }
}
