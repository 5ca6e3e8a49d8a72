//! What holds for every file.

use std::fs;
use std::path::Path;

use super::{Source, root};

const LONGEST: usize = 400;

/// What never stands in this repository. In two halves, so that it does not stand here.
const NEVER: [[&str; 2]; 10] = [
    ["to", "do!("],
    ["unimple", "mented!("],
    ["db", "g!("],
    ["#[ign", "ore"],
    ["#[should_", "panic"],
    ["#[al", "low("],
    ["#![al", "low("],
    ["thread::sl", "eep("],
    ["FIX", "ME"],
    ["TO", "DO"],
];

fn sources() -> Vec<Source> {
    Source::all(&["src", "tests"])
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let bare = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_eq!(bare.map(|source| source.path).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn no_file_is_long() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines: split it by idea", source.path);
    }
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    for source in sources() {
        for halves in NEVER {
            assert!(!source.text.contains(&halves.concat()), "{} has {}", source.path, halves.concat());
        }
    }
}

#[test]
fn a_module_has_the_name_of_its_file() {
    for source in sources() {
        assert!(!source.path.ends_with("/mod.rs"), "{}", source.path);
    }
}

#[test]
fn every_pipeline_is_shown_in_an_example() {
    for entry in fs::read_dir(root().join("pipelines")).unwrap() {
        let pipeline = entry.unwrap().file_name().into_string().unwrap();
        let example = Path::new("config/examples").join(&pipeline).with_extension("toml");
        let text = fs::read_to_string(root().join(&example));
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", example.display()));
        assert!(text.contains(&format!("pipeline = \"{pipeline}\"")), "{}", example.display());
    }
}
