//! The wiring: the only place that knows all of it.
//!
//! ```text
//!  camera ─▶ intake ─Frame─▶ inference ─┐
//!              │                        ├─Report─▶ ledger ─Verdict─▶ publish ─▶ broker
//!              └────────Report──────────┘
//! ```
//!
//! Stages start downstream first, so that nothing is produced before somebody consumes it. A stop request reaches
//! the cameras; each later stage ends because its input ends. The supervisor runs in the thread that called.

mod cameras;
pub mod reload;
pub mod signals;
pub mod supervisor;

use std::sync::atomic::AtomicU64;
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

use crossbeam_channel::{Receiver, bounded};
use ulid::Ulid;

use crate::capture;
use crate::capture::error::CaptureError;
use crate::causes;
use crate::clock::Clock;
use crate::command::Command;
use crate::config::Config;
use crate::daemon::reload::Reload;
use crate::daemon::signals::Signals;
use crate::daemon::supervisor::Supervisor;
use crate::engine::LoadError;
use crate::events::{Event, Events};
use crate::frame::BufferPool;
use crate::health::{Health, ModelState};
use crate::inference::rules::Rules;
use crate::inference::{self, DeviceLost, Inspector};
use crate::ledger::book::Book;
use crate::ledger::sequence::{Sequence, SequenceError};
use crate::ledger::{self, Ledger};
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

/// Runs the station until it is told to stop, its cameras have all ended, or `frames` triggers were taken.
pub fn run(
    config: &Config,
    frames: Option<u64>,
    load_config: Reload<'_>,
    clock: &dyn Clock,
) -> Result<(), DaemonError> {
    let signals = Signals::watch()?;
    capture::init()?;
    let sequence = Sequence::open(&config.station.state_dir)?;

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
    // Full: the frame that does not fit is answered with FRAME_DROPPED.
    let (frames_in, frames) = bounded(config.engine.frame_queue);
    // Full: a reload waits for the batch that is being judged.
    let (rules_in, rules) = bounded(1);
    // One message: how loading went.
    let (loaded_in, loaded) = bounded(1);

    let events = Events::new(told_in, clock, &health);
    let triggered = cameras::triggered(&config.cameras);
    let station = Station {
        origin: origin(config, &boot_id),
        mqtt: &config.mqtt,
        state_dir: &config.station.state_dir,
        outbox: &config.outbox,
        health: &health,
        events: events.clone(),
        desk: config.mqtt.commands.then_some(Desk {
            orders: &orders_in,
            triggers: &triggers_in,
            triggered: &triggered,
        }),
    };

    scope(|scope| {
        spawn(scope, "publish", || publish::run(&station, clock, &verdicts, &told));
        let (health, orders) = (&health, &orders);
        spawn(scope, "ledger", move || {
            let book = Book::new(config.product.deadline, sequence);
            ledger::run(Ledger::new(book, &config.groups, health), &reports, &verdicts_in, clock);
        });

        let inference = {
            let (reports_in, engine) = (reports_in.clone(), &config.engine);
            spawn(scope, "inference", move || {
                let load = || Inspector::load(&config.product, engine, &config.sha256);
                let context = inference::Context {
                    frames: &frames,
                    changes: &rules,
                    reports: &reports_in,
                    health,
                    clock,
                };
                inference::run(load, &loaded_in, engine.batch_max, context)
            })
        };
        let rules_now = wait_for_model(&loaded, health, &events)?;

        // From here on only cameras and intake hold `frames_in`: the last one to stop ends the stream.
        let ways = cameras::Ways { reports: reports_in.clone(), frames: frames_in, triggers };
        let surroundings = cameras::Surroundings {
            remaining: remaining.as_ref(),
            health,
            clock,
            shutdown: &shutdown,
            events: &events,
        };
        let cameras = cameras::start(scope, (&config.cameras, &pools), ways, surroundings);

        let apply = reload::Apply { config, rules: rules_now, rules_in, reports_in, events: &events };
        let stages = supervisor::Stages { cameras, inference, remaining: remaining.as_ref() };
        Supervisor { signals: &signals, orders, health, clock }.run(stages, handle, load_config, apply)
    })
}

/// The cameras start when there is a network to judge with, so that a folder of files is not used up before.
fn wait_for_model(
    loaded: &Receiver<Result<Rules, LoadError>>,
    health: &Health,
    events: &Events<'_>,
) -> Result<Rules, DaemonError> {
    match loaded.recv().expect("inference says how loading went") {
        Ok(rules) => {
            health.model.set_state(ModelState::Ready);
            events.tell(Event::ModelReady {
                product: rules.recipe.product.clone(),
                bundle_sha256: rules.recipe.bundle_sha256.clone(),
                device: rules.recipe.device.clone(),
            });
            Ok(rules)
        }
        Err(error) => {
            health.model.set_state(ModelState::Failed);
            events.tell(Event::ModelFailed { cause: causes::chain(&error) });
            Err(error.into())
        }
    }
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
