//! The wiring: the only place that knows all of it.
//!
//! ```text
//!                 loader ─Ready─▶ supervisor ◀─Command─ publish
//!                                     │ Change
//!  camera ─▶ intake ─Frame─▶ inference ◀┘
//!              │                 └──Report─▶ ledger ─Verdict─▶ publish ─▶ broker
//!              └────────Report────────────────▲
//! ```
//!
//! Stages start downstream first, so that nothing is produced before somebody consumes it. A stop request reaches
//! the cameras; each later stage ends because its input ends. The supervisor runs in the thread that called.

mod cameras;
pub mod change;
pub mod loader;
pub mod signals;
pub mod supervisor;
pub mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::warn;
use ulid::Ulid;

use crate::capture;
use crate::capture::error::CaptureError;
use crate::clock::Clock;
use crate::command::Command;
use crate::config::Config;
use crate::config::camera::Camera;
use crate::config::engine::Engine;
use crate::daemon::change::{Changes, Outlets, Reload};
use crate::daemon::loader::Load;
use crate::daemon::signals::Signals;
use crate::daemon::supervisor::{Inlets, Stages, Supervisor};
use crate::daemon::watch::Watch;
use crate::engine::{self, LoadError};
use crate::events::Events;
use crate::frame::{BufferPool, Frame};
use crate::health::Health;
use crate::inference::{self, Change, DeviceLost, Notice, Ready};
use crate::intake::queue::queue;
use crate::ledger::book::Book;
use crate::ledger::sequence::{self, SequenceError};
use crate::ledger::{self, Ledger, Report};
use crate::publish::commands::Desk;
use crate::publish::payload::Origin;
use crate::publish::{self, Station};
use crate::shutdown;

/// Verdicts and events that may wait for the publisher, which takes them whatever the broker does.
const VERDICT_QUEUE: usize = 1024;
const EVENT_QUEUE: usize = 256;

/// Commands that may wait for the supervisor.
const ORDER_QUEUE: usize = 16;

/// Trigger commands that may wait for the intake, which waits for nothing but the ledger.
const TRIGGER_QUEUE: usize = 256;

/// Messages about a change of product that may wait.
const CHANGES: usize = 8;

/// For tests of the watchdog: inference hangs for ever at the frame of this number, counted from 1.
const HANGS_AT: &str = "CSFLOWD_TEST_HANG_AT_FRAME";

