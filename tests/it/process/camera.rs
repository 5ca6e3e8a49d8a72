//! A camera that is a process of its own: it dies, hangs and comes back while triggers go on.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use super::Station;
use super::account::{Record, number};
use crate::mosquitto::sender::Sender;
use crate::mosquitto::subscriber::{Message, Subscriber};
use crate::mosquitto::{Mosquitto, PATIENCE, free_port, signal, wait_until};

/// The station's end of the camera.
const PIPELINE: &str = "tcpclientsrc host=127.0.0.1 port=${port}
  ! rawvideoparse format=rgb width=96 height=64 framerate=20/1 ! appsink name=frames";

const CAMERA: &str = "[[camera]]\nid = \"top\"\npipeline = \"remote.launch\"\nwidth = 96\nheight = 64\ntrigger = \"command\"\n\
                      window_ms = 1000\nstall_s = 5\nfrozen_after = 0\nretry_first_s = 0.05\nretry_max_s = 0.2\n";

/// A grey that the bundle calls good, and noise.
const GOOD: [&str; 2] = ["pattern=solid-color", "foreground-color=0xff828282"];
const BAD: [&str; 2] = ["pattern=snow", "foreground-color=0xff000000"];

/// A process that shows one picture twenty times a second to whoever connects; killed when dropped.
struct Lens(Child);

impl Lens {
    /// It takes connections when this returns.
    fn start(port: u16, picture: [&str; 2]) -> Self {
        let text = format!("port={port}");
        let mut child = Command::new("gst-launch-1.0")
            .args(["-q", "videotestsrc", "is-live=true"])
            .args(picture)
            .args(["!", "video/x-raw,format=RGB,width=96,height=64,framerate=20/1"])
            .args(["!", "tcpserversink", "host=127.0.0.1", &text])
            .stdout(Stdio::null())
            .spawn()
            .expect("gst-launch-1.0 is not installed");
        wait_until("the camera takes connections", || {
            assert!(child.try_wait().unwrap().is_none(), "the camera does not start");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        Self(child)
    }
}

impl Drop for Lens {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The PLC: it asks for a part, waits for the verdict and asks for the next.
struct Plc {
    sender: Sender,
    subscriber: Subscriber,
    seen: Vec<Message>,
    asked: u64,
}

impl Plc {
    #[track_caller]
    fn wait(&mut self, what: &str, is_so: impl Fn(&[Message]) -> bool) {
        while !is_so(&self.seen) {
            let message = self.subscriber.messages.recv_timeout(PATIENCE);
            self.seen.push(message.unwrap_or_else(|_| panic!("in vain: {what}; seen: {:#?}", self.seen)));
        }
    }

    /// Waits until the station says that it is in this state.
    #[track_caller]
    fn wait_state(&mut self, state: &str) {
        self.wait(state, |seen| {
            let status = seen.iter().rfind(|m| m.topic == "plant/status");
            status.is_some_and(|m| m.payload["state"] == state)
        });
    }

    /// `ev` and `code` for the next part.
    #[track_caller]
    fn ask(&mut self) -> (u64, u64) {
        let trig = self.asked;
        self.asked += 1;
        let command = format!(r#"{{"camera":"top","part":"P{trig}","trig":{trig}}}"#);
        self.sender.send("plant/cmd/trigger", &command, false);
        let is_answer = |m: &&Message| m.topic == "plant/top/verdict" && m.payload["trig"] == trig;
        self.wait("a verdict", |seen| seen.iter().rfind(is_answer).is_some());
        let verdict = &self.seen.iter().rfind(is_answer).unwrap().payload;
        assert_eq!(verdict["part"], format!("P{trig}"));
        (number(verdict, "ev"), number(verdict, "code"))
    }

    /// Asks until a part was looked at, and says what it is.
    #[track_caller]
    fn ask_until_judged(&mut self) -> u64 {
        // On a busy machine a frame may come too late for a command.
        for _ in 0..PATIENCE.as_secs() {
            if let (evaluation, 0) = self.ask() {
                return evaluation;
            }
        }
        panic!("no part is looked at")
    }
}

#[test]
fn a_camera_process_that_dies_or_hangs_costs_no_trigger_its_verdict() {
    let broker = Mosquitto::start();
    let port = free_port();
    let station =
        Station::new(broker.port, "").with_camera(&format!("{CAMERA}parameters = {{ port = {port} }}\n"));
    station.write("pipelines/remote.launch", PIPELINE);
    let (sender, subscriber) = (Sender::start(broker.port), Subscriber::start(broker.port));
    let mut plc = Plc { sender, subscriber, seen: Vec::new(), asked: 0 };

    let lens = Lens::start(port, GOOD);
    let mut daemon = station.start(&["--set", "mqtt.commands=true"]).ready();
    plc.wait_state("READY");
    assert_eq!(plc.ask_until_judged(), 1);

    drop(lens);
    plc.wait_state("ERROR");
    for _ in 0..3 {
        assert_eq!(plc.ask(), (0, 10), "NO_FRAME");
    }

    let lens = Lens::start(port, BAD);
    plc.wait_state("READY");
    assert_eq!(plc.ask_until_judged(), 2, "no picture from before answers");

    signal(&lens.0, "STOP");
    // Nobody knows yet.
    for _ in 0..3 {
        assert_ne!(plc.ask().0, 1);
    }
    plc.wait_state("ERROR");
    assert_eq!(plc.ask(), (0, 10), "NO_FRAME");

    signal(&lens.0, "CONT");
    plc.wait_state("READY");
    assert_eq!(plc.ask_until_judged(), 2);

    daemon.stop();
    let Plc { subscriber, mut seen, asked, .. } = plc;
    seen.extend(
        subscriber
            .collect_until("the stop", |m| m.topic == "plant/status" && m.payload["state"] == "OFFLINE"),
    );
    let record = Record::of(&seen);
    record.assert_balances();
    assert_eq!(record.count("/triggers"), asked);
    assert!(record.count("/camera_reconnects") >= 2, "{}", record.counters);
    for event in ["CAMERA_LOST", "CAMERA_BACK"] {
        assert!(
            record.events.iter().filter(|told| told["event"] == event).count() >= 2,
            "{:?}",
            record.events
        );
    }
}
