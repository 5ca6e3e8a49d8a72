//! The broker's side of a connection by hand.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::*;
use crate::publish::bulletin::Bulletin;
use crate::publish::payload::Origin;
use crate::publish::payload::counters::Delivery;
use crate::publish::payload::totals::Totals;
use crate::publish::topics::Topics;

/// What the broker has seen of the station.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    given: Vec<(String, String)>,
    says_goodbye: bool,
    is_open: bool,
}

#[derive(Debug)]
struct Line {
    wire: Wire,
    heard: Receiver<Heard>,
}

impl Network for Wire {
    fn open(&mut self, _mqtt: &Mqtt, _will: Will) -> Result<Box<dyn Link>, Failure> {
        *self.0.lock().unwrap() = Seen { is_open: true, ..Seen::default() };
        Ok(Box::new(Line { wire: self.clone(), heard: never() }))
    }
}

impl Link for Line {
    fn heard(&self) -> &Receiver<Heard> {
        &self.heard
    }

    fn publish(&mut self, topic: &str, _retain: bool, payload: Vec<u8>) -> Option<u64> {
        let given = &mut self.wire.0.lock().unwrap().given;
        given.push((topic.into(), String::from_utf8(payload).unwrap()));
        Some(given.len() as u64 - 1)
    }

    fn subscribe(&self, _filter: &str) -> bool {
        true
    }

    fn close(&self) {
        self.wire.0.lock().unwrap().says_goodbye = true;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.wire.0.lock().unwrap().is_open = false;
    }
}

fn at(seconds: u64) -> Moment {
    Moment { mono: Duration::from_secs(seconds), utc: SystemTime::UNIX_EPOCH }
}

fn mqtt() -> Mqtt {
    Mqtt {
        host: "broker".into(),
        port: 1883,
        prefix: "cell".into(),
        client_id: "cell".into(),
        keep_alive: Duration::from_secs(1),
        login: None,
        tls: None,
        retry: (Duration::from_millis(20), Duration::from_millis(200)),
        commands: true,
        commands_per_s: 100,
    }
}

/// A broker that listens to commands on `wire`.
fn broker<'a>(mqtt: &'a Mqtt, health: &'a Health, wire: &Wire) -> Broker<'a> {
    let will = Will { topic: "cell/status".into(), payload: Vec::new() };
    let filter = Some("cell/cmd/#".into());
    Broker::new((mqtt, health), will, filter, Box::new(wire.clone()), Pcg64::new(1, 1), at(0))
}

fn connect(broker: &mut Broker<'_>, now: Moment) {
    broker.attend(now);
    broker.hear(Ok(Heard::Connected), now);
    broker.attend(now);
}

#[test]
fn commands_go_unheard_for_longer_each_time_until_a_subscription_has_held() {
    let (mqtt, health, wire) = (mqtt(), Health::new([]), Wire::default());
    let mut broker = broker(&mqtt, &health, &wire);
    let mut now = 0;
    let mut pauses = Vec::new();
    for held in [0, 0, 9, 0, 11, 0] {
        connect(&mut broker, at(now));
        broker.hear(Ok(Heard::Subscribed(true)), at(now));
        now += held;
        let failure = Failure::TooLarge { broker: "broker".into(), bytes: 100_000 };
        let News::Deaf { retry_in, .. } = broker.hear(Ok(Heard::Lost(failure)), at(now)) else { panic!() };
        pauses.push(retry_in.as_secs());
        now += 3600;
    }
    for (pause, full) in pauses.iter().zip([60, 120, 240, 480, 60, 120]) {
        assert!((full * 3 / 4..=full).contains(pause), "{pauses:?}");
    }
}

/// What becomes of a station that stops while so many verdicts are not acknowledged.
fn stop_with(unacknowledged: usize) -> (Wire, bool) {
    let (mqtt, health, wire) = (mqtt(), Health::new([]), Wire::default());
    let mut broker = broker(&mqtt, &health, &wire);
    connect(&mut broker, at(0));
    for _ in 0..unacknowledged {
        assert!(broker.give(Parcel::Verdict, "cell/top/verdict", false, b"{}".into(), at(0)));
    }
    let origin = Origin { station: "cell", product: "cover", boot_id: "boot", config_sha256: "c0ffee" };
    let delivery = Delivery { last_seq: None, before: Totals::default() };
    // The broker has been stuck for long.
    Bulletin::new(&health, origin).last_words(&mut broker, &Topics::new("cell"), delivery, at(10));
    broker.close();
    let is_open = broker.is_connected();
    (wire, is_open)
}

#[test]
fn that_nobody_is_there_is_the_last_word_though_the_broker_is_slow() {
    for unacknowledged in [0, OTHERS, usize::from(WINDOW) - 1] {
        let (wire, is_open) = stop_with(unacknowledged);
        let seen = wire.0.lock().unwrap();
        let (topic, payload) = seen.given.last().unwrap();
        assert!(topic == "cell/status" && payload.contains("OFFLINE"), "{topic}: {payload}");
        assert!(is_open && seen.says_goodbye);
    }
}

#[test]
fn a_connection_without_room_for_the_last_word_is_broken_off_and_the_last_will_speaks() {
    let (wire, is_open) = stop_with(WINDOW.into());
    let seen = wire.0.lock().unwrap();
    assert!(!seen.says_goodbye && !seen.is_open && !is_open);
}
