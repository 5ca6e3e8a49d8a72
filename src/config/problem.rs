//! What is wrong with the settings: every problem, each with the file and the key that it stands in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing to be put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or "the environment" or "command line" where the value comes from there.
    pub file: String,
    /// As `mqtt.port`; empty where the whole file is meant.
    pub key: String,
    pub text: String,
}

/// All of them. Prints one a line, `FILE: KEY: TEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.file, self.text),
            key => write!(f, "{}: {key}: {}", self.file, self.text),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The problems of one file while it is being read.
#[derive(Debug)]
pub(super) struct Findings {
    file: PathBuf,
    /// Keys whose value does not come from the file, and where it comes from.
    pub(super) outside: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl Findings {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.into(), outside: BTreeMap::new(), problems: Vec::new() }
    }

    pub(super) fn add(&mut self, key: &str, text: impl Into<String>) {
        let file = match self.outside.get(key) {
            Some(origin) => origin.clone(),
            None => self.file.display().to_string(),
        };
        self.problems.push(Problem { file, key: key.into(), text: text.into() });
    }

    /// Nothing was noted for this very key.
    pub(super) fn is_clean(&self, key: &str) -> bool {
        self.problems.iter().all(|problem| problem.key != key)
    }

    /// What relative paths are relative to.
    pub(super) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
