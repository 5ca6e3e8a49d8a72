//! The command line as a shell sees it: help, exit codes, what goes to which stream. Nothing here needs a trained
//! network.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use csflowd::frame::Size;
use csflowd::synth;

/// The program, as a person would start it in `folder`.
pub(crate) fn csflowd(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csflowd"));
    // Tests run beside one another: threads of libtorch that wait for a core would take it from the rest.
    command.env("OMP_NUM_THREADS", "1").env_remove("COLUMNS");
    command.current_dir(folder).stdin(Stdio::null());
    command
}

pub(crate) fn run(folder: &Path, arguments: &[impl AsRef<OsStr>]) -> Output {
    csflowd(folder).args(arguments).output().unwrap()
}

/// That the command is refused with `code`, in one line that says `expected`, and prints no result.
#[track_caller]
pub(crate) fn assert_refused(folder: &Path, arguments: &[impl AsRef<OsStr>], code: i32, expected: &str) {
    let output = run(folder, arguments);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    let last = told.lines().filter(|line| line.starts_with("csflowd: ")).collect::<Vec<_>>();
    let is_usage = code == 64 && told.contains("error: ");
    assert!(is_usage || last.len() == 1 && told.trim_end().ends_with(last[0]), "not one sentence: {told}");
    assert!(told.contains(expected), "{told}\nshould say {expected}");
    assert!(!told.contains("panicked"), "{told}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

/// `n` good parts of `size` in `train/good`.
pub(crate) fn draw(out: &Path, train: u32, size: u32) {
    let size = Size { width: size, height: size };
    let options =
        synth::Options { train, good: 3, defective: 5, size, ..synth::Options::new(out.to_owned()) };
    synth::run(&options, &|_, _| {}).unwrap();
}

#[test]
fn help_says_what_each_command_takes() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        "run",
        "check",
        "cameras",
        "snapshot",
        "record",
        "train",
        "calibrate",
        "evaluate",
        "msa",
        "inspect",
        "results",
        "bench",
        "schema",
        "synth",
    ] {
        let output = run(folder.path(), &[command, "--help"]);
        assert!(output.status.success() && output.stderr.is_empty());
        insta::assert_snapshot!(format!("help_{command}"), String::from_utf8(output.stdout).unwrap());
    }
    let output = run(folder.path(), &["--help"]);
    insta::assert_snapshot!("help", String::from_utf8(output.stdout).unwrap());
}

