//! Triggers by command at random moments: one verdict for each, with its own name on it.

use std::io::{self, Write};
use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg64;

use super::account::{Record, number};
use super::outbox::at_least;
use super::{Daemon, Station};
use crate::mosquitto::sender::Sender;
use crate::mosquitto::subscriber::{Message, Subscriber};
use crate::mosquitto::{Mosquitto, pause_for};

/// How many triggers come, and how often the station is stopped: more for a longer trial.
const TRIGGERS: (&str, u64) = ("CSFLOWD_TEST_TRIGGERS", 300);
const STOPS: (&str, u64) = ("CSFLOWD_TEST_STOPS", 2);

/// Two hundred frames a second, of which a command takes the first after it.
fn station(port: u16) -> Station {
    let camera = "[[camera]]\nid = \"top\"\npipeline = \"files.launch\"\ntrigger = \"command\"\nwindow_ms = 100\nstall_s = 60\n\
                  [camera.source]\nkind = \"files\"\nfolder = \"images\"\nrate_hz = 200\nrepeat = true\n";
    Station::new(port, "").with_camera(camera).with_parts(3, 1)
}

fn start(station: &Station, subscriber: &Subscriber) -> Daemon {
    let daemon = station.start(&["--set", "mqtt.commands=true", "--set", "mqtt.commands_per_s=1000"]).ready();
    subscriber.wait_for("status READY", |m| m.topic == "plant/status" && m.payload["state"] == "READY");
    daemon
}

fn command(number: u64) -> String {
    format!(r#"{{"camera":"top","part":"P{number}","trig":{number},"id":"{number}"}}"#)
}

/// What came until the end, and that each message has the part that belongs to its trigger.
#[track_caller]
fn record(subscriber: &Subscriber, mut seen: Vec<Message>) -> Record {
    seen.extend(
        subscriber
            .collect_until("the stop", |m| m.topic == "plant/status" && m.payload["state"] == "OFFLINE"),
    );
    let record = Record::of(&seen);
    record.assert_balances();
    for (messages, key, part) in
        [(&record.verdicts, "trig", "part"), (&record.results, "trigger_id", "part_id")]
    {
        for message in messages {
            assert_eq!(message[part], format!("P{}", number(message, key)), "{message}");
        }
    }
    record
}

#[test]
fn triggers_at_random_moments_have_one_verdict_each() {
    // Otherwise it hands out commands in clumps, and most of them are ambiguous.
    let broker = Mosquitto::with_settings("allow_anonymous true\nset_tcp_nodelay true\n", &[]);
    let (subscriber, sender) = (Subscriber::start(broker.port), Sender::start(broker.port));
    let station = station(broker.port);
    let mut daemon = start(&station, &subscriber);
    let (mut rng, triggers) = (Pcg64::new(1, 1), at_least(TRIGGERS));
    for n in 0..triggers {
        sender.send("plant/cmd/trigger", &command(n), false);
        // Every now and then two at once.
        pause_for(Duration::from_millis(rng.random_range(0_u64..60).saturating_sub(5)));
        if n % 100 == 0 {
            daemon.notices_so_far();
        }
    }
    let seen = subscriber.collect_until("the last verdict", |m| {
        m.topic == "plant/top/verdict" && number(&m.payload, "trig") == triggers - 1
    });
    daemon.stop();
    let record = record(&subscriber, seen);
    assert_eq!(record.count("/triggers"), triggers);
    assert_eq!(record.count("/commands_refused"), 0);
    drop(writeln!(io::stderr().lock(), "{}", record.counters));
}

#[test]
fn a_stop_among_triggers_leaves_none_that_was_accepted_without_a_verdict() {
    let broker = Mosquitto::start();
    let (subscriber, sender) = (Subscriber::start(broker.port), Sender::start(broker.port));
    let station = station(broker.port);
    for _ in 0..at_least(STOPS) {
        let mut daemon = start(&station, &subscriber);
        for n in 0..200 {
            if n == 100 {
                daemon.signal("TERM");
            }
            sender.send("plant/cmd/trigger", &command(n), false);
        }
        daemon.expect_good_end();
        let record = record(&subscriber, Vec::new());
        let accepted = record.count("/commands_accepted");
        assert_eq!(record.count("/triggers"), accepted, "{}", record.counters);
    }
}
