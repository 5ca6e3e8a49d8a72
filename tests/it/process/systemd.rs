//! What systemd is told and what it may ask: readiness, progress, the end.

use std::fs;

use super::account::Record;
use super::{Daemon, Station};
use crate::mosquitto::subscriber::Subscriber;
use crate::mosquitto::{Mosquitto, wait_until};

#[test]
fn ready_is_told_when_the_model_is_loaded_and_not_before() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "repeat = true").with_parts(1, 0);
    let mut daemon = station.start(&[]).ready();
    assert!(daemon.log().contains("MODEL_READY"), "{}", daemon.log());
    let status = daemon.wait_notice("STATUS=");
    assert!(status.contains("of 1 cameras running, broker "), "{status}");
    daemon.stop();
    daemon.wait_notice("STOPPING=1");
}

#[test]
fn the_watchdog_is_fed_while_every_stage_goes_on() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "repeat = true").with_parts(1, 0);
    let mut command = station.command("run", &[]);
    command.env("WATCHDOG_USEC", "4000000");
    let daemon = Daemon::start(command, station.folder.path()).ready();
    for _ in 0..3 {
        daemon.wait_notice("WATCHDOG=1");
    }
}

#[test]
fn without_a_watchdog_nothing_is_fed() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 20").with_parts(1, 0);
    let mut daemon = station.start(&[]).ready();
    daemon.expect_good_end();
    let notices = daemon.notices_so_far();
    assert!(notices.contains("STOPPING=1") && !notices.contains("WATCHDOG=1"), "{notices}");
}

#[test]
fn a_stop_answers_all_that_was_taken_and_leaves_the_status_offline() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 100\nrepeat = true").with_parts(3, 3);
    let (watcher, subscriber) = (Subscriber::start(broker.port), Subscriber::start(broker.port));
    let mut daemon = station.start(&[]).ready();
    watcher.wait_for("a judged part", |m| m.topic == "plant/top/result" && m.payload["code"] == 0);
    daemon.stop();
    let record = Record::until_offline(&subscriber);
    record.assert_balances();
    assert_eq!(record.count("/last_seq"), record.count("/triggers"));

    let late_comer = Subscriber::start(broker.port);
    let status = late_comer.wait_for("the retained status", |m| m.topic == "plant/status");
    assert!(status.retained);
    assert_eq!(status.payload["state"], "OFFLINE");
    assert_eq!(status.payload["reasons"][0], "STOPPED");
}

#[test]
fn killed_without_warning_the_broker_says_offline_for_it() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "repeat = true").with_parts(1, 0);
    let subscriber = Subscriber::start(broker.port);
    let daemon = station.start(&[]).ready();
    subscriber.wait_for("status READY", |m| m.topic == "plant/status" && m.payload["state"] == "READY");
    daemon.signal("KILL");
    let status = subscriber
        .wait_for("the last will", |m| m.topic == "plant/status" && m.payload["state"] == "OFFLINE");
    assert_eq!(status.payload["reasons"][0], "CONNECTION_LOST");
}

#[test]
fn a_second_stop_signal_ends_a_station_that_is_still_draining() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 50\nrepeat = true").with_parts(2, 0);
    let subscriber = Subscriber::start(broker.port);
    let mut daemon = station.start(&[]).ready();
    subscriber.wait_for("a result", |m| m.topic == "plant/top/result");
    // Results that nobody acknowledges keep it waiting.
    broker.freeze();
    daemon.signal("TERM");
    daemon.wait_notice("STOPPING=1");
    daemon.signal("TERM");
    let status = daemon.wait();
    broker.thaw();
    assert_eq!(status.code(), Some(128 + 15), "{status}");
}

#[test]
fn a_network_that_hangs_is_answered_for_in_time_and_starves_the_watchdog() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 10\nrepeat = true").with_parts(1, 0);
    station.set_product("deadline_ms = 500\n");
    let subscriber = Subscriber::start(broker.port);
    let mut command = station.command("run", &[]);
    command.env("WATCHDOG_USEC", "2000000").env("CSFLOWD_TEST_HANG_AT_FRAME", "5");
    let daemon = Daemon::start(command, station.folder.path()).ready();
    let verdict =
        subscriber.wait_for("TIMEOUT", |m| m.topic == "plant/top/verdict" && m.payload["code"] == 20).payload;
    assert!(verdict["lat_ms"].as_f64().unwrap() >= 494.0, "{verdict}");
    wait_until("the watchdog is not fed any more", || {
        daemon.log().contains("inference makes no progress: the watchdog is not fed")
    });
    drop(daemon.notices_so_far());
    for _ in 0..20 {
        // Once the queue is full, the next ones are answered at once.
        let verdict = subscriber.wait_for("another one", |m| m.topic == "plant/top/verdict").payload;
        assert!(verdict["code"] == 20 || verdict["code"] == 12, "{verdict}");
    }
    let notices = daemon.notices_so_far();
    assert!(!notices.contains("WATCHDOG=1"), "{notices}");
}

#[test]
fn threads_that_wait_sleep_unless_the_environment_says_otherwise() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "repeat = true").with_parts(1, 0);
    for (given, expected) in [(None, (Some("passive"), true)), (Some("active"), (Some("active"), false))] {
        let mut command = station.command("run", &[]);
        command.env_remove("OMP_WAIT_POLICY").env_remove("GOMP_SPINCOUNT");
        command.envs(given.map(|policy| ("OMP_WAIT_POLICY", policy)));
        let daemon = Daemon::start(command, station.folder.path()).ready();
        let environment = fs::read(format!("/proc/{}/environ", daemon.child.id())).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let set = environment.split('\0').find_map(|entry| entry.strip_prefix("OMP_WAIT_POLICY="));
        let spins = environment.split('\0').any(|entry| entry.starts_with("GOMP_SPINCOUNT="));
        assert_eq!((set, spins), expected);
    }
}
