//! One section on its way from [`raw`](super::raw) to its meaning: the checks that all sections share.
//!
//! Each check notes what is wrong and gives None. The conversion goes on with a default, so that the next key
//! is checked too; a `Config` is made only where nothing was noted.

use std::fs::Metadata;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::Findings;
use super::raw::Key;
use super::{layers, reader};
use crate::frame::is_plain;

/// Longest duration that a key may give, in seconds.
const LONGEST_S: f64 = 3600.0;

#[derive(Debug)]
pub(super) struct Section<'a> {
    name: String,
    findings: &'a mut Findings,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: impl Into<String>, findings: &'a mut Findings) -> Self {
        Self { name: name.into(), findings }
    }

    pub(super) fn inner(&mut self, name: &str) -> Section<'_> {
        Section { name: reader::join(&self.name, name), findings: self.findings }
    }

    pub(super) fn wrong(&mut self, key: &str, text: impl Into<String>) {
        self.findings.add(&reader::join(&self.name, key), text);
    }

    pub(super) fn get<T>(&mut self, key: &str, value: Key<T>) -> Option<T> {
        match value {
            Key::Absent => None,
            Key::Given(value) => Some(value),
            Key::Wrong(text) => {
                self.wrong(key, text);
                None
            }
        }
    }

    pub(super) fn required<T>(&mut self, key: &str, value: Key<T>) -> Option<T> {
        if value.is_absent() {
            self.wrong(key, "is missing");
        }
        self.get(key, value)
    }

    pub(super) fn whole<N: TryFrom<i64>>(
        &mut self,
        key: &str,
        value: Key<i64>,
        range: RangeInclusive<i64>,
    ) -> Option<N> {
        let value = self.get(key, value)?;
        match N::try_from(value) {
            Ok(number) if range.contains(&value) => Some(number),
            _ => {
                self.wrong(key, format!("must be {} to {}, is {value}", range.start(), range.end()));
                None
            }
        }
    }

    /// A finite number; TOML has `nan` and `inf`.
    pub(super) fn number(&mut self, key: &str, value: Key<f64>, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(key, value)?;
        if range.contains(&value) {
            return Some(value);
        }
        let wanted = match (*range.start(), *range.end()) {
            (f64::MIN, f64::MAX) => "a finite number".into(),
            (least, f64::MAX) => format!("finite and at least {least}"),
            (least, most) => format!("{least} to {most}"),
        };
        self.wrong(key, format!("must be {wanted}, is {value}"));
        None
    }

    pub(super) fn seconds(&mut self, key: &str, value: Key<f64>, least: f64) -> Option<Duration> {
        self.number(key, value, least..=LONGEST_S).map(Duration::from_secs_f64)
    }

    /// `retry_first_s` and `retry_max_s`.
    pub(super) fn retry(
        &mut self,
        first: Key<f64>,
        max: Key<f64>,
        default: (Duration, Duration),
    ) -> (Duration, Duration) {
        let first = self.seconds("retry_first_s", first, 0.01).unwrap_or(default.0);
        let max = self.seconds("retry_max_s", max, 0.01).unwrap_or(default.1);
        if first > max {
            let (first, max) = (first.as_secs_f64(), max.as_secs_f64());
            self.wrong("retry_first_s", format!("must be at most retry_max_s, {max}, is {first}"));
        }
        (first, max)
    }

    /// Text of 1 to `longest` printable ASCII characters without `"` and `\`, as the payloads need it.
    pub(super) fn plain_text(&mut self, key: &str, value: Option<String>, longest: usize) -> Option<String> {
        let value = value?;
        if (1..=longest).contains(&value.len()) && value.chars().all(is_plain) {
            return Some(value);
        }
        let rule = format!("1 to {longest} printable ASCII characters without \" and \\");
        self.wrong(key, format!("must be {rule}, is \"{}\"", value.escape_debug()));
        None
    }

    /// A path; a relative one starts at the file it stands in.
    pub(super) fn path(&mut self, key: &str, value: Key<String>) -> Option<PathBuf> {
        let value = self.get(key, value)?;
        if value.is_empty() {
            self.wrong(key, "must not be empty");
            return None;
        }
        Some(self.findings.folder().join(value))
    }

    /// A path to a file that is there.
    pub(super) fn file(&mut self, key: &str, value: Key<String>) -> Option<PathBuf> {
        let path = self.path(key, value)?;
        self.must_be(key, path, "file", Metadata::is_file)
    }

    /// A file that must be given: by its name alone, looked up in `folders`, or by its path.
    pub(super) fn required_file(
        &mut self,
        key: &str,
        name: Key<String>,
        folders: &[PathBuf],
    ) -> Option<PathBuf> {
        let name = match name {
            Key::Absent => return self.required(key, Key::Absent),
            Key::Given(name) if !name.is_empty() && !name.contains('/') => name,
            path => return self.file(key, path),
        };
        let found = folders.iter().map(|folder| folder.join(&name)).find(|path| path.is_file());
        if found.is_none() {
            let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            self.wrong(key, format!("there is no file \"{name}\" in {}", folders.join(" or ")));
        }
        found
    }

    /// A path to a folder that is there.
    pub(super) fn directory(&mut self, key: &str, value: Key<String>) -> Option<PathBuf> {
        let path = self.path(key, value)?;
        self.must_be(key, path, "folder", Metadata::is_dir)
    }

    /// The text of a file, which may be a secret: no error shows it.
    pub(super) fn contents(&mut self, key: &str, file: &Path) -> Option<String> {
        match std::fs::read_to_string(file) {
            Ok(text) => return Some(text),
            Err(why) => self.wrong(key, format!("{}: {}", file.display(), layers::explain(&why))),
        }
        None
    }

    /// What relative paths start at.
    pub(super) fn folder(&self) -> &Path {
        self.findings.folder()
    }

    fn must_be(
        &mut self,
        key: &str,
        path: PathBuf,
        what: &str,
        is: impl FnOnce(&Metadata) -> bool,
    ) -> Option<PathBuf> {
        match std::fs::metadata(&path) {
            Ok(found) if is(&found) => return Some(path),
            Ok(_) => self.wrong(key, format!("{} is not a {what}", path.display())),
            Err(why) => self.wrong(key, format!("{}: {}", path.display(), layers::explain(&why))),
        }
        None
    }
}
