//! The disk as the outbox sees it: one folder of files that grow at their end.
//!
//! A trait, so that tests and the simulation can tear writes, fill the disk and cut the power ([`super::memory`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A folder of files. Names are plain file names.
pub trait Disk {
    /// Makes the folder if there is none.
    fn prepare(&mut self) -> io::Result<()>;

    /// Names and lengths of the files, in no order.
    fn list(&mut self) -> io::Result<Vec<(String, u64)>>;

    /// At most `length` bytes from `from` on; fewer only where the file ends.
    fn read(&mut self, name: &str, from: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Writes behind the end of a file, which is made if need be. After an error any part may stand there.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// What was appended to the file survives a power cut when this returns.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// New names and removals survive a power cut when this returns.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Cuts a file to `length` bytes, or makes an empty one.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;

    /// The file holds `bytes` from now on, also after a power cut; in between it holds one or the other.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The file that was appended to last. Its errors are told to this handle, so it is kept until it is synced.
    open: Option<(String, File)>,
}

impl Folder {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), open: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Disk for Folder {
    fn prepare(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.path)
    }

    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(found) if found.is_file() => files.push((name, found.len())),
                Ok(_) => {}
                // Gone since: a reader beside the daemon sees that.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    fn read(&mut self, name: &str, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.file(name))?;
        let mut bytes = vec![0; length];
        let mut read = 0;
        while read < length {
            match file.read_at(&mut bytes[read..], from + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (_, file) = match self.open.take() {
            Some(open) if open.0 == name => self.open.insert(open),
            _ => {
                let file = OpenOptions::new().append(true).create(true).open(self.file(name))?;
                self.open.insert((name.into(), file))
            }
        };
        file.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        match self.open.take() {
            Some((open, file)) if open == name => file.sync_data(),
            _ => OpenOptions::new().append(true).open(self.file(name))?.sync_data(),
        }
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.open = None;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.file(name))?;
        file.set_len(length)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.open = None;
        let part = self.file(&format!("{name}.part"));
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, self.file(name))?;
        self.sync_names()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open = None;
        fs::remove_file(self.file(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_does_what_the_outbox_asks_of_it() {
        let root = tempfile::tempdir().unwrap();
        let mut disk = Folder::new(root.path().join("deep/outbox"));
        assert_eq!(disk.list().unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.prepare().unwrap();
        disk.truncate("a", 0).unwrap();
        disk.append("a", b"one").unwrap();
        disk.append("b", b"x").unwrap();
        disk.append("a", b"two").unwrap();
        for name in ["a", "b"] {
            disk.sync(name).unwrap();
        }
        disk.sync_names().unwrap();
        assert_eq!(disk.read("a", 2, 100).unwrap(), b"etwo");
        disk.truncate("a", 4).unwrap();
        disk.append("a", b"!").unwrap();
        assert_eq!(disk.read("a", 0, 5).unwrap(), b"onet!");
        disk.replace("b", b"whole").unwrap();
        let mut files = disk.list().unwrap();
        files.sort();
        assert_eq!(files, [("a".into(), 5), ("b".into(), 5)]);
        disk.remove("b").unwrap();
        assert_eq!(disk.remove("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
