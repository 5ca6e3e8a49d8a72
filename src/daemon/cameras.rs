//! The cameras' threads, and the intake's for those that are triggered by command.

use std::sync::atomic::AtomicU64;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::spawn;
use crate::capture;
use crate::clock::Clock;
use crate::command::Command;
use crate::config::camera::{Camera, TriggerMode};
use crate::config::engine::Engine;
use crate::events::Events;
use crate::frame::{BufferPool, CameraId, Captured, Size};
use crate::health::{Health, ModelState};
use crate::intake::Intake;
use crate::intake::commanded::{self, Commanded};
use crate::intake::frozen::Watch;
use crate::intake::queue::{self, Queue};
use crate::ledger::Report;
use crate::shutdown::Shutdown;

/// Buffers of a camera without a configured size begin with room for this and grow.
const TYPICAL_SIZE: Size = Size { width: 1280, height: 1024 };

/// Frames of commanded cameras on their way to the intake.
const CAPTURED_QUEUE: usize = 4;

/// Requests to fire a camera that wait for it to come back.
const FIRED: usize = 16;

/// A camera that waits for the product looks for it this often.
const READY_POLL: Duration = Duration::from_millis(20);

/// To the stages behind, and from the broker.
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) reports: Sender<Report>,
    pub(super) frames: Queue,
    pub(super) triggers: Receiver<Command>,
}

/// What all cameras share.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Triggers that the station still takes.
    pub(super) remaining: Option<&'a AtomicU64>,
    pub(super) health: &'a Health,
    pub(super) clock: &'a dyn Clock,
    pub(super) shutdown: &'a Shutdown,
    pub(super) events: &'a Events<'a>,
}

/// Those that are triggered by command.
pub(super) fn triggered(cameras: &[Camera]) -> Vec<CameraId> {
    let is_commanded = |camera: &&Camera| matches!(camera.trigger, TriggerMode::Command(_));
    cameras.iter().filter(is_commanded).map(|camera| camera.id.clone()).collect()
}

/// Buffers for all frames of a camera that may be under way at once.
pub(super) fn pool(camera: &Camera, engine: &Engine) -> BufferPool {
    let waiting = match camera.trigger {
        TriggerMode::Command(_) => CAPTURED_QUEUE,
        TriggerMode::Free | TriggerMode::Hardware => 0,
    };
    let buffers = queue::buffers(engine.frame_queue, engine.batch_max) + waiting;
    let size = camera.size.unwrap_or(TYPICAL_SIZE);
    BufferPool::new(buffers, size.pixels() * camera.format.channels())
}

/// Starts all cameras, each with its pool. `ways` end with the last of them.
pub(super) fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    (cameras, pools): (&'scope [Camera], &'scope [BufferPool]),
    ways: Ways,
    surroundings: Surroundings<'scope>,
) -> Vec<ScopedJoinHandle<'scope, ()>> {
    let Surroundings { remaining, health, clock, shutdown, events } = surroundings;
    // Full: a camera waits for the intake.
    let (captured_in, captured) = bounded(CAPTURED_QUEUE);
    let mut commanded = Commanded::default();
    let mut threads = Vec::new();
    for (position, (camera, pool)) in cameras.iter().zip(pools).enumerate() {
        let (reports, frames) = (ways.reports.clone(), ways.frames.clone());
        let (fire_in, fire) = fire(camera).unzip();
        let mut intake = Intake::new(position, camera.id.clone(), remaining, health, reports, frames);
        intake.set_watch(Watch::new(camera.id.clone(), camera.frozen_after, events.clone()));
        let mut deliver: Box<dyn FnMut(Captured) + Send> = match camera.trigger {
            TriggerMode::Command(rule) => {
                commanded.add(position, intake, rule, fire_in);
                let captured_in = captured_in.clone();
                // The intake is there until the last of its cameras has ended.
                Box::new(move |captured| drop(captured_in.send((position, captured))))
            }
            TriggerMode::Free | TriggerMode::Hardware => Box::new(move |captured| intake.take(captured)),
        };
        threads.push(spawn(scope, &format!("camera-{}", camera.id), move || {
            // Nobody wants a folder of files, or a number of triggers, used up before there is something to judge by.
            // Other cameras start at once, and their triggers are answered.
            if (camera.ends() || remaining.is_some()) && !wait_until_ready(health, shutdown) {
                return;
            }
            let (health, fire) = (&health.cameras[position], fire.as_ref());
            let context = capture::Context { clock, shutdown, health, events, fire };
            capture::run(camera, context, pool, &mut deliver);
        }));
    }
    // The last camera to stop ends the intake.
    drop(captured_in);
    spawn(scope, "intake", move || commanded::run(commanded, &ways.triggers, &captured, clock));
    threads
}

/// The way from a command to the camera, if csflowd fires it.
fn fire(camera: &Camera) -> Option<(Sender<()>, Receiver<()>)> {
    camera.is_fired().then(|| bounded(FIRED))
}

/// False if the stop request comes first.
fn wait_until_ready(health: &Health, shutdown: &Shutdown) -> bool {
    while health.model.state() != ModelState::Ready {
        if shutdown.sleep(READY_POLL) {
            return false;
        }
    }
    true
}
