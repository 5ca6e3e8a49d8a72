//! The broker freezes or loses all it had while parts go by.

use std::cell::Cell;
use std::time::UNIX_EPOCH;

use csflowd::clock::{Clock, SystemClock};
use serde_json::Value;

use super::account::{Record, number};
use super::outbox::{at_least, kept, seqs, wait_kept};
use super::{Daemon, Station};
use crate::mosquitto::cable::Cable;
use crate::mosquitto::subscriber::{Message, Subscriber};
use crate::mosquitto::{Mosquitto, wait_until};

const LINE: &str = "rate_hz = 20\nrepeat = true";

/// How many times the broker breaks: more for a longer trial.
const OUTAGES: (&str, u64) = ("CSFLOWD_TEST_OUTAGES", 2);

/// Results that come while it is away.
const MISSED: u64 = 20;

/// The messages up to the `count`-th result that goes out at once.
fn collect_results(subscriber: &Subscriber, count: u32) -> Vec<Message> {
    let n = Cell::new(0);
    subscriber.collect_until("results", |m| {
        n.set(n.get() + u32::from(m.topic == "plant/top/result" && m.payload["replayed"] == false));
        n.get() == count
    })
}

/// Stops the station and takes in all that came until then: bad parts are bad, good ones are not.
#[track_caller]
fn finish(subscriber: &Subscriber, mut daemon: Daemon, mut seen: Vec<Message>) -> Record {
    daemon.stop();
    seen.extend(subscriber.collect_until("the stop", |m| {
        m.topic == "plant/status" && m.payload["reasons"] == Value::from(vec!["STOPPED"])
    }));
    let record = Record::of(&seen);
    record.assert_promise();
    for result in record.results.iter().filter(|result| result["code"] == 0) {
        let is_good = result["part_id"].as_str().unwrap().starts_with("good");
        assert_eq!(result["evaluation"], if is_good { 1 } else { 2 }, "{result}");
    }
    assert_eq!(record.count("/results_queued"), 0, "{}", record.counters);
    record
}

fn captured_ms(verdict: &Value) -> u128 {
    u128::from(number(verdict, "ts_s")) * 1000 + u128::from(number(verdict, "ts_ms"))
}

#[test]
fn a_broker_that_freezes_costs_no_result_and_gets_no_verdict_when_its_part_is_gone() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, LINE).with_parts(2, 1);
    let subscriber = Subscriber::start(broker.port);
    let daemon = station.start(&["--set", "mqtt.keep_alive_s=1"]).ready();
    let (clock, mut seen) = (SystemClock::start(), Vec::new());
    for outage in 1..=at_least(OUTAGES) {
        seen.extend(collect_results(&subscriber, 10));
        daemon.notices_so_far();
        broker.freeze();
        wait_until("the loss is noticed", || daemon.notices_so_far().contains("broker away"));
        let noticed_ms = clock.now().utc.duration_since(UNIX_EPOCH).unwrap().as_millis();
        wait_kept(&station, &daemon, number(&kept(&station, &[]), "matched") + MISSED);
        let last = seqs(&kept(&station, &[])).pop().unwrap();
        broker.thaw();
        seen.extend(subscriber.collect_until("a later verdict", |m| {
            m.topic == "plant/top/verdict" && number(&m.payload, "seq") > last
        }));
        // What was given to the connection before the loss was known may still arrive.
        for m in seen.iter().filter(|m| m.topic == "plant/top/verdict") {
            let came_while_away = captured_ms(&m.payload) > noticed_ms && number(&m.payload, "seq") <= last;
            assert!(!came_while_away, "outage {outage}: {m:?}");
        }
        let status = Subscriber::start(broker.port).wait_for("status", |m| m.topic == "plant/status");
        assert_ne!(status.payload["state"], "OFFLINE", "the last will is the last word");
    }
    let record = finish(&subscriber, daemon, seen);
    assert!(record.count("/verdicts_unsent") > 0 && record.count("/replayed") > 0, "{}", record.counters);
}

#[test]
fn a_broker_that_forgets_everything_in_mid_stream_costs_no_result() {
    let mut broker = Mosquitto::start();
    let cable = Cable::to(broker.port);
    let station = Station::new(cable.port, LINE).with_parts(2, 1);
    let subscriber = Subscriber::start(broker.port);
    let daemon = station.start(&[]).ready();
    let mut seen = Vec::new();
    for _ in 0..at_least(OUTAGES) {
        seen.extend(collect_results(&subscriber, 10));
        broker.kill();
        // So that the subscriber is back first: the broker keeps nothing for it.
        cable.cut();
        wait_kept(&station, &daemon, number(&kept(&station, &[]), "matched") + MISSED);
        broker.restart();
        subscriber.wait_subscribed();
        cable.mend();
    }
    seen.extend(collect_results(&subscriber, 10));
    let record = finish(&subscriber, daemon, seen);
    assert!(record.count("/verdicts_unsent") > 0 && record.count("/replayed") > 0, "{}", record.counters);
}
