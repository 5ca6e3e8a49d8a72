//! The publisher against a real mosquitto.

mod commands;
mod disk;
mod outage;
mod rig;
mod tls;

use std::sync::atomic::Ordering::Relaxed;

use csflowd::events::Event;
use csflowd::health::CameraState;
use csflowd::publish::schema::{Kind, schema};
use csflowd::verdict::{Outcome, Reason};
use serde_json::Value;

use self::rig::{mqtt, verdict, with_publisher};
use crate::mosquitto::subscriber::{Message, Subscriber};
use crate::mosquitto::{Mosquitto, wait_until};

fn is(leaf: &'static str) -> impl Fn(&Message) -> bool {
    move |message| message.topic.ends_with(leaf)
}

fn status(state: &'static str) -> impl Fn(&Message) -> bool {
    move |message| is("/status")(message) && message.payload["state"] == state
}

fn result(seq: u64) -> impl Fn(&Message) -> bool {
    move |message| is("/result")(message) && message.payload["seq"] == seq
}

fn seqs(messages: &[Message], leaf: &'static str) -> Vec<u64> {
    messages.iter().filter(|m| is(leaf)(m)).map(|m| m.payload["seq"].as_u64().unwrap()).collect()
}

fn leaf_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Verdict => "top/verdict",
        Kind::Part => "part/verdict",
        kind => kind.name(),
    }
}

#[test]
fn every_kind_of_message_arrives_and_satisfies_its_schema() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    with_publisher(&mqtt(broker.port), |plant| {
        let status = subscriber.wait_for("status", status("READY"));
        assert_eq!(status.topic, "plant/cell/status");
        plant.send(verdict(1, Outcome::Anomalous));
        plant.send_part(rig::part(2, Outcome::Anomalous));
        plant.events.tell(Event::CameraEnded { camera: rig::camera(), frames: 7 });
        let mut seen = vec![status];
        let sent = || Kind::ALL.into_iter().filter(|&kind| kind != Kind::Command);
        for kind in sent().filter(|&kind| kind != Kind::Status) {
            if !seen.iter().any(is(leaf_of(kind))) {
                seen.extend(subscriber.collect_until(kind.name(), is(leaf_of(kind))));
            }
        }
        for kind in sent() {
            let validator = jsonschema::validator_for(&schema(kind)).unwrap();
            for message in seen.iter().filter(|m| is(leaf_of(kind))(m)) {
                let errors: Vec<_> = validator.iter_errors(&message.payload).map(|e| e.to_string()).collect();
                assert!(errors.is_empty(), "{}: {errors:?}", message.payload);
            }
        }
        let find = |leaf| seen.iter().find(|m| is(leaf)(m)).unwrap();
        assert_eq!(find("top/verdict").topic, "plant/cell/top/verdict");
        assert_eq!(find("top/verdict").payload["ev"], 2);
        assert_eq!(find("part/verdict").topic, "plant/cell/part/verdict");
        assert_eq!(find("/result").payload["replayed"], false);

        wait_until("all is acknowledged", || plant.health.counters.acknowledged.load(Relaxed) == 3);
        assert_eq!(plant.health.counters.published.load(Relaxed), 3);
    });
}

#[test]
fn status_and_counters_are_kept_by_the_broker_and_verdicts_are_not() {
    let broker = Mosquitto::start();
    with_publisher(&mqtt(broker.port), |plant| {
        wait_until("connected", || plant.health.broker_connected.load(Relaxed));
        plant.send(verdict(1, Outcome::Good));
        wait_until("all is acknowledged", || plant.health.counters.acknowledged.load(Relaxed) == 2);
        let latecomer = Subscriber::start(broker.port);
        let seen = latecomer.collect_until("heartbeat", is("/heartbeat"));
        let mut kept: Vec<_> = seen.iter().filter(|m| m.retained).map(|m| m.topic.as_str()).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["plant/cell/counters", "plant/cell/status"]);
        assert!(seqs(&seen, "/verdict").is_empty());
    });
}

#[test]
fn the_status_follows_the_cameras() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    with_publisher(&mqtt(broker.port), |plant| {
        subscriber.wait_for("ready", status("READY"));
        plant.health.cameras[0].set_state(CameraState::Lost);
        let lost = subscriber.wait_for("lost", status("ERROR"));
        assert_eq!(lost.payload["reasons"], Value::from(vec!["CAMERA_LOST top"]));
    });
}

#[test]
fn a_late_verdict_goes_to_result_alone() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    with_publisher(&mqtt(broker.port), |plant| {
        subscriber.wait_for("ready", status("READY"));
        plant.send(verdict(1, Outcome::NotInspected(Reason::Timeout)));
        let mut late = verdict(1, Outcome::Good);
        late.late = true;
        plant.send(late);
        let is_late = |m: &Message| is("/result")(m) && m.payload["late"] == true;
        let mut seen = subscriber.collect_until("late result", is_late);
        plant.send(verdict(2, Outcome::Good));
        seen.extend(subscriber.collect_until("next result", result(2)));
        assert_eq!(seqs(&seen, "/verdict"), [1, 2]);
        assert_eq!(seqs(&seen, "/result"), [1, 1, 2]);
    });
}

#[test]
fn a_clean_stop_delivers_everything_and_leaves_offline_behind() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    with_publisher(&mqtt(broker.port), |plant| {
        subscriber.wait_for("ready", status("READY"));
        (1..=100).for_each(|seq| plant.send(verdict(seq, Outcome::Good)));
        plant.stop();
        let seen = subscriber.collect_until("offline", status("OFFLINE"));
        assert_eq!(seen.last().unwrap().payload["reasons"], Value::from(vec!["STOPPED"]));
        assert_eq!(seqs(&seen, "/verdict"), (1..=100).collect::<Vec<_>>());
        assert_eq!(seqs(&seen, "/result"), (1..=100).collect::<Vec<_>>());
        assert_eq!(seen.iter().rfind(|m| is("/counters")(m)).unwrap().payload["results_queued"], 0);
        assert_eq!(plant.health.counters.results_dropped.load(Relaxed), 0);
    });
    let latecomer = Subscriber::start(broker.port);
    let kept = latecomer.wait_for("status", is("/status"));
    assert!(kept.retained && kept.payload["state"] == "OFFLINE" && kept.payload["reasons"][0] == "STOPPED");
}

#[test]
fn the_heartbeat_counts_and_balances() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    with_publisher(&mqtt(broker.port), |plant| {
        plant.health.counters.triggers.fetch_add(3, Relaxed);
        plant.health.counters.outcomes.count(Outcome::Good);
        plant.health.counters.outcomes.count(Outcome::NotInspected(Reason::Timeout));
        let first = subscriber.wait_for("heartbeat", |m| is("/heartbeat")(m) && m.payload["ok"] == 1).payload;
        let next = subscriber.wait_for("the next", is("/heartbeat")).payload;
        assert_eq!(next["beat"].as_u64().unwrap(), first["beat"].as_u64().unwrap() + 1);
        assert_eq!(
            (&next["triggers"], &next["not_inspected"], &next["open"]),
            (&3.into(), &1.into(), &1.into())
        );
    });
}
