//! Parts announced by command, and parts that two cameras see.

use super::{Daemon, Station};
use crate::mosquitto::Mosquitto;
use crate::mosquitto::sender::Sender;
use crate::mosquitto::subscriber::{Message, Subscriber};

/// Two cameras that are triggered by command and see one part: `top` a good side, `side` what is in `side_images`.
fn station(port: u16, rates_hz: [f64; 2], side_images: &str) -> Station {
    let camera = |id: &str, folder: &str, rate_hz: f64| {
        format!(
            "[[camera]]\nid = \"{id}\"\npipeline = \"files.launch\"\ntrigger = \"command\"\nwindow_ms = 5000\n\
             stall_s = 60\n[camera.source]\nkind = \"files\"\nfolder = \"{folder}\"\nrate_hz = {rate_hz}\nrepeat = true\n"
        )
    };
    let group = "[[group]]\nname = \"cover\"\ncameras = [\"top\", \"side\"]\nwindow_ms = 500\n";
    let cameras = [camera("top", "good", rates_hz[0]), camera("side", side_images, rates_hz[1])].concat();
    let station = Station::new(port, "").with_camera(&[cameras.as_str(), group].concat());
    for (folder, picture) in [("good", crate::fixture::good(0)), ("bad", crate::fixture::bad(0))] {
        std::fs::create_dir_all(station.path(folder)).unwrap();
        crate::fixture::save(&station.path(folder).join("0.png"), &picture);
    }
    station
}

fn start(station: &Station, subscriber: &Subscriber) -> Daemon {
    let daemon = station.start(&["--set", "mqtt.commands=true"]).ready();
    subscriber.wait_for("cameras run", |m| m.topic == "plant/status" && m.payload["state"] == "READY");
    daemon
}

fn trigger(sender: &Sender, payload: &str) {
    sender.send("plant/cmd/trigger", payload, false);
}

fn of_part<'a>(leaf: &'a str, part: &'a str) -> impl Fn(&Message) -> bool + 'a {
    move |m| m.topic == format!("plant/{leaf}") && m.payload["part"] == part
}

/// What a verdict says of its trigger and outcome: `trig`, `ev`, `code`.
fn says(message: &Message) -> [Option<u64>; 3] {
    ["trig", "ev", "code"].map(|key| message.payload[key].as_u64())
}

#[test]
fn a_part_that_is_announced_has_its_name_on_each_verdict_and_passes_when_all_views_do() {
    let broker = Mosquitto::start();
    let (subscriber, sender) = (Subscriber::start(broker.port), Sender::start(broker.port));
    let station = station(broker.port, [20.0, 20.0], "good");
    let mut daemon = start(&station, &subscriber);
    trigger(&sender, r#"{"part":"A1","trig":7,"id":"x"}"#);
    let seen = subscriber.collect_until("part A1", of_part("part/verdict", "A1"));
    let verdicts: Vec<_> = seen.iter().filter(|m| m.topic.ends_with("/verdict")).collect();
    assert_eq!(verdicts.len(), 3, "no frame is a part by itself: {verdicts:?}");
    assert!(
        verdicts.iter().all(|m| says(m) == [Some(7), Some(1), Some(0)] && m.payload["part"] == "A1"),
        "{verdicts:?}"
    );
    assert_eq!(verdicts[2].payload["n"], 2);
    let answer = seen.iter().find(|m| m.topic == "plant/event" && m.payload["event"] == "COMMAND_ACCEPTED");
    assert_eq!(answer.expect("an answer").payload["id"], "x");
    daemon.stop();
}

#[test]
fn a_part_does_not_pass_when_one_view_is_bad_or_missing() {
    let broker = Mosquitto::start();
    let (subscriber, sender) = (Subscriber::start(broker.port), Sender::start(broker.port));
    let station = station(broker.port, [20.0, 20.0], "bad");
    station.set_product("deadline_ms = 20000\n");
    let mut daemon = start(&station, &subscriber);
    trigger(&sender, r#"{"part":"B1","trig":1}"#);
    let part = subscriber.wait_for("part B1", of_part("part/verdict", "B1"));
    assert_eq!((says(&part), &part.payload["cam"]), ([Some(1), Some(2), Some(0)], &"side".into()));

    // The PLC forgot one of the cameras.
    trigger(&sender, r#"{"camera":"top","part":"B2","trig":2}"#);
    let view = subscriber.wait_for("view B2", of_part("top/verdict", "B2"));
    assert_eq!(says(&view), [Some(2), Some(1), Some(0)]);
    let part = subscriber.wait_for("part B2", of_part("part/verdict", "B2"));
    assert_eq!(says(&part), [Some(2), Some(0), Some(60)], "VIEW_MISSING");
    daemon.stop();
}

#[test]
fn a_command_that_no_frame_answers_is_no_frame() {
    let broker = Mosquitto::start();
    let (subscriber, sender) = (Subscriber::start(broker.port), Sender::start(broker.port));
    // One frame, and then none for a long time.
    let station = station(broker.port, [0.01, 20.0], "good");
    let mut daemon = start(&station, &subscriber);
    trigger(&sender, r#"{"part":"C1","trig":3}"#);
    let view = subscriber.wait_for("view C1", of_part("top/verdict", "C1"));
    assert_eq!(says(&view), [Some(3), Some(0), Some(10)]);
    let part = subscriber.wait_for("part C1", of_part("part/verdict", "C1"));
    assert_eq!(says(&part), [Some(3), Some(0), Some(10)]);
    daemon.stop();
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
}