#[test]
fn a_wrong_command_line_is_refused_with_64() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        ("frobnicate", "unrecognized subcommand 'frobnicate'"),
        ("train --data . --out a.csflow --preset big", "possible values: paper, balanced, lite"),
        ("train --data . --out a.csflow --epochs 0", "--epochs"),
        ("train --data . --out a.csflow --device gpu", "must be \"auto\", \"cpu\", \"cuda\" or \"cuda:N\""),
        ("train --data . --out a.csflow --target-overkill 100%", "must be a share above 0 and below 1"),
        ("train --data .", "--out <FILE.csflow>"),
        ("evaluate --bundle a.csflow", "--data <DIR>"),
        ("evaluate --bundle a.csflow --data . --compare", "--compare <FILE.csflow>..."),
        ("inspect --bundle a.csflow", "<IMAGE>..."),
        ("bench --frame 0x0", "must be WIDTHxHEIGHT in pixels"),
        ("bench --preset lite --bundle a.csflow", "cannot be used with"),
        ("bench --rate 0", "must be a number of frames a second from 0.01 to 10000"),
        ("bench --cameras 2", "--rate <HZ>"),
        ("bench --rate 5 --runs 3", "cannot be used with"),
        ("bench --hidden 8 --bundle a.csflow", "cannot be used with"),
        ("train --data . --out a.csflow --backbone b7", "possible values: lite0, lite1, lite2, b5"),
        ("train --data . --out a.csflow --scales 4", "4 is not in 1..=3"),
        ("train --data . --out a.csflow --last-kernel 4", "must be an odd number from 1 to 15"),
        ("train --data . --out a.csflow --input 200", "--input: 200 is not a multiple of 128 from 128 to"),
        ("train --data . --out a.csflow --features depths --input 136", "as 3 scales of depths need"),
        ("schema nothing", "possible values: config, product, verdict"),
        ("run --log ==", "log filter \"==\" is not a level"),
    ] {
        assert_refused(folder.path(), &arguments.split(' ').collect::<Vec<_>>(), 64, expected);
    }
    assert_eq!(run(folder.path(), &[] as &[&str]).status.code(), Some(64));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn missing_input_is_refused_with_66_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw(&at.join("two"), 2, 64);
    draw(&at.join("parts"), 8, 64);
    fs::create_dir(at.join("empty")).unwrap();
    fs::write(at.join("text.csflow"), "not a bundle").unwrap();
    fs::write(at.join("empty.csflow"), "").unwrap();
    for (arguments, expected) in [
        ("train --data none --out a.csflow", "data folder none: there is no such folder"),
        ("train --data empty --out a.csflow", "data folder empty: expected png, jpg,"),
        ("train --data text.csflow --out a.csflow", "data folder text.csflow: there is no such folder"),
        ("train --data two --out a.csflow", "two images in two/train/good: at least 8 good images"),
        ("train --data parts --out a.csflow --backbone-weights none", "cannot read none"),
        ("train --data parts --out a.csflow --backbone-weights parts", "cannot read parts"),
        (
            "train --data parts --out a.csflow --backbone-weights text.csflow",
            "text.csflow is not a whole safetensors file",
        ),
        ("evaluate --data empty --bundle none", "data folder empty: expected images in test/good"),
        ("evaluate --data parts --bundle none.csflow", "cannot read none.csflow"),
        ("evaluate --data parts --bundle text.csflow", "text.csflow is not a whole safetensors file"),
        ("inspect --bundle empty.csflow a.png", "empty.csflow is not a whole safetensors file"),
        ("inspect --bundle empty a.png", "cannot read empty"),
        ("bench --bundle none.csflow", "cannot read none.csflow"),
    ] {
        assert_refused(at, &arguments.split(' ').collect::<Vec<_>>(), 66, expected);
    }
    assert!(!at.join("a.csflow").exists());
}

#[test]
fn an_argument_that_is_not_utf_8_names_a_file_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let data = OsString::from_vec(b"parts-\xFF".to_vec());
    let arguments = ["train".into(), "--out".into(), "a.csflow".into(), "--data".into(), data.clone()];
    assert_refused(folder.path(), &arguments, 66, "there is no such folder");
    draw(&folder.path().join(&data), 8, 64);
    let weights = ["--backbone-weights".into(), "none".into()];
    assert_refused(folder.path(), &[arguments.as_slice(), &weights].concat(), 66, "cannot read none");
}

#[test]
fn what_cannot_be_written_is_refused_with_74() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("file"), "mine").unwrap();
    for (arguments, expected) in [
        ("train --data none --out none/a.csflow", "bundle none/a.csflow: there is no folder none"),
        ("train --data none --out .", "bundle .: is a folder, give a file name"),
        ("train --data none --out /", "bundle /: is not a file name"),
        ("train --data none --out /proc/a.csflow", "bundle /proc/a.csflow: cannot write there: "),
        ("synth --out file", "file: cannot be made"),
    ] {
        assert_refused(at, &arguments.split(' ').collect::<Vec<_>>(), 74, expected);
    }
    assert_refused(at, &["synth", "--out", "."], 64, "not empty, and not made by csflowd synth");

    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = csflowd(at).args(["schema", "verdict"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert!(
        String::from_utf8_lossy(&output.stderr).starts_with("csflowd: cannot write to standard output: ")
    );
}

#[test]
fn a_device_that_is_not_there_is_refused_with_78() {
    let folder = tempfile::tempdir().unwrap();
    draw(folder.path(), 8, 64);
    let arguments = ["train", "--data", ".", "--out", "a.csflow", "--device", "cuda:63"];
    assert_refused(folder.path(), &arguments, 78, "device \"cuda:63\" is asked for, but ");
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = csflowd(folder.path()).args(["schema", "result"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}
