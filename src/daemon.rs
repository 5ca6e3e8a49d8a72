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

pub mod reload;
pub mod signals;
pub mod supervisor;

use std::sync::atomic::AtomicU64;
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

use crossbeam_channel::bounded;
use ulid::Ulid;

use crate::capture;
use crate::capture::error::CaptureError;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::camera::Camera;
use crate::daemon::reload::Reload;
use crate::daemon::signals::Signals;
use crate::daemon::supervisor::Supervisor;
use crate::engine::{self, LoadError};
use crate::events::{Event, Events};
use crate::frame::{BufferPool, Size};
use crate::health::{Health, ModelState};
use crate::inference::{self, DeviceLost, Inspector};
use crate::intake::Intake;
use crate::ledger;
use crate::ledger::sequence::{Sequence, SequenceError};
use crate::publish::payload::Origin;
use crate::publish::{self, Station};
use crate::shutdown;

/// Verdicts and events that may wait for the publisher, which takes them whatever the broker does.
const VERDICT_QUEUE: usize = 1024;
const EVENT_QUEUE: usize = 256;

/// Reports that may wait for the ledger, which waits for nothing but the publisher.
const REPORT_QUEUE: usize = 1024;

/// A camera's frames beyond those that wait for inference: one in the making, one batch being judged.
const FRAMES_IN_HAND: usize = 2;

/// Buffers of a camera without a configured size begin with room for this and grow.
const TYPICAL_SIZE: Size = Size { width: 1280, height: 1024 };

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
    if let Some(threads) = config.engine.threads {
        engine::set_threads(threads);
    }

    let health = Health::new(config.cameras.iter().map(|camera| camera.id.clone()));
    let pools: Vec<BufferPool> = config.cameras.iter().map(|camera| pool(camera, config)).collect();
    let remaining = frames.map(AtomicU64::new);
    let boot_id = Ulid::generate().to_string();
    let (handle, shutdown) = shutdown::channel();

    // Full: the event stays in the log alone, and is counted.
    let (told_in, told) = bounded(EVENT_QUEUE);
    // Full: the ledger waits, because a verdict is the product.
    let (verdicts_in, verdicts) = bounded(VERDICT_QUEUE);
    // Full: cameras and inference wait, because the ledger must hear of everything.
    let (reports_in, reports) = bounded(REPORT_QUEUE);
    // Full: the frame that does not fit is answered with FRAME_DROPPED.
    let (frames_in, frames) = bounded(config.engine.frame_queue);
    // Full: a reload waits for the batch that is being judged.
    let (rules_in, rules) = bounded(1);

    let events = Events::new(told_in, clock, &health);
    let origin = Origin {
        station: &config.station.name,
        product: &config.product.name,
        boot_id: &boot_id,
        config_sha256: &config.sha256,
    };
    let station = Station { origin, mqtt: &config.mqtt, health: &health, events: events.clone() };

    scope(|scope| {
        spawn(scope, "publish", || publish::run(&station, clock, &verdicts, &told));
        let health = &health;
        spawn(scope, "ledger", move || {
            ledger::run(&reports, &verdicts_in, config.product.deadline, sequence, health, clock);
        });

        let inspector = load(config, health, &events)?;
        let rules_now = inspector.rules.clone();
        let inference = {
            let (reports_in, batch_max) = (reports_in.clone(), config.engine.batch_max);
            spawn(scope, "inference", move || {
                let (frames, changes, reports) = (&frames, &rules, &reports_in);
                inference::run(
                    inspector,
                    batch_max,
                    inference::Context { frames, changes, reports, health, clock },
                )
            })
        };

        let mut cameras = Vec::new();
        for (position, (camera, pool)) in config.cameras.iter().zip(&pools).enumerate() {
            let (reports_in, frames_in) = (reports_in.clone(), frames_in.clone());
            let (remaining, events, shutdown) = (remaining.as_ref(), &events, &shutdown);
            let health_here = &health.cameras[position];
            cameras.push(spawn(scope, &format!("camera-{}", camera.id), move || {
                let mut intake =
                    Intake::new(position, camera.id.clone(), remaining, health, reports_in, frames_in);
                let context = capture::Context { clock, shutdown, health: health_here, events };
                capture::run(camera, context, pool, &mut |captured| intake.take(captured));
            }));
        }
        // From here on only the cameras hold `frames_in`: the last one to stop ends the stream.
        drop(frames_in);

        let apply = reload::Apply { config, rules: rules_now, rules_in, reports_in, events: &events };
        let stages = supervisor::Stages { cameras, inference, remaining: remaining.as_ref() };
        let supervisor = Supervisor { signals: &signals, health, clock };
        supervisor.run(stages, handle, load_config, apply)
    })
}

fn load(config: &Config, health: &Health, events: &Events<'_>) -> Result<Inspector, DaemonError> {
    match Inspector::load(&config.product, config.engine.device, &config.sha256) {
        Ok(inspector) => {
            health.model.set_state(ModelState::Ready);
            let recipe = &inspector.rules.recipe;
            events.tell(Event::ModelReady {
                product: recipe.product.clone(),
                bundle_sha256: recipe.bundle_sha256.clone(),
                device: recipe.device.clone(),
            });
            Ok(inspector)
        }
        Err(error) => {
            health.model.set_state(ModelState::Failed);
            events.tell(Event::ModelFailed { cause: error.to_string() });
            Err(error.into())
        }
    }
}

fn pool(camera: &Camera, config: &Config) -> BufferPool {
    let buffers = config.engine.frame_queue + config.engine.batch_max + FRAMES_IN_HAND;
    let size = camera.size.unwrap_or(TYPICAL_SIZE);
    BufferPool::new(buffers, size.pixels() * camera.format.channels())
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
