//! The number of a verdict never comes twice, whatever ends the process.

use std::process::Command;

use super::Station;
use super::account::{Record, number};
use crate::mosquitto::Mosquitto;
use crate::mosquitto::subscriber::Subscriber;

fn seqs(record: &Record) -> Vec<u64> {
    record.results.iter().map(|result| number(result, "seq")).collect()
}

#[test]
fn numbers_go_on_where_the_last_run_stopped() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 50").with_parts(3, 0);
    let subscriber = Subscriber::start(broker.port);
    station.start(&[]).expect_good_end();
    let first = Record::until_offline(&subscriber);
    assert_eq!(seqs(&first), [1, 2, 3]);
    station.start(&[]).expect_good_end();
    let second = Record::until_offline(&subscriber);
    assert_eq!(seqs(&second), [4, 5, 6]);
    assert_ne!(first.results[0]["boot_id"], second.results[0]["boot_id"]);
}

#[test]
fn after_a_kill_numbers_are_skipped_and_none_is_used_again() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 50\nrepeat = true").with_parts(3, 0);
    let subscriber = Subscriber::start(broker.port);
    let daemon = station.start(&[]).ready();
    let result = |m: &crate::mosquitto::subscriber::Message| m.topic == "plant/top/result";
    let first = subscriber.wait_for("a result", result).payload;
    let mut seen = vec![number(&first, "seq")];
    daemon.signal("KILL");
    // The broker speaks for the dead: nothing of the first run comes after that.
    let rest = subscriber
        .collect_until("the last will", |m| m.topic == "plant/status" && m.payload["state"] == "OFFLINE");
    let numbered = rest.iter().filter(|m| m.topic.starts_with("plant/top/"));
    seen.extend(numbered.map(|m| number(&m.payload, "seq")));
    drop(daemon);

    station.start(&["--frames", "3"]).expect_good_end();
    let second = Record::until_offline(&subscriber);
    let last = seen.into_iter().max().unwrap();
    // Results of the first run that the broker had not acknowledged come once more.
    let (again, new): (Vec<_>, Vec<_>) =
        second.results.iter().partition(|result| result["boot_id"] == first["boot_id"]);
    assert!(again.iter().all(|result| result["replayed"] == true), "{again:#?}");
    let new: Vec<_> = new.into_iter().map(|result| number(result, "seq")).collect();
    assert_eq!(new.len(), 3);
    assert!(new.iter().all(|&seq| seq > last), "{new:?} after {last}");
}

#[test]
fn on_a_full_disk_a_station_does_not_start_and_with_room_it_goes_on_where_it_was() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 50").with_parts(3, 0);
    let subscriber = Subscriber::start(broker.port);
    station.start(&[]).expect_good_end();
    assert_eq!(seqs(&Record::until_offline(&subscriber)), [1, 2, 3]);

    // Not a byte can be written: numbers cannot be reserved, and would come twice after a crash.
    let csflowd = station.command("run", &[]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]);
    let output = limited.arg(csflowd.get_program()).args(csflowd.get_args()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{text}");
    assert!(text.contains("state/seq, which keeps the verdict counter"), "{text}");

    station.start(&[]).expect_good_end();
    assert_eq!(seqs(&Record::until_offline(&subscriber)), [4, 5, 6]);
}
