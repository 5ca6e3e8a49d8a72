//! What the publisher does when the broker is killed, frozen, cut off, absent, or refuses.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use csflowd::publish::outbox::disk::Folder;
use csflowd::publish::outbox::read::{Wanted, read};
use csflowd::verdict::Outcome;
use serde_json::Value;

use super::rig::{self, mqtt, verdict, with_publisher};
use super::{result, seqs, status};
use crate::mosquitto::cable::Cable;
use crate::mosquitto::subscriber::{Message, Subscriber};
use crate::mosquitto::{Mosquitto, wait_until};

/// Bytes, more than any of these needs.
const ROOM: u64 = 256_000_000;

/// The numbers in the order in which each came first.
fn first_time(seqs: &[u64]) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    seqs.iter().copied().filter(|&seq| seen.insert(seq)).collect()
}

#[track_caller]
fn assert_no_repeats(seqs: &[u64]) {
    assert_eq!(first_time(seqs), seqs);
}

#[test]
fn a_cut_connection_shows_as_offline_until_the_station_is_back() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    let cable = Cable::to(broker.port);
    with_publisher(&mqtt(cable.port), |plant| {
        subscriber.wait_for("ready", status("READY"));
        cable.cut();
        let will = subscriber.wait_for("last will", status("OFFLINE"));
        assert_eq!(will.payload["reasons"], Value::from(vec!["CONNECTION_LOST"]));
        wait_until("the loss is noticed", || !plant.health.broker_connected.load(Relaxed));
        cable.mend();
        subscriber.wait_for("ready again", status("READY"));
        subscriber.wait_for("event", |m| m.payload["event"] == "BROKER_BACK");
    });
}

#[test]
fn a_killed_broker_costs_no_result_and_repeats_no_verdict() {
    let mut broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    let cable = Cable::to(broker.port);
    with_publisher(&mqtt(cable.port), |plant| {
        subscriber.wait_for("ready", status("READY"));
        (1..=100).for_each(|seq| plant.send(verdict(seq, Outcome::Good)));
        let mut seen = subscriber.collect_until("some results", result(20));
        cable.cut();
        broker.kill();
        wait_until("the loss is noticed", || !plant.health.broker_connected.load(Relaxed));
        (101..=200).for_each(|seq| plant.send(verdict(seq, Outcome::Good)));
        wait_until("all are taken", || plant.is_drained());

        broker.restart();
        subscriber.wait_subscribed();
        cable.mend();
        wait_until("connected", || plant.health.broker_connected.load(Relaxed));
        (201..=300).for_each(|seq| plant.send(verdict(seq, Outcome::Good)));
        seen.extend(subscriber.collect_until("the last result", result(300)));

        assert_eq!(first_time(&seqs(&seen, "/result")), (1..=300).collect::<Vec<_>>());
        let replayed = |seq| seen.iter().rfind(|m| result(seq)(m)).unwrap().payload["replayed"].clone();
        assert_eq!((replayed(1), replayed(150), replayed(300)), (false.into(), true.into(), false.into()));
        let verdicts = seqs(&seen, "/verdict");
        assert_no_repeats(&verdicts);
        assert!(!verdicts.iter().any(|seq| (101..=200).contains(seq)), "sent after their time: {verdicts:?}");
        assert!(plant.health.counters.verdicts_unsent.load(Relaxed) >= 100);
    });
}

#[test]
fn a_frozen_broker_does_not_hold_up_the_verdicts() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    with_publisher(&mqtt(broker.port), |plant| {
        subscriber.wait_for("ready", status("READY"));
        broker.freeze();
        // Taken without an answer from the broker: `send` fails when the channel stays full.
        (1..=2000).for_each(|seq| plant.send(verdict(seq, Outcome::Good)));
        wait_until("all are taken", || plant.is_drained());
        broker.thaw();
        let seen = subscriber.collect_until("the last result", result(2000));
        assert_eq!(first_time(&seqs(&seen, "/result")), (1..=2000).collect::<Vec<_>>());
        assert_no_repeats(&seqs(&seen, "/verdict"));
    });
}

#[test]
fn a_broker_that_is_frozen_for_long_is_given_up_and_found_again() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    with_publisher(&mqtt(broker.port), |plant| {
        subscriber.wait_for("ready", status("READY"));
        broker.freeze();
        wait_until("the loss is noticed", || !plant.health.broker_connected.load(Relaxed));
        plant.send(verdict(1, Outcome::Good));
        broker.thaw();
        let seen = subscriber.collect_until("the result", result(1));
        assert!(seqs(&seen, "/verdict").is_empty());
        assert_eq!(seen.last().unwrap().payload["replayed"], true);
    });
}

