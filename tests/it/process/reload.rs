//! New settings while the station runs: taken over as a whole or not at all.

use serde_json::Value;

use super::{PATIENT, Station};
use crate::mosquitto::Mosquitto;
use crate::mosquitto::sender::Sender;
use crate::mosquitto::subscriber::Subscriber;

#[track_caller]
pub(super) fn wait_event(subscriber: &Subscriber, name: &str) -> String {
    let event = subscriber.wait_for(name, |m| m.topic == "plant/event" && m.payload["event"] == name);
    event.payload["text"].as_str().unwrap().to_owned()
}

/// The next verdict with a threshold of this.
#[track_caller]
fn wait_verdict(subscriber: &Subscriber, threshold: f64) -> Value {
    let what = format!("a verdict under threshold {threshold}");
    subscriber.wait_for(&what, |m| m.topic == "plant/top/verdict" && m.payload["thr"] == threshold).payload
}

#[test]
fn a_changed_threshold_judges_the_next_parts_and_a_broken_file_changes_nothing() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 20\nrepeat = true").with_parts(0, 2);
    station.set_product(&format!("threshold = 5.0\n{PATIENT}"));
    let subscriber = Subscriber::start(broker.port);
    let mut daemon = station.start(&[]).ready();
    assert_eq!(wait_verdict(&subscriber, 5.0)["ev"], 2);

    station.set_product(&format!("threshold = 1e9\n{PATIENT}"));
    daemon.signal("HUP");
    let applied = wait_event(&subscriber, "CONFIG_APPLIED");
    assert_eq!(applied, "product: threshold 5 -> 1000000000");
    assert_eq!(wait_verdict(&subscriber, 1e9)["ev"], 1);
    let reloading = daemon.wait_notice("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    daemon.wait_notice("READY=1");

    station.set_product(&format!("threshold = nan\n{PATIENT}"));
    daemon.signal("HUP");
    let refused = wait_event(&subscriber, "CONFIG_REFUSED");
    assert!(refused.starts_with("settings stay as they are: "), "{refused}");
    assert!(refused.contains("products/part.toml") && refused.contains("threshold"), "{refused}");
    daemon.wait_notice("READY=1");
    assert_eq!(wait_verdict(&subscriber, 1e9)["ev"], 1);

    station.set_product(&format!("threshold = 7.0\n{PATIENT}"));
    daemon.signal("HUP");
    assert_eq!(
        wait_verdict(&subscriber, 7.0)["ev"],
        2,
        "a refused file does not stand in the way of the next"
    );
    daemon.stop();
}

#[test]
fn a_command_reloads_where_commands_are_taken() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 20\nrepeat = true").with_parts(1, 0);
    let subscriber = Subscriber::start(broker.port);
    let mut daemon = station.start(&["--set", "mqtt.commands=true"]).ready();
    subscriber.wait_for("status READY", |m| m.topic == "plant/status" && m.payload["state"] == "READY");
    station.set_product(&format!("threshold = 7.0\n{PATIENT}"));
    Sender::start(broker.port).send("plant/cmd/reload", "", false);
    wait_event(&subscriber, "COMMAND_ACCEPTED");
    wait_verdict(&subscriber, 7.0);
    daemon.stop();
}

#[test]
fn what_is_built_in_waits_for_a_restart_and_says_so() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 20\nrepeat = true").with_parts(1, 0);
    let subscriber = Subscriber::start(broker.port);
    let mut daemon = station.start(&[]).ready();
    let settings = std::fs::read_to_string(station.path("csflowd.toml")).unwrap();
    station.write("csflowd.toml", &settings.replace("rate_hz = 20", "rate_hz = 10"));
    daemon.signal("HUP");
    assert_eq!(wait_event(&subscriber, "CONFIG_APPLIED"), "camera top (needs a restart)");
    daemon.stop();
}
