//! The folder that is drawn into: never one that holds something else.
//!
//! `synth.json` marks a folder as ours and says what is in it. It is there before the first picture, and says
//! `"complete": true` after the last one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::defects::Kind;
use super::plan::Job;
use super::{Options, SynthError};

pub(super) const MARKER: &str = "synth.json";
const MADE_BY: &str = "csflowd synth";

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    made_by: String,
    complete: bool,
    seed: u64,
    train: u32,
    good: u32,
    defective: u32,
    width: u32,
    height: u32,
}

/// Makes the folders for `jobs`; the pictures of an earlier run go.
pub(super) fn prepare(options: &Options, jobs: &[Job]) -> Result<(), SynthError> {
    let out = &options.out;
    fs::create_dir_all(out).map_err(io(out, "cannot be made"))?;
    if !entries(out)?.is_empty() {
        if !is_ours(&out.join(MARKER)) {
            return Err(SynthError::Foreign(out.clone()));
        }
        sweep(out)?;
    }
    mark(options, false)?;
    let paths = jobs.iter().flat_map(|job| [Some(&job.picture), job.defect.as_ref().map(|flaw| &flaw.mask)]);
    let folders: BTreeSet<PathBuf> =
        paths.flatten().filter_map(|path| Some(out.join(path.parent()?))).collect();
    for folder in folders {
        fs::create_dir_all(&folder).map_err(io(&folder, "cannot be made"))?;
    }
    Ok(())
}

/// Everything is drawn.
pub(super) fn finish(options: &Options) -> Result<(), SynthError> {
    mark(options, true)
}

fn mark(options: &Options, complete: bool) -> Result<(), SynthError> {
    let marker = Marker {
        made_by: MADE_BY.to_owned(),
        complete,
        seed: options.seed,
        train: options.train,
        good: options.good,
        defective: options.defective,
        width: options.size.width,
        height: options.size.height,
    };
    let path = options.out.join(MARKER);
    let mut text = serde_json::to_string_pretty(&marker).expect("numbers and a text make JSON");
    text.push('\n');
    fs::write(&path, text).map_err(io(&path, "cannot be written"))
}

fn is_ours(marker: &Path) -> bool {
    let text = fs::read_to_string(marker).unwrap_or_default();
    serde_json::from_str::<Marker>(&text).is_ok_and(|marker| marker.made_by == MADE_BY)
}

/// Removes the pictures of an earlier run, once it is sure that there is nothing else.
fn sweep(out: &Path) -> Result<(), SynthError> {
    let mut old = Vec::new();
    let kinds = Kind::ALL.map(Kind::name);
    for top in entries(out)? {
        let name = name_of(&top);
        if name == MARKER {
            continue;
        }
        let inside: &[&str] = match name {
            "train" => &["good"],
            "test" => &["good", kinds[0], kinds[1], kinds[2], kinds[3], kinds[4]],
            "ground_truth" => &kinds,
            _ => return Err(SynthError::Stray(top)),
        };
        for folder in entries(&top)? {
            if !inside.contains(&name_of(&folder)) {
                return Err(SynthError::Stray(folder));
            }
            for picture in entries(&folder)? {
                let stem = name_of(&picture).strip_suffix(".png").unwrap_or_default();
                let number = stem.strip_suffix("_mask").unwrap_or(stem);
                if number.len() < 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(SynthError::Stray(picture));
                }
                old.push(picture);
            }
        }
    }
    old.into_iter().try_for_each(|path| fs::remove_file(&path).map_err(io(&path, "cannot be removed")))
}

/// What lies in `folder`, in the order of names. A file where a folder belongs is an error.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, SynthError> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = read().map_err(io(folder, "cannot be read"))?;
    paths.sort();
    Ok(paths)
}

/// A name that is no UTF-8 is none of ours.
fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn io(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> SynthError {
    let path = path.to_owned();
    move |source| SynthError::Io { path, doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Size;

    fn options(out: &Path) -> Options {
        let size = Size { width: 64, height: 64 };
        Options { train: 2, good: 0, defective: 5, size, ..Options::new(out.to_owned()) }
    }

    fn draw(options: &Options) -> Result<(), SynthError> {
        super::super::run(options, &|_, _| {})
    }

    #[test]
    fn a_folder_with_other_things_is_refused_and_left_as_it_was() {
        let out = tempfile::tempdir().unwrap();
        let mine = out.path().join("holiday.jpg");
        fs::write(&mine, "dear").unwrap();
        for marker in [None, Some(""), Some("{\"made_by\":\"me\"}")] {
            if let Some(text) = marker {
                fs::write(out.path().join(MARKER), text).unwrap();
            }
            let error = draw(&options(out.path())).unwrap_err();
            let expected = format!(
                "{}: not empty, and not made by csflowd synth; choose another folder",
                out.path().display()
            );
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(fs::read_to_string(mine).unwrap(), "dear");
        assert!(!out.path().join("train").exists());
    }

    #[test]
    fn a_second_run_replaces_the_first_also_when_that_was_cut_short() {
        let out = tempfile::tempdir().unwrap();
        draw(&options(out.path())).unwrap();
        mark(&options(out.path()), false).unwrap();
        draw(&Options { train: 1, ..options(out.path()) }).unwrap();
        assert!(out.path().join("train/good/000.png").exists());
        assert!(!out.path().join("train/good/001.png").exists());
        let marker: Marker =
            serde_json::from_str(&fs::read_to_string(out.path().join(MARKER)).unwrap()).unwrap();
        assert!(marker.complete);
        assert_eq!((marker.train, marker.defective), (1, 5));
    }

    #[test]
    fn what_somebody_added_is_named_and_nothing_is_removed() {
        for added in ["notes.txt", "test/dent/000.png", "train/good/part.png", "test/pit/1.png"] {
            let out = tempfile::tempdir().unwrap();
            draw(&options(out.path())).unwrap();
            let path = out.path().join(added);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "mine").unwrap();
            let error = draw(&options(out.path())).unwrap_err();
            assert!(matches!(&error, SynthError::Stray(stray) if path.starts_with(stray)), "{error}");
            assert!(path.exists() && out.path().join("train/good/001.png").exists(), "{added}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_an_error_that_names_it() {
        let out = tempfile::NamedTempFile::new().unwrap();
        let error = draw(&options(out.path())).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: cannot be made", out.path().display()));
    }
}
