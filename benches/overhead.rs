//! From a trigger to its verdict at a subscriber, without camera and network: ledger, publisher, outbox, broker.
//!
//! 200 triggers a second for a minute (`CSFLOWD_BENCH_S` sets the seconds), each judged at once; a real mosquitto on
//! loopback; results go to disk beside. Beside it in the same run a bare client publishes messages of the same size to
//! the same subscriber: what remains is ours. Expected: some hops between threads, tens of microseconds each, and syncs
//! that nobody waits for.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{Builder, scope};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never};
use csflowd::clock::{Clock, Moment, SystemClock};
use csflowd::config::mqtt::Mqtt;
use csflowd::config::outbox::Outbox;
use csflowd::events::Events;
use csflowd::frame::{CameraId, CaptureClock, Generation, Lease, Trigger, TriggerKey};
use csflowd::health::{Active, CameraState, Health};
use csflowd::ledger::book::Book;
use csflowd::ledger::sequence;
use csflowd::ledger::{self, Ledger, Report};
use csflowd::publish::payload::Origin;
use csflowd::publish::{self, Station};
use csflowd::verdict::{Judgement, Outcome, Reason, Recipe};
use hdrhistogram::Histogram;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::Value;

const PERIOD: Duration = Duration::from_millis(5);
const DEADLINE: Duration = Duration::from_secs(1);

fn main() {
    let seconds = std::env::var("CSFLOWD_BENCH_S").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let count: u64 = seconds * 200;
    let state = tempfile::tempdir().expect("a folder for the state");
    let (broker, port) = Broker::start(state.path());
    let clock = SystemClock::start();
    let arrivals = subscribe(port, clock);
    let (bare, stations) = scope(|scope| {
        let bare = scope.spawn(|| publish_bare(port, &clock, count));
        let stations = run_station(port, state.path(), &clock, count, &arrivals);
        (bare.join().expect("it does not panic"), stations)
    });
    drop(broker);
    say(&format!("trigger to subscriber over loopback, {count} triggers at 200/s, us"));
    report("csflowd: ledger, publisher, broker", &stations.ours);
    report("a bare client and the broker", &latencies(&bare, &stations.bare));
    say(&format!("{} of {} verdicts and results acknowledged", stations.acknowledged, 2 * count));
}

fn report(name: &str, histogram: &Histogram<u64>) {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| histogram.value_at_quantile(quantile));
    let n = histogram.len();
    say(&format!("{name:36} p50 {p50:6}  p99 {p99:6}  p99.9 {p999:6}  n {n}"));
}

fn say(line: &str) {
    writeln!(io::stdout().lock(), "{line}").expect("somebody reads");
}

/// Microseconds from what was sent when to what arrived when.
fn latencies(sent: &[Moment], arrived: &[(u64, Moment)]) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("three digits are allowed");
    for (number, at) in arrived {
        let Some(sent) = usize::try_from(*number).ok().and_then(|number| sent.get(number)) else { continue };
        histogram.saturating_record(u64::try_from(at.since(*sent).as_micros()).unwrap_or(u64::MAX));
    }
    histogram
}

struct Outcomes {
    ours: Histogram<u64>,
    bare: Vec<(u64, Moment)>,
    acknowledged: u64,
}

/// A station without cameras: triggers are reported to the ledger and answered at once.
fn run_station(
    port: u16,
    state_dir: &Path,
    clock: &SystemClock,
    count: u64,
    arrivals: &Receiver<Arrival>,
) -> Outcomes {
    let camera = CameraId::new("top").expect("a fitting name");
    let health = Health::new([camera.clone()]);
    health.cameras[0].set_state(CameraState::Running);
    let (lease, recipe) = (Lease::new(Generation(1)), Arc::new(Recipe::default()));
    health.model.activate(Active { lease, recipe, deadline: DEADLINE });
    let mqtt = mqtt(port);
    let (told_in, told) = bounded(256);
    let origin = Origin { station: "cell", product: "part", boot_id: "boot", config_sha256: "c0ffee" };
    let events = Events::new(told_in, clock, &health);
    let outbox = Outbox { max_bytes: 256_000_000 };
    let station =
        Station { origin, mqtt: &mqtt, state_dir, outbox: &outbox, health: &health, events, desk: None };
    let (sequence, reserver) = sequence::open(state_dir).expect("a folder for the state");
    let (decided_in, decided) = bounded(1024);
    let (reports_in, reports) = bounded(1024);
    let (sent, seen) = scope(|scope| {
        scope.spawn(|| publish::run(&station, clock, &decided, &told));
        let ledger = Ledger::new(Book::new(sequence), &[], &health);
        scope.spawn(move || reserver.run(clock));
        scope.spawn(move || ledger::run(ledger, &reports, &decided_in, clock));
        while !health.broker_connected.load(Relaxed) {
            pause(Duration::from_millis(10));
        }
        let sent = trigger_all(&camera, clock, count, &reports_in);
        pause(Duration::from_secs(1));
        drop(reports_in);
        (sent, arrivals.try_iter().collect::<Vec<_>>())
    });
    let of = |ours: bool| {
        seen.iter().filter(move |arrival| arrival.is_ours == ours).map(|arrival| (arrival.number, arrival.at))
    };
    Outcomes {
        ours: latencies(&sent, &of(true).collect::<Vec<_>>()),
        bare: of(false).collect(),
        acknowledged: health.counters.acknowledged.load(Relaxed),
    }
}

