//! The house rules that no compiler knows, held by reading the source: who may know whom, which room alone speaks
//! to which library, how long a file may be.
//!
//! A room is a file of `src/` with the folder of its name. Unit tests may reach further than their room.

mod files;
mod rooms;

use std::fs;
use std::path::Path;

/// A Rust file of this repository.
struct Source {
    /// From the root, as `src/capture/files.rs`.
    path: String,
    text: String,
}

impl Source {
    /// All of them below `folders`.
    fn all(folders: &[&str]) -> Vec<Self> {
        let mut found = Vec::new();
        for folder in folders {
            find(Path::new(folder), &mut found);
        }
        assert!(!found.is_empty());
        found
    }

    /// `capture` for `src/capture.rs` and all below `src/capture`.
    fn room(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap();
        let end = path.find(['/', '.']).unwrap();
        &path[..end]
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || ["/tests.rs", "/samples.rs"].iter().any(|end| self.path.ends_with(end))
    }

    /// Without comments and unit tests.
    fn code(&self) -> String {
        let own = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        own.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn find(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            found.push(Source { path: path.to_str().unwrap().into(), text });
        }
    }
}

/// What follows each place where `name` stands as a word of its own.
fn after<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    let is_part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .filter(|(at, _)| !code[..*at].ends_with(is_part_of_word))
        .map(|(at, _)| &code[at + name.len()..])
        .filter(|rest| name.ends_with("::") || !rest.starts_with(is_part_of_word))
        .collect()
}
