//! Who may know whom.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, after};

/// The rooms that a running station is made of, and all that each may know of the others. Those not named here are
/// the commands of the command line, which know what they need.
const KNOWS: [(&str, &[&str]); 28] = [
    ("clock", &[]),
    ("cxx", &[]),
    ("cpu", &["cxx"]),
    ("cuda", &["config", "cxx"]),
    ("shutdown", &[]),
    ("command", &["clock", "frame"]),
    ("backoff", &[]),
    ("causes", &[]),
    ("digest", &[]),
    ("telemetry", &[]),
    ("progress", &[]),
    ("frame", &["clock"]),
    ("appearance", &["frame"]),
    ("image_file", &["digest", "frame"]),
    ("roi", &["digest", "frame"]),
    ("verdict", &["clock", "frame"]),
    ("health", &["clock", "frame", "verdict"]),
    ("events", &["clock", "frame", "health"]),
    ("config", &["appearance", "digest", "frame", "image_file", "roi", "verdict"]),
    ("calibrate", &["verdict"]),
    ("products", &["clock", "config", "frame"]),
    (
        "capture",
        &["backoff", "causes", "clock", "config", "events", "frame", "health", "image_file", "shutdown"],
    ),
    ("ledger", &["clock", "config", "frame", "health", "verdict"]),
    ("intake", &["clock", "command", "config", "events", "frame", "health", "ledger", "verdict"]),
    ("model", &["appearance", "calibrate", "digest", "frame", "roi"]),
    ("engine", &["calibrate", "clock", "config", "cpu", "cuda", "frame", "model", "roi", "verdict"]),
    (
        "inference",
        &[
            "appearance",
            "calibrate",
            "clock",
            "config",
            "engine",
            "events",
            "frame",
            "health",
            "ledger",
            "model",
            "roi",
            "verdict",
        ],
    ),
    ("publish", &["backoff", "causes", "clock", "command", "config", "events", "frame", "health", "verdict"]),
];

/// Libraries with a room of their own.
const SPEAKS_TO: [(&str, &[&str]); 24] = [
    ("aravis", &["capture"]),
    ("crc32fast", &["intake", "publish"]),
    ("gstreamer", &["capture"]),
    ("gstreamer_app", &["capture"]),
    ("gstreamer_video", &["capture"]),
    ("rumqttc", &["publish"]),
    ("schemars", &["config", "publish"]),
    ("tch", &["cpu", "cuda", "cxx", "engine", "model", "train"]),
    ("safetensors", &["model"]),
    ("rustix", &["cuda", "train"]),
    ("tempfile", &["commission", "train"]),
    ("libloading", &["cuda"]),
    ("imageproc", &["evaluate", "inspect", "verdict"]),
    ("tracing_subscriber", &["telemetry"]),
    ("tracing_journald", &["telemetry"]),
    ("indicatif", &["progress"]),
    ("sd_notify", &["daemon"]),
    ("notify", &["daemon"]),
    ("signal_hook", &["cli", "daemon"]),
    ("clap", &["cli"]),
    ("maud", &["report"]),
    ("base64", &["report"]),
    ("statrs", &["msa"]),
    ("anyhow", &["cli", "evaluate", "inspect", "msa", "recalibrate", "train"]),
];

/// The code of each room, without its tests.
fn rooms() -> BTreeMap<String, String> {
    let mut rooms: BTreeMap<String, String> = BTreeMap::new();
    for source in Source::all(&["src"]) {
        if !source.is_test() {
            rooms.entry(source.room().into()).or_default().push_str(&source.code());
        }
    }
    rooms
}

/// The rooms in whose code one of `words` stands.
fn rooms_with(words: &[&str]) -> Vec<String> {
    let has_one = |code: &String| words.iter().any(|word| !after(code, word).is_empty());
    rooms().into_iter().filter(|(_, code)| has_one(code)).map(|(room, _)| room).collect()
}

/// The other rooms that this code names.
fn known(room: &str, code: &str) -> BTreeSet<String> {
    let name = |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    let known: BTreeSet<String> = after(code, "crate::").into_iter().map(name).collect();
    assert!(!known.contains(""), "{room}: write each room's own line, not crate::{{...}}");
    known.into_iter().filter(|other| other != room).collect()
}

/// Shows the lines that differ, and those alone.
#[track_caller]
fn assert_same(expected: &[String], found: &[String]) {
    let differ: Vec<_> = expected.iter().zip(found).filter(|(one, other)| one != other).collect();
    assert!(differ.is_empty(), "expected and found: {differ:#?}");
}

#[test]
fn each_room_of_the_station_knows_the_others_that_it_needs_and_no_more() {
    let rooms = rooms();
    let found = KNOWS.map(|(room, _)| format!("{room} knows {:?}", known(room, &rooms[room])));
    let expected = KNOWS.map(|(room, others)| format!("{room} knows {:?}", BTreeSet::from_iter(others)));
    assert_same(&expected, &found);
}

#[test]
fn nobody_knows_the_wiring_but_the_command_line_and_nobody_knows_that() {
    for (room, code) in rooms() {
        let known = known(&room, &code);
        assert!(room == "cli" || !known.contains("daemon"), "{room} knows the daemon");
        assert!(!known.contains("cli"), "{room} knows the command line");
    }
}

#[test]
fn each_library_is_spoken_to_in_its_rooms_alone() {
    let found = SPEAKS_TO.map(|(library, _)| {
        let forms = [format!("{library}::"), format!("use {library} as"), format!("use {library};")];
        format!("{library} from {:?}", rooms_with(&forms.each_ref().map(String::as_str)))
    });
    let expected = SPEAKS_TO.map(|(library, rooms)| format!("{library} from {rooms:?}"));
    assert_same(&expected, &found);
}

#[test]
fn a_verdict_takes_no_time_and_does_no_input_or_output() {
    let code = &rooms()["verdict"];
    for word in
        ["Clock", "Instant", "SystemTime", "now", "fs", "io", "net", "env", "thread", "process", "tracing"]
    {
        assert!(after(code, word).is_empty(), "verdict names {word}");
    }
}

#[test]
fn no_stage_sees_all_settings() {
    assert_eq!(rooms_with(&["config::Config", "Config"]), ["cli", "config", "daemon"]);
}

#[test]
fn what_is_published_is_laid_out_apart_from_what_is_meant() {
    let writers = rooms_with(&["Serialize"]);
    assert_eq!(
        writers,
        [
            "appearance",
            "bench",
            "calibrate",
            "cli",
            "commission",
            "evaluate",
            "inspect",
            "model",
            "msa",
            "publish",
            "recalibrate",
            "synth",
            "train"
        ]
    );
}

#[test]
fn no_state_is_global() {
    let words = ["static mut", "OnceLock", "LazyLock", "OnceCell", "lazy_static"];
    assert_eq!(rooms_with(&words), [""; 0]);
    // Whether a panic of this thread will be caught.
    assert_eq!(rooms_with(&["thread_local"]), ["engine"]);
    assert_eq!(rooms_with(&["unsafe"]), ["cpu", "cuda"]);
}