/// Reports that may wait for the ledger, which waits for nothing but the publisher.
const REPORT_QUEUE: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("cannot start the cameras")]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    #[error("cannot load the product")]
    Load(#[from] LoadError),
    #[error(transparent)]
    DeviceLost(#[from] DeviceLost),
    #[error("cannot watch for signals")]
    Signals(#[from] std::io::Error),
}

/// What a station is started with.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    pub config: &'a Config,
    /// Watched, as its products are.
    pub station_file: &'a Path,
    /// So many triggers are taken; None is no limit.
    pub frames: Option<u64>,
}

/// Runs the station until it is told to stop, its cameras have all ended, or as many triggers were taken as asked for.
pub fn run(given: Given<'_>, load_config: Reload<'_>, clock: &dyn Clock) -> Result<(), DaemonError> {
    let Given { config, station_file, frames } = given;
    let signals = Signals::watch()?;
    capture::init()?;
    let (sequence, reserver) = sequence::open(&config.station.state_dir)?;
    let book = Book::new(sequence);

    let health = Health::new(config.cameras.iter().map(|camera| camera.id.clone()));
    let pools: Vec<BufferPool> =
        config.cameras.iter().map(|camera| cameras::pool(camera, &config.engine)).collect();
    let remaining = frames.map(AtomicU64::new);
    let boot_id = Ulid::generate().to_string();
    let (handle, shutdown) = shutdown::channel();

    // Full: the event stays in the log alone, and is counted.
    let (told_in, told) = bounded(EVENT_QUEUE);
    // Full: the command is refused.
    let (orders_in, orders) = bounded::<Command>(ORDER_QUEUE);
    // The same.
    let (triggers_in, triggers) = bounded::<Command>(TRIGGER_QUEUE);
    // Full: the ledger waits, because a verdict is the product.
    let (verdicts_in, verdicts) = bounded(VERDICT_QUEUE);
    // Full: cameras and inference wait, because the ledger must hear of everything.
    let (reports_in, reports) = bounded(REPORT_QUEUE);
    // Full: the frame that has waited longest is answered with FRAME_DROPPED.
    let (frames_in, frames) = queue(config.engine.frame_queue);

    let events = Events::new(told_in, clock, &health);
    let triggered = cameras::triggered(&config.cameras);
    let has_product = |name: &str| config.products_dir.join(format!("{name}.toml")).is_file();
    let desk =
        Desk { orders: &orders_in, triggers: &triggers_in, triggered: &triggered, has_product: &has_product };
    let station = Station {
        origin: origin(config, &boot_id),
        mqtt: &config.mqtt,
        state_dir: &config.station.state_dir,
        outbox: &config.outbox,
        health: &health,
        events: events.clone(),
        desk: config.mqtt.commands.then_some(desk),
    };

    scope(|scope| {
        spawn(scope, "publish", || publish::run(&station, clock, &verdicts, &told));
        let (health, engine) = (&health, &config.engine);
        spawn(scope, "sequence", move || reserver.run(clock));
        spawn(scope, "ledger", move || {
            ledger::run(Ledger::new(book, &config.groups, health), &reports, &verdicts_in, clock);
        });
        let ways = cameras::Ways { reports: reports_in, frames: frames_in, triggers };
        let (judges, inference) =
            Judges::start(scope, engine, (frames, ways.reports.clone()), (health, clock), events.clone());
        // From here on only cameras and intake hold `frames_in`: the last one to stop ends the stream.
        let surroundings = cameras::Surroundings {
            remaining: remaining.as_ref(),
            health,
            clock,
            shutdown: &shutdown,
            events: &events,
        };
        let cameras = cameras::start(scope, (&config.cameras, &pools), ways, surroundings);

        let watch = watch(station_file, config);
        let Judges { loads, loaded, changes, notices } = judges;
        let outlets = Outlets { loads, changes, events: &events, health };
        let is_trial = config.cameras.iter().all(Camera::ends);
        let stages = Stages { cameras, inference, remaining: remaining.as_ref(), is_trial };
        let inlets = Inlets { orders: &orders, loaded: &loaded, notices: &notices, watch: watch.as_ref() };
        let changes = Changes::begin(config, load_config, outlets, clock.now());
        Supervisor { signals: &signals, inlets, health, clock }.run(stages, handle, changes)
    })
}

/// The ways to and from those who load and judge. One change is under way at a time: none of these is ever full.
struct Judges {
    loads: Sender<Load>,
    loaded: Receiver<Result<Ready, LoadError>>,
    changes: Sender<Change>,
    notices: Receiver<Notice>,
}

impl Judges {
    /// Starts the loader and inference.
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        engine: &'scope Engine,
        (frames, reports): (Arc<Receiver<Frame>>, Sender<Report>),
        (health, clock): (&'scope Health, &'scope dyn Clock),
        events: Events<'scope>,
    ) -> (Self, ScopedJoinHandle<'scope, Result<(), DeviceLost>>) {
        let (loads, loads_out) = bounded(CHANGES);
        let (loaded_in, loaded) = bounded(CHANGES);
        let (changes, changes_out) = bounded(CHANGES);
        let (notices_in, notices) = bounded(CHANGES);
        spawn(scope, "loader", move || loader::run(&loads_out, &loaded_in, engine));
        let inference = spawn(scope, "inference", move || {
            engine::threads::set(engine.threads.unwrap_or_else(engine::threads::beside_cameras));
            let context = inference::Context {
                notices: notices_in,
                reports,
                health,
                clock,
                events: Some(events),
                hangs_at: number(HANGS_AT),
            };
            inference::run(engine.batch_max, &frames, &changes_out, context)
        });
        (Self { loads, loaded, changes, notices }, inference)
    }
}

/// Where files cannot be watched the station runs all the same: there are SIGHUP and the command.
fn watch(station_file: &Path, config: &Config) -> Option<Watch> {
    let watch = Watch::start(station_file, &config.products_dir);
    watch.map_err(|why| warn!("settings and products are not watched: {why}")).ok()
}

/// The number that a variable of the environment holds.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn origin<'a>(config: &'a Config, boot_id: &'a str) -> Origin<'a> {
    Origin {
        station: &config.station.name,
        product: &config.product.name,
        boot_id,
        config_sha256: &config.sha256,
    }
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .expect("a machine has room for a few threads")
}
