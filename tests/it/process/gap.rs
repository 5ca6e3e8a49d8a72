//! Another product where there is no room for two.

use std::fs;
use std::process::Command;

use super::product::{choose, result_of, start, station, wait_outcome};
use super::{Daemon, Station};
use crate::fixture;
use crate::mosquitto::sender::Sender;
use crate::mosquitto::subscriber::{Message, Subscriber};
use crate::mosquitto::{Mosquitto, wait_until};

const GAP: [&str; 2] = ["--set", "engine.swap=gap"];

/// What is left to a crowded daemon: less than a second network is reckoned to need, and more than the fixture's takes.
const LEFT: u64 = 192 << 20;

/// A daemon that judges by the first product, and has no room for a second.
fn crowded(station: &Station, subscriber: &Subscriber, arguments: &[&str]) -> Daemon {
    let daemon = start(station, arguments);
    subscriber.wait_for("the first product", result_of("part"));
    let id = daemon.child.id().to_string();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let used = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let used_kb: u64 = used.trim().strip_suffix("kB").unwrap().trim().parse().unwrap();
    let limit = format!("--data={}", used_kb * 1024 + LEFT);
    assert!(Command::new("prlimit").args(["--pid", &id, &limit]).status().unwrap().success());
    daemon
}

/// In the order of triggers, by what parts were judged; `NOT_READY` in place of that where they were not.
fn story(subscriber: &Subscriber, mut seen: Vec<Message>) -> Vec<String> {
    let mut results = Vec::new();
    wait_until("all results are there", || {
        seen.extend(subscriber.messages.try_iter());
        results.extend(seen.drain(..).filter(|m| m.topic == "plant/top/result").map(|m| m.payload));
        let taken = results.iter().filter_map(|result| result["trigger_id"].as_u64()).max();
        taken.is_some_and(|last| results.len() as u64 == last + 1)
    });
    results.sort_by_key(|result| result["trigger_id"].as_u64());
    let mut story = Vec::new();
    for result in results {
        let word = match result["code"].as_u64().unwrap() {
            0 => result["product"].as_str().unwrap(),
            50 => {
                assert_eq!((&result["evaluation"], result.get("score")), (&0.into(), None), "{result}");
                "NOT_READY"
            }
            // A machine that is busy may drop a frame.
            12 => continue,
            code => panic!("code {code}: {result}"),
        };
        if story.last().is_none_or(|last| last != word) {
            story.push(word.to_owned());
        }
    }
    // Before the first product was loaded nothing could be judged.
    let begin = usize::from(story.first().is_some_and(|word| word == "NOT_READY"));
    story.split_off(begin)
}

#[test]
fn without_room_for_two_the_change_is_refused_and_the_old_product_judges_on() {
    let broker = Mosquitto::start();
    let (station, subscriber) = (station(&broker), Subscriber::start(broker.port));
    let watcher = Subscriber::start(broker.port);
    let mut daemon = crowded(&station, &watcher, &[]);
    choose(&Sender::start(broker.port), "cover", "1");
    let outcome = wait_outcome(&watcher, "1");
    assert_eq!(outcome["event"], "PRODUCT_REFUSED", "{outcome}");
    let cause = outcome["cause"].as_str().unwrap();
    assert!(cause.starts_with("no room on cpu for a second network: about "), "{cause}");
    assert!(cause.contains("engine.swap = \"gap\" unloads the one in use first"), "{cause}");
    watcher.wait_for("a later part", result_of("part"));
    daemon.stop();
    assert_eq!(story(&subscriber, Vec::new()), ["part"]);
}

#[test]
fn with_a_gap_its_parts_are_not_ready_and_the_new_product_judges_after_it() {
    let broker = Mosquitto::start();
    let (station, subscriber) = (station(&broker), Subscriber::start(broker.port));
    let watcher = Subscriber::start(broker.port);
    let mut daemon = crowded(&station, &watcher, &GAP);
    choose(&Sender::start(broker.port), "cover", "1");
    assert_eq!(wait_outcome(&watcher, "1")["event"], "PRODUCT_CHANGED");
    watcher.wait_for("a part of it", result_of("cover"));
    daemon.stop();
    assert_eq!(story(&subscriber, Vec::new()), ["part", "NOT_READY", "cover"]);
}

#[test]
fn a_product_that_fails_in_the_gap_brings_the_old_one_back_and_is_told_as_refused() {
    let broker = Mosquitto::start();
    let (station, subscriber) = (station(&broker), Subscriber::start(broker.port));
    let watcher = Subscriber::start(broker.port);
    fs::write(station.path("state/bundles/cover.csflow"), b"not a bundle").unwrap();
    let mut daemon = crowded(&station, &watcher, &GAP);
    choose(&Sender::start(broker.port), "cover", "1");
    let outcome = wait_outcome(&watcher, "1");
    assert_eq!(outcome["event"], "PRODUCT_REFUSED", "{outcome}");
    assert!(outcome["cause"].as_str().unwrap().contains("is not a whole safetensors file"), "{outcome}");
    watcher.wait_for("the old product", |m| m.topic == "plant/event" && m.payload["event"] == "MODEL_READY");
    watcher.wait_for("a part of it", result_of("part"));
    // It goes on being said.
    let latecomer = Subscriber::start(broker.port);
    let is_ready = |m: &Message| m.topic == "plant/status" && m.payload["state"] == "READY";
    let status = latecomer.wait_for("READY", |m| is_ready(m) && m.payload["refused"].is_string()).payload;
    assert_eq!(status["product"], "part", "{status}");
    assert!(status["refused"].as_str().unwrap().starts_with("product cover: "), "{status}");
    daemon.stop();
    assert_eq!(story(&subscriber, Vec::new()), ["part", "NOT_READY", "part"]);
}

#[test]
fn where_the_old_product_cannot_come_back_parts_are_not_ready_until_it_is_mended() {
    let broker = Mosquitto::start();
    let (station, subscriber) = (station(&broker), Subscriber::start(broker.port));
    let watcher = Subscriber::start(broker.port);
    fs::write(station.path("state/bundles/cover.csflow"), b"not a bundle").unwrap();
    let mut daemon = crowded(&station, &watcher, &GAP);
    // Somebody has written over what judges: nothing of it is on disk any more.
    station.set_bundle(b"no bundle either");
    choose(&Sender::start(broker.port), "cover", "1");
    assert_eq!(wait_outcome(&watcher, "1")["event"], "PRODUCT_REFUSED");
    let status = watcher.wait_for("ERROR", |m| m.topic == "plant/status" && m.payload["state"] == "ERROR");
    assert!(status.payload["fault"].as_str().unwrap().contains("part.csflow"), "{}", status.payload);
    watcher.wait_for("NOT_READY", |m| m.topic == "plant/top/verdict" && m.payload["code"] == 50);
    station.set_bundle(fixture::bundle());
    daemon.signal("HUP");
    watcher.wait_for("a part", result_of("part"));
    daemon.stop();
    assert_eq!(story(&subscriber, Vec::new()), ["part", "NOT_READY", "part"]);
}