#[test]
fn the_publisher_stops_even_when_the_broker_is_frozen_and_the_next_run_delivers() {
    let broker = Mosquitto::start();
    let state = tempfile::tempdir().unwrap();
    rig::with_state(&mqtt(broker.port), state.path(), ROOM, |plant| {
        wait_until("connected", || plant.health.broker_connected.load(Relaxed));
        broker.freeze();
        (1..=10).for_each(|seq| plant.send(verdict(seq, Outcome::Good)));
        plant.stop();
        assert_eq!(plant.health.counters.results_dropped.load(Relaxed), 0);
        assert_eq!(plant.health.outbox.waiting.load(Relaxed), 10);
        assert!(plant.log().contains("wait for the next start"), "{}", plant.log());
    });
    broker.thaw();
    let subscriber = Subscriber::start(broker.port);
    rig::with_state(&mqtt(broker.port), state.path(), ROOM, |plant| {
        let mut seen = Vec::new();
        // What the broker had taken before it froze may come as well.
        let again = |m: &Message| result(10)(m) && m.payload["replayed"] == true;
        seen.extend(subscriber.collect_until("the last result", again));
        let replayed: Vec<_> = seen.into_iter().filter(|m| m.payload["replayed"] == true).collect();
        assert_eq!(seqs(&replayed, "/result"), (1..=10).collect::<Vec<_>>());
        wait_until("all is acknowledged", || plant.health.outbox.waiting.load(Relaxed) == 0);
        assert_eq!(plant.health.counters.replayed.load(Relaxed), 10);
    });
}

#[test]
fn a_broker_that_comes_late_gets_the_results_and_a_reason_was_logged() {
    let mut broker = Mosquitto::start();
    broker.kill();
    with_publisher(&mqtt(broker.port), |plant| {
        plant.send(verdict(1, Outcome::Good));
        wait_until("the verdict is taken", || plant.health.counters.verdicts_unsent.load(Relaxed) == 1);
        wait_until("the reason is logged", || plant.log().contains("no TCP connection to broker 127.0.0.1:"));
        broker.restart();
        wait_until("the result is delivered", || plant.health.counters.acknowledged.load(Relaxed) == 1);
    });
}

#[test]
fn a_full_outbox_drops_the_oldest_and_says_so() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    let cable = Cable::to(broker.port);
    cable.cut();
    let state = tempfile::tempdir().unwrap();
    rig::with_state(&mqtt(cable.port), state.path(), 200_000, |plant| {
        (1..=1000).for_each(|seq| plant.send(verdict(seq, Outcome::Good)));
        wait_until("the last is on disk, and what had to go for it is counted", || {
            let wanted = Wanted { part: None, camera: None, since_ms: 0, limit: 1 };
            let kept = read(&mut Folder::new(state.path().join("outbox")), &wanted).unwrap();
            kept.results.last().is_some_and(|newest| newest.entry.seq == 1000)
                && kept.matched + plant.health.counters.results_dropped.load(Relaxed) == 1000
        });
        let dropped = plant.health.counters.results_dropped.load(Relaxed);
        cable.mend();
        let seen = subscriber.collect_until("the last result", result(1000));
        assert_eq!(seqs(&seen, "/result"), (dropped + 1..=1000).collect::<Vec<_>>());
        let told = |m: &Message| m.payload["event"] == "RESULTS_DROPPED";
        assert!(seen.iter().any(told) || told(&subscriber.wait_for("event", told)));
    });
    let files = std::fs::read_dir(state.path().join("outbox")).unwrap();
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= 200_000, "{bytes}");
}

#[test]
fn a_wrong_password_is_reported_once_and_tried_again_until_it_is_right() {
    let broker = Mosquitto::with_password("station", "another");
    with_publisher(&rig::with_login(mqtt(broker.port), "station", "secret"), |plant| {
        let refusals = || broker.log().matches("not authorised").count();
        wait_until("several tries", || refusals() >= 4);
        assert!(!plant.health.broker_connected.load(Relaxed));
        assert_eq!(plant.log().matches("refused the login").count(), 1, "{}", plant.log());
        assert!(plant.log().contains("check the user name and password under [mqtt]"));
        broker.set_password("station", "secret");
        wait_until("connected", || plant.health.broker_connected.load(Relaxed));
        assert!(!plant.log().contains("secret"));
    });
}
