//! A publisher in a thread, with everything around it that the daemon would give it.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use csflowd::clock::{Clock, SystemClock};
use csflowd::command::Command;
use csflowd::config::mqtt::{Login, Mqtt, Secret};
use csflowd::config::outbox::Outbox;
use csflowd::events::Events;
use csflowd::frame::{CameraId, CaptureClock, Generation, Lease, Trigger, TriggerKey};
use csflowd::health::{Active, CameraState, Health};
use csflowd::publish::commands::Desk;
use csflowd::publish::outbox::disk::{Disk, Folder};
use csflowd::publish::payload::Origin;
use csflowd::publish::{self, Station};
use csflowd::verdict::{Decided, Judgement, Outcome, PartVerdict, Reason, Recipe, Verdict};
use tracing_subscriber::fmt::MakeWriter;

use crate::mosquitto::PATIENCE;

pub(crate) fn mqtt(port: u16) -> Mqtt {
    Mqtt {
        host: "127.0.0.1".into(),
        port,
        prefix: "plant/cell".into(),
        client_id: format!("station-{port}"),
        keep_alive: Duration::from_secs(1),
        login: None,
        tls: None,
        retry: (Duration::from_millis(20), Duration::from_millis(200)),
        commands: false,
        commands_per_s: 100,
    }
}

pub(crate) fn with_login(mqtt: Mqtt, username: &str, password: &str) -> Mqtt {
    Mqtt { login: Some(Login { username: username.into(), password: Secret::new(password.into()) }), ..mqtt }
}

pub(crate) fn camera() -> CameraId {
    CameraId::new("top").unwrap()
}

pub(crate) fn verdict(seq: u64, outcome: Outcome) -> Verdict {
    let now = SystemClock::start().now();
    let key = TriggerKey { camera: 0, number: seq };
    let judgement = Judgement { outcome, ..Judgement::not_inspected(Reason::NotReady, None) };
    let trigger = Trigger {
        deadline: Duration::from_secs(1),
        key,
        camera: camera(),
        published_number: 0,
        is_numbered_by_plc: false,
        part_id: None,
        captured: now,
        clock: CaptureClock::Arrival,
    };
    Verdict { seq, trigger, judgement, decided: now, late: false }
}

pub(crate) fn part(seq: u64, outcome: Outcome) -> PartVerdict {
    let now = SystemClock::start().now();
    PartVerdict {
        seq,
        group: "cover".into(),
        number: 0,
        part_id: None,
        captured: now,
        outcome,
        views: 2,
        of: 2,
        worst: Some(camera()),
    }
}

/// The publisher's surroundings, in the hands of a test.
pub(crate) struct Plant<'scope> {
    pub(crate) health: &'scope Health,
    pub(crate) events: Events<'scope>,
    /// The commands that were accepted.
    pub(crate) orders: Receiver<Command>,
    /// What a stop takes away.
    running: RefCell<Option<(Sender<Decided>, ScopedJoinHandle<'scope, ()>)>>,
    log: Log,
}

impl Plant<'_> {
    /// Fails when the publisher does not take it.
    #[track_caller]
    pub(crate) fn send(&self, verdict: Verdict) {
        self.give(Decided::View(verdict));
    }

    #[track_caller]
    pub(crate) fn send_part(&self, part: PartVerdict) {
        self.give(Decided::Part(part));
    }

    #[track_caller]
    fn give(&self, decided: Decided) {
        let running = self.running.borrow();
        let (verdicts, _) = running.as_ref().expect("stopped");
        verdicts.send_timeout(decided, PATIENCE).expect("the publisher does not take verdicts");
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.running.borrow().as_ref().expect("stopped").0.is_empty()
    }

    /// Ends the verdicts and waits for the publisher's end.
    pub(crate) fn stop(&self) {
        let (verdicts, publisher) = self.running.take().expect("stopped");
        drop(verdicts);
        publisher.join().unwrap();
    }

    /// What the publisher has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }
}

/// Runs `test` beside a publisher whose station is ready, and stops the publisher after it.
pub(crate) fn with_publisher(mqtt: &Mqtt, test: impl FnOnce(&Plant<'_>)) {
    let state = tempfile::tempdir().unwrap();
    with_state(mqtt, state.path(), 256_000_000, test);
}

/// The same with a state folder and so much room for the outbox in it.
pub(crate) fn with_state(mqtt: &Mqtt, state_dir: &Path, max_bytes: u64, test: impl FnOnce(&Plant<'_>)) {
    let disks = (Folder::new(state_dir), Folder::new(state_dir.join("outbox")));
    with_disks(mqtt, disks, max_bytes, test);
}

/// The same on disks for the counters and the outbox.
pub(crate) fn with_disks<D: Disk + Send>(
    mqtt: &Mqtt,
    disks: (D, D),
    max_bytes: u64,
    test: impl FnOnce(&Plant<'_>),
) {
    let (outbox, state_dir) = (Outbox { max_bytes }, Path::new(""));
    let clock = SystemClock::start();
    let health = Health::new([camera()]);
    health.cameras[0].set_state(CameraState::Running);
    let recipe = Arc::new(Recipe { product: "cover".into(), ..Recipe::default() });
    let (lease, deadline) = (Lease::new(Generation(1)), Duration::from_secs(1));
    health.model.activate(Active { lease, recipe, deadline });
    let (tell, told) = bounded(64);
    let events = Events::new(tell, &clock, &health);
    let origin = Origin { station: "cell", product: "cover", boot_id: "boot", config_sha256: "c0ffee" };
    let (orders_in, orders) = bounded(1000);
    let desk = mqtt.commands.then_some(Desk {
        orders: &orders_in,
        triggers: &orders_in,
        triggered: &[],
        has_product: &|name| name == "cover",
    });
    let station =
        Station { origin, mqtt, state_dir, outbox: &outbox, health: &health, events: events.clone(), desk };
    // Few places: a publisher that waits for the broker is noticed soon.
    let (send, verdicts) = bounded(4);
    let log = Log::default();
    thread::scope(|scope| {
        let writer = log.clone();
        let publisher = scope.spawn(|| {
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
            tracing::subscriber::with_default(subscriber, || {
                publish::run_on(disks, &station, &clock, &verdicts, &told);
            });
        });
        let running = RefCell::new(Some((send, publisher)));
        let plant = Plant { health: &health, events, orders, running, log };
        test(&plant);
    });
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