fn trigger_all(camera: &CameraId, clock: &SystemClock, count: u64, reports: &Sender<Report>) -> Vec<Moment> {
    let started = clock.now();
    let mut sent = Vec::new();
    for number in 0..count {
        wait_for_turn(clock, started, number);
        let (key, captured) = (TriggerKey { camera: 0, number }, clock.now());
        let judgement =
            Judgement { outcome: Outcome::Good, ..Judgement::not_inspected(Reason::NotReady, None) };
        let trigger = Trigger {
            deadline: DEADLINE,
            key,
            camera: camera.clone(),
            published_number: u32::try_from(number).expect("a few thousand"),
            is_numbered_by_plc: false,
            part_id: None,
            captured,
            clock: CaptureClock::Arrival,
        };
        for report in [Report::Opened(trigger), Report::Closed { key, judgement }] {
            reports.send(report).expect("the ledger is there");
        }
        sent.push(captured);
    }
    sent
}

/// Messages of a verdict's size from a client that does nothing else. When each was given to it.
fn publish_bare(port: u16, clock: &SystemClock, count: u64) -> Vec<Moment> {
    let (client, mut connection) = Client::new(MqttOptions::new("bare", "127.0.0.1", port), 1024);
    connection.eventloop.network_options.set_tcp_nodelay(true);
    let poll = move || connection.iter().take_while(Result::is_ok).for_each(drop);
    Builder::new().name("bare".into()).spawn(poll).expect("a machine has room for a thread");
    let started = clock.now();
    let mut sent = Vec::new();
    for number in 0..count {
        wait_for_turn(clock, started, number);
        sent.push(clock.now());
        let payload = format!("{{\"trig\":{number},\"filler\":\"{}\"}}", "x".repeat(120));
        client.publish("bare/verdict", QoS::AtLeastOnce, false, payload).expect("the client is there");
    }
    sent
}

fn wait_for_turn(clock: &SystemClock, started: Moment, number: u64) {
    let due = PERIOD * u32::try_from(number).expect("a few thousand");
    pause(due.saturating_sub(clock.now().since(started)));
}

fn pause(duration: Duration) {
    let nothing = never::<()>().recv_timeout(duration);
    debug_assert!(nothing.is_err(), "nothing is ever sent");
}

/// A verdict, or a bare message, as a PLC would get it.
struct Arrival {
    is_ours: bool,
    number: u64,
    at: Moment,
}

/// Subscribed when this returns.
fn subscribe(port: u16, clock: SystemClock) -> Receiver<Arrival> {
    let (client, mut connection) = Client::new(MqttOptions::new("plc", "127.0.0.1", port), 10);
    client.subscribe("+/verdict", QoS::AtLeastOnce).expect("the client is there");
    client.subscribe("plant/top/verdict", QoS::AtLeastOnce).expect("the client is there");
    let (tell, arrivals) = bounded(1_000_000);
    let (tell_ready, ready) = bounded(2);
    let listen = move || {
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::SubAck(_))) => drop(tell_ready.send(())),
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    let at = clock.now();
                    let payload: Value = serde_json::from_slice(&message.payload).expect("JSON");
                    let number = payload["trig"].as_u64().expect("each has a number");
                    let is_ours = message.topic.starts_with("plant");
                    if tell.send(Arrival { is_ours, number, at }).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    };
    Builder::new().name("plc".into()).spawn(listen).expect("a machine has room for a thread");
    for _ in 0..2 {
        ready.recv().expect("the broker takes subscriptions");
    }
    arrivals
}

fn mqtt(port: u16) -> Mqtt {
    Mqtt {
        host: "127.0.0.1".into(),
        port,
        prefix: "plant".into(),
        client_id: "csflowd".into(),
        keep_alive: Duration::from_secs(10),
        login: None,
        tls: None,
        retry: (Duration::from_millis(100), Duration::from_secs(1)),
        commands: false,
        commands_per_s: 100,
    }
}

/// A mosquitto that ends with this.
struct Broker(Child);

impl Broker {
    fn start(folder: &Path) -> (Self, u16) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let settings = folder.join("mosquitto.conf");
        // Without this mosquitto hands messages out in clumps.
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n");
        fs::write(&settings, text).expect("the folder takes a file");
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        let broker = Self(command.spawn().expect("mosquitto is installed"));
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            pause(Duration::from_millis(20));
        }
        (broker, port)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
