//! No result is lost, whatever becomes of broker, disk and process, and the record of parts tells them all.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::process::Command;

use rand::RngExt;
use rand_pcg::Pcg64;
use serde_json::Value;

use super::account::{Record, number};
use super::{Daemon, Station};
use crate::mosquitto::cable::Cable;
use crate::mosquitto::subscriber::{Message, Subscriber};
use crate::mosquitto::{Mosquitto, wait_until};

/// A camera that shows a part twenty times a second, for ever.
const LINE: &str = "rate_hz = 20\nrepeat = true";

/// How many times the process is killed, and how many results the broker misses: more for a longer trial.
const KILLS: (&str, u64) = ("CSFLOWD_TEST_KILLS", 4);
const MISSED: (&str, u64) = ("CSFLOWD_TEST_MISSED", 40);

pub(super) fn at_least((variable, usual): (&str, u64)) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What `csflowd results` tells.
pub(super) fn kept(station: &Station, arguments: &[&str]) -> Value {
    let arguments = [&["--json", "--limit", "100000"], arguments].concat();
    let (code, out, err) = station.outcome("results", &arguments);
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).unwrap()
}

pub(super) fn seqs(listing: &Value) -> Vec<u64> {
    let results = listing["results"].as_array().unwrap();
    results.iter().map(|listed| number(&listed["result"], "seq")).collect()
}

#[track_caller]
pub(super) fn wait_kept(station: &Station, daemon: &Daemon, count: u64) {
    // As long as results come on, so that a longer trial may take its time.
    let mut matched = 0;
    while matched < count {
        wait_until("more results are kept", || {
            // A daemon whose notices nobody reads waits with the next.
            daemon.notices_so_far();
            let before = matched;
            matched = number(&kept(station, &[]), "matched");
            matched > before
        });
    }
}

/// The results, each as it came first.
fn results(messages: &[Message]) -> Vec<Value> {
    let mut results: Vec<Value> = Vec::new();
    for message in messages.iter().filter(|message| message.topic == "plant/top/result") {
        if results.iter().all(|result| result["seq"] != message.payload["seq"]) {
            results.push(message.payload.clone());
        }
    }
    results
}

#[test]
fn broker_away_and_a_kill_in_between_cost_no_result() {
    let broker = Mosquitto::start();
    let cable = Cable::to(broker.port);
    cable.cut();
    let station = Station::new(cable.port, LINE).with_parts(2, 1);
    let missed = at_least(MISSED);
    let daemon = station.start(&[]).ready();
    wait_kept(&station, &daemon, missed / 2);
    daemon.signal("KILL");
    drop(daemon);
    let of_the_first = seqs(&kept(&station, &[]));
    let mut daemon = station.start(&[]).ready();
    wait_kept(&station, &daemon, of_the_first.len() as u64 + missed / 2);

    let missed_seqs = seqs(&kept(&station, &[]));
    let subscriber = Subscriber::start(broker.port);
    cable.mend();
    let caught_up = |m: &Message| m.topic == "plant/top/result" && m.payload["replayed"] == false;
    let mut seen = subscriber.collect_until("a result that goes out at once", caught_up);
    let before_the_cable = results(&seen).len();
    daemon.stop();
    seen.extend(subscriber.collect_until("offline", |m| {
        m.topic == "plant/status" && !m.retained && m.payload["state"] == "OFFLINE"
    }));

    let all = kept(&station, &[]);
    assert!(seqs(&all).starts_with(&of_the_first));
    assert!(all["results"].as_array().unwrap().iter().all(|listed| listed["acknowledged"] == true), "{all}");
    let delivered = results(&seen);
    let delivered_seqs: Vec<_> = delivered.iter().map(|result| number(result, "seq")).collect();
    assert_eq!(delivered_seqs, seqs(&all), "all of them, in order");
    assert!(before_the_cable as u64 > missed);
    assert!(delivered[..before_the_cable - 1].iter().all(|result| result["replayed"] == true));
    // Nobody could have acted on them.
    let live: Vec<_> = seen.iter().filter(|m| m.topic == "plant/top/verdict").collect();
    assert!(live.iter().all(|m| !missed_seqs.contains(&number(&m.payload, "seq"))), "{live:#?}");
    // The first run was killed; the second accounts for all that it took.
    let mut record = Record::of(&seen);
    let boot = record.counters["boot_id"].clone();
    record.results.retain(|result| result["boot_id"] == boot);
    record.assert_promise();
}

#[test]
fn what_was_published_before_a_kill_is_kept_and_numbers_never_go_back() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 100\nrepeat = true").with_parts(3, 0);
    let subscriber = Subscriber::start(broker.port);
    let (mut rng, mut delivered, mut last) = (Pcg64::new(1, 1), BTreeSet::new(), 0);
    for _ in 0..at_least(KILLS) {
        let daemon = station.start(&[]);
        // From before the first result to well within the stream.
        let (n, wanted) = (Cell::new(0), rng.random_range(0..20));
        let mut seen = subscriber.collect_until("some messages", |m| {
            n.set(n.get() + u8::from(!m.retained && m.payload["replayed"] != true));
            n.get() > wanted
        });
        daemon.signal("KILL");
        seen.extend(subscriber.collect_until("the last will", |m| {
            m.topic == "plant/status" && m.payload["reasons"][0] == "CONNECTION_LOST"
        }));
        drop(daemon);
        let kept = seqs(&kept(&station, &[]));
        assert!(kept.is_sorted_by(|one, next| one < next), "{kept:?}");
        delivered.extend(results(&seen).iter().map(|result| number(result, "seq")));
        assert!(delivered.iter().all(|seq| kept.contains(seq)), "{delivered:?} in {kept:?}");
        assert!(kept.last().is_none_or(|&newest| newest >= last), "{kept:?} after {last}");
        last = kept.last().copied().unwrap_or(last);
    }
    station.start(&["--frames", "1"]).expect_good_end();
    let end = Record::until_offline(&subscriber);
    delivered.extend(end.results.iter().map(|result| number(result, "seq")));
    assert_eq!(delivered.into_iter().collect::<Vec<_>>(), seqs(&kept(&station, &[])), "all came in the end");
}

