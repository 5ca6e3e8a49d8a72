//! The verdict counter on the simulated disk.

use std::io::{self, ErrorKind};
use std::path::Path;

use csflowd::ledger::sequence::Store;
use csflowd::publish::outbox::disk::Disk;
use csflowd::publish::outbox::memory::MemoryDisk;

#[derive(Debug)]
pub(crate) struct SimStore(pub(crate) MemoryDisk);

impl Store for SimStore {
    fn read(&mut self) -> io::Result<Option<String>> {
        match self.0.read("seq", 0, 100) {
            Ok(bytes) => Ok(Some(String::from_utf8(bytes).unwrap())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.0.replace("seq", text.as_bytes())
    }

    fn path(&self) -> &Path {
        Path::new("seq")
    }
}
