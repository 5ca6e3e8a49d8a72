//! The station runs, whatever the broker does.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::Station;
use crate::mosquitto::subscriber::Subscriber;
use crate::mosquitto::{Mosquitto, wait_until};

#[test]
fn a_broker_that_comes_later_gets_what_was_judged_before() {
    let mut broker = Mosquitto::start();
    broker.kill();
    let station = Station::new(broker.port, "rate_hz = 20\nrepeat = true").with_parts(2, 1);
    let mut daemon = station.start(&[]).ready();
    wait_until("the broker is missed", || daemon.log().contains("no TCP connection to broker 127.0.0.1"));
    assert!(daemon.is_running());

    broker.restart();
    let subscriber = Subscriber::start(broker.port);
    subscriber.wait_for("a verdict", |m| m.topic == "plant/top/verdict");
    daemon.stop();
}

#[test]
fn a_wrong_password_is_said_and_the_station_goes_on() {
    let broker = Mosquitto::with_password("cell", "right");
    let station = Station::new(broker.port, "rate_hz = 20\nrepeat = true").with_parts(1, 0);
    station.write("password", "wrong\n");
    fs::set_permissions(station.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let login = ["--set", "mqtt.username=cell", "--set", "mqtt.password_file=password"];
    let mut daemon = station.start(&login).ready();
    wait_until("the refusal is told", || daemon.log().contains("refused the login"));
    assert!(!daemon.log().contains("wrong"), "no log shows a password: {}", daemon.log());
    assert!(daemon.is_running());
    daemon.stop();
}
