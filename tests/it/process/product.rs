//! Another product while the line runs.

use std::fs;

use serde_json::Value;

use super::reload::wait_event;
use super::{Daemon, PATIENT, Station};
use crate::fixture;
use crate::mosquitto::sender::Sender;
use crate::mosquitto::subscriber::{Message, Subscriber};
use crate::mosquitto::{Mosquitto, wait_until};

/// The environment can ask for more.
const SWITCHES: usize = 8;

/// A station that takes commands, with the products part and cover, of different bundles.
pub(super) fn station(broker: &Mosquitto) -> Station {
    let station = Station::new(broker.port, "rate_hz = 20\nrepeat = true").with_parts(2, 1);
    fs::write(station.path("state/bundles/cover.csflow"), fixture::other_bundle()).unwrap();
    station.write("products/cover.toml", &format!("bundle = \"cover.csflow\"\n{PATIENT}"));
    station
}

pub(super) fn start(station: &Station, arguments: &[&str]) -> Daemon {
    station.start(&[&["--set", "mqtt.commands=true"][..], arguments].concat()).ready()
}

pub(super) fn result_of(product: &'static str) -> impl Fn(&Message) -> bool {
    move |m| m.topic == "plant/top/result" && m.payload["product"] == product
}

pub(super) fn choose(sender: &Sender, product: &str, id: &str) {
    sender.send("plant/cmd/product", &format!(r#"{{"product":"{product}","id":"{id}"}}"#), false);
}

/// The event that says what became of the command with this id.
#[track_caller]
pub(super) fn wait_outcome(subscriber: &Subscriber, id: &str) -> Value {
    subscriber
        .wait_for("an outcome", |m| {
            let name = m.payload["event"].as_str().unwrap_or_default();
            name.starts_with("PRODUCT_") && m.payload["id"] == id
        })
        .payload
}

#[test]
fn a_product_chosen_by_command_stays_over_a_restart_until_the_station_file_is_edited() {
    let broker = Mosquitto::start();
    let (station, subscriber) = (station(&broker), Subscriber::start(broker.port));
    let sender = Sender::start(broker.port);
    let mut daemon = start(&station, &[]);
    subscriber.wait_for("the first product", result_of("part"));
    choose(&sender, "tray", "1");
    let refused = wait_event(&subscriber, "COMMAND_REFUSED");
    assert!(refused.ends_with("there is no product tray"), "{refused}");
    choose(&sender, "cover", "2");
    assert_eq!(wait_outcome(&subscriber, "2")["event"], "PRODUCT_CHANGED");
    let judged = subscriber.wait_for("the second product", result_of("cover"));
    assert_ne!(judged.payload["bundle_sha256"], Value::Null);
    // The broker keeps it.
    let latecomer = Subscriber::start(broker.port);
    latecomer.wait_for("the status", |m| m.topic == "plant/status" && m.payload["product"] == "cover");
    daemon.stop();

    let subscriber = Subscriber::start(broker.port);
    let mut daemon = start(&station, &[]);
    subscriber.wait_for("the second product", result_of("cover"));
    // The file wins once somebody has changed what it says. It is watched.
    station.write("products/lid.toml", &format!("bundle = \"part.csflow\"\n{PATIENT}"));
    let settings = fs::read_to_string(station.path("csflowd.toml")).unwrap();
    station.write("csflowd.toml", &settings.replace("product = \"part\"", "product = \"lid\""));
    subscriber.wait_for("the third product", result_of("lid"));
    daemon.stop();
    assert!(!station.path("state/product").exists());
}

#[test]
fn a_product_that_cannot_be_loaded_leaves_everything_as_it_was_and_says_why() {
    let broker = Mosquitto::start();
    let (station, subscriber) = (station(&broker), Subscriber::start(broker.port));
    let sender = Sender::start(broker.port);
    fs::write(station.path("state/bundles/cover.csflow"), b"not a bundle").unwrap();
    let mut daemon = start(&station, &[]);
    subscriber.wait_for("the first product", result_of("part"));
    choose(&sender, "cover", "1");
    let outcome = wait_outcome(&subscriber, "1");
    assert_eq!(outcome["event"], "PRODUCT_REFUSED");
    assert!(outcome["cause"].as_str().unwrap().contains("is not a whole safetensors file"), "{outcome}");
    let status = subscriber
        .wait_for("the reason", |m| m.topic == "plant/status" && m.payload["reasons"][0] == "CHANGE_REFUSED");
    assert_eq!((&status.payload["state"], &status.payload["product"]), (&"READY".into(), &"part".into()));
    assert!(status.payload["refused"].as_str().unwrap().starts_with("product cover: "));
    let seen = subscriber.collect_until("a later result", result_of("part"));
    assert!(!seen.iter().any(result_of("cover")));
    daemon.stop();
}

#[test]
fn an_edited_product_file_is_taken_over_without_being_asked() {
    let broker = Mosquitto::start();
    let (station, subscriber) = (station(&broker), Subscriber::start(broker.port));
    let mut daemon = start(&station, &[]);
    subscriber.wait_for("the first product", result_of("part"));
    // As many editors do it.
    station.write("products/part.toml.new", &format!("bundle = \"part.csflow\"\nthreshold = 7.5\n{PATIENT}"));
    fs::rename(station.path("products/part.toml.new"), station.path("products/part.toml")).unwrap();
    subscriber.wait_for("the new threshold", |m| m.payload["thr"] == 7.5);
    station.write("products/part.toml", "bundle = \"part");
    wait_event(&subscriber, "CONFIG_REFUSED");
    subscriber.wait_for("the same threshold", |m| m.payload["thr"] == 7.5);
    daemon.stop();
}

#[test]
fn a_station_without_a_good_product_answers_its_triggers_and_takes_the_product_when_it_is_mended() {
    let broker = Mosquitto::start();
    let (station, subscriber) = (station(&broker), Subscriber::start(broker.port));
    station.set_bundle(b"not a bundle");
    let mut daemon = start(&station, &[]);
    let status = subscriber.wait_for("ERROR", |m| m.topic == "plant/status" && m.payload["state"] == "ERROR");
    assert_eq!(status.payload["reasons"][0], "MODEL_FAILED");
    assert!(status.payload["fault"].as_str().unwrap().contains("safetensors"), "{}", status.payload);
    subscriber.wait_for("NOT_READY", |m| m.topic == "plant/top/verdict" && m.payload["code"] == 50);
    station.set_bundle(fixture::bundle());
    daemon.signal("HUP");
    subscriber.wait_for("a judged part", result_of("part"));
    daemon.stop();
}

#[test]
fn every_part_is_judged_by_the_product_of_its_trigger_however_often_that_changes() {
    let switches = std::env::var("CSFLOWD_TEST_SWITCHES").map_or(SWITCHES, |text| text.parse().unwrap());
    let broker = Mosquitto::start();
    let (station, subscriber) = (station(&broker), Subscriber::start(broker.port));
    let (sender, watcher) = (Sender::start(broker.port), Subscriber::start(broker.port));
    let mut daemon = start(&station, &[]);
    watcher.wait_for("the first product", result_of("part"));
    for number in 1..=switches {
        let product = if number % 2 == 0 { "part" } else { "cover" };
        choose(&sender, product, &number.to_string());
        assert_eq!(wait_outcome(&watcher, &number.to_string())["event"], "PRODUCT_CHANGED");
        watcher
            .wait_for("a part of it", |m| m.topic == "plant/top/result" && m.payload["product"] == product);
        // A systemd that never reads would hold the daemon up in the end.
        drop(daemon.notices_so_far());
    }
    daemon.stop();

    let mut results = Vec::new();
    wait_until("all results are there", || {
        results.extend(subscriber.messages.try_iter().filter(|m| m.topic == "plant/top/result"));
        let taken: Option<u64> = results.iter().filter_map(|m| m.payload["trigger_id"].as_u64()).max();
        taken.is_some_and(|last| results.len() as u64 == last + 1)
    });
    results.sort_by_key(|m| m.payload["trigger_id"].as_u64());
    // Before the first product was loaded, nothing could be judged.
    let judged: Vec<&Value> =
        results.iter().map(|m| &m.payload).skip_while(|result| result["code"] == 50).collect();
    assert!(judged.iter().all(|result| result["code"] != 50), "{judged:?}");
    // A machine that is busy may drop a frame.
    let judged: Vec<_> = judged.into_iter().filter(|result| result["code"] == 0).collect();
    let changes = judged.windows(2).filter(|pair| pair[0]["product"] != pair[1]["product"]).count();
    assert_eq!(changes, switches, "in the order of triggers, each product's parts stand together");
    let bundles =
        judged.windows(2).filter(|pair| pair[0]["bundle_sha256"] != pair[1]["bundle_sha256"]).count();
    assert_eq!(bundles, switches);
}