#[test]
fn results_can_be_looked_up_by_part_while_the_station_runs() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, LINE).with_parts(2, 1);
    let mut daemon = station.start(&[]).ready();
    wait_kept(&station, &daemon, 6);
    let of_part = kept(&station, &["--part", "bad0.png", "--camera", "top", "--since", "1h"]);
    let results = of_part["results"].as_array().unwrap();
    assert!(!results.is_empty());
    // On a busy machine the queue may be full: then it is not inspected, and never good.
    for listed in results {
        assert_eq!(listed["result"]["part_id"], "bad0.png", "{listed}");
        assert_ne!(listed["result"]["evaluation"], 1, "{listed}");
    }
    let (code, out, err) = station.outcome("results", &["--part", "bad0.png", "--limit", "2"]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!((code, lines.len()), (Some(0), 3), "{out}{err}");
    assert!(lines[0].starts_with("time") && lines[1].contains("  top     bad0.png  "), "{out}");
    assert!(err.starts_with("2 of ") && err.ends_with("results in STATION/state/outbox\n"), "{err}");
    let nothing = kept(&station, &["--camera", "side"]);
    assert_eq!((&nothing["matched"], &nothing["results"]), (&0.into(), &Value::Array(Vec::new())));
    daemon.stop();
}

/// Results go on, and the station says that they are not on disk.
#[track_caller]
fn assert_goes_on_from_memory(subscriber: &Subscriber, mut daemon: Daemon) {
    let mut seen = subscriber.collect_until("the reason", |m| {
        m.topic == "plant/status" && m.payload["reasons"] == Value::from(vec!["OUTBOX_IN_MEMORY"])
    });
    assert_eq!(seen.last().unwrap().payload["state"], "READY");
    let more = Cell::new(0);
    seen.extend(subscriber.collect_until("more results", |m| {
        more.set(more.get() + u8::from(m.topic == "plant/top/result"));
        more.get() == 20
    }));
    assert!(seen.iter().any(|m| m.payload["event"] == "OUTBOX_FAILED"));
    let results: Vec<_> = results(&seen).iter().map(|result| number(result, "seq")).collect();
    assert_eq!(results, (1..=results.len() as u64).collect::<Vec<_>>(), "none is missing");
    daemon.stop();
    let end = Record::until_offline(subscriber);
    assert_eq!((end.count("/results_dropped"), end.count("/results_queued")), (0, 0), "{}", end.counters);
}

#[test]
fn without_a_folder_for_the_outbox_results_go_on_from_memory() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, LINE).with_parts(2, 1);
    station.write("state/outbox", "a file where the folder should be");
    let subscriber = Subscriber::start(broker.port);
    assert_goes_on_from_memory(&subscriber, station.start(&[]));
}

#[test]
fn on_a_disk_that_gets_full_results_go_on_from_memory_and_what_was_kept_is_whole() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 50\nrepeat = true").with_parts(2, 1);
    let subscriber = Subscriber::start(broker.port);
    // No file may become longer than 32 kB.
    let csflowd = station.command("run", &[]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]);
    limited.arg(csflowd.get_program()).args(csflowd.get_args());
    assert_goes_on_from_memory(&subscriber, Daemon::start(limited, station.folder.path()));
    let there = kept(&station, &[]);
    assert_eq!(there["damaged_files"], 0);
    assert!(number(&there, "matched") > 10, "{}", there["matched"]);
}

#[test]
fn counters_go_on_over_runs_and_a_damaged_file_begins_them_anew() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 50").with_parts(3, 2);
    let subscriber = Subscriber::start(broker.port);
    let run = || {
        station.start(&[]).expect_good_end();
        let record = Record::until_offline(&subscriber);
        let not_inspected = record.counters["lifetime"]["not_inspected"].as_object().unwrap();
        let closed =
            ["ok", "not_ok", "not_decidable", "open"].map(|key| record.count(&format!("/lifetime/{key}")));
        let not_inspected = not_inspected.values().map(|count| count.as_u64().unwrap());
        let sum = closed.into_iter().chain(not_inspected).sum::<u64>();
        assert_eq!(record.count("/lifetime/triggers"), sum, "{}", record.counters);
        record
    };
    for n in 1..=2 {
        let record = run();
        assert_eq!((record.count("/triggers"), record.count("/lifetime/triggers")), (5, 5 * n));
        assert_eq!((record.count("/ok"), record.count("/lifetime/ok")), (3, 3 * n));
    }
    let file = station.path("state/counters");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("10", "70", 1)).unwrap();
    let record = run();
    assert_eq!(record.count("/lifetime/triggers"), 5);
    assert!(record.events.iter().any(|event| event["event"] == "COUNTERS_LOST"), "{:?}", record.events);
}
