//! Watches over the stages: signals, systemd's watchdog, the end of the stream.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, never, select};
use sd_notify::NotifyState;
use tracing::{info, warn};

use crate::clock::{Clock, Moment};
use crate::command::{Command, Order};
use crate::daemon::DaemonError;
use crate::daemon::change::{Asked, Changes};
use crate::daemon::signals::Signals;
use crate::daemon::watch::{Settling, Watch};
use crate::engine::LoadError;
use crate::health::{CameraState, Health};
use crate::inference::{DeviceLost, Notice, Ready};
use crate::shutdown::ShutdownHandle;

/// How long a signal may go unseen.
const POLL: Duration = Duration::from_millis(100);

/// `systemctl status` shows a line at most this old.
const STATUS_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Stages<'scope, 'a> {
    pub cameras: Vec<ScopedJoinHandle<'scope, ()>>,
    pub inference: ScopedJoinHandle<'scope, Result<(), DeviceLost>>,
    pub remaining: Option<&'a AtomicU64>,
    /// Every camera is a folder of files that ends: a trial, in which nobody mends a product that cannot be loaded.
    pub is_trial: bool,
}

/// What the supervisor listens to.
#[derive(Clone, Copy, Debug)]
pub struct Inlets<'a> {
    /// What it is asked for by MQTT.
    pub orders: &'a Receiver<Command>,
    pub loaded: &'a Receiver<Result<Ready, LoadError>>,
    pub notices: &'a Receiver<Notice>,
    /// The files that people edit; None where they cannot be watched.
    pub watch: Option<&'a Watch>,
}

pub struct Supervisor<'a> {
    pub signals: &'a Signals,
    pub inlets: Inlets<'a>,
    pub health: &'a Health,
    pub clock: &'a dyn Clock,
}

impl std::fmt::Debug for Supervisor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("signals", &self.signals).finish_non_exhaustive()
    }
}

impl Supervisor<'_> {
    /// Returns when the last frame was judged; the ledger and the publisher then end by themselves.
    pub fn run(
        &self,
        stages: Stages<'_, '_>,
        shutdown: ShutdownHandle,
        mut changes: Changes<'_>,
    ) -> Result<(), DaemonError> {
        let mut watchdog = Watchdog::new(self.clock.now());
        let mut status_at = Duration::ZERO;
        let mut edits = Settling::default();
        let mut failure = None;
        let mut is_ready = false;
        while self.reason_to_stop(&stages).is_none() && failure.is_none() {
            let now = self.clock.now();
            if self.signals.take_reload() {
                reload(&mut changes, now);
            }
            if edits.is_settled(now) {
                changes.reload(Asked::ByFile, now);
            }
            changes.attend(now);
            if changes.is_begun() && !is_ready {
                failure = changes.take_first_failure().filter(|_| stages.is_trial);
                is_ready = failure.is_none();
                if is_ready {
                    notify(&[NotifyState::Ready]);
                    info!("ready");
                }
            }
            watchdog.feed(self.health, now);
            if is_ready && now.mono >= status_at {
                status_at = now.mono + STATUS_PAUSE;
                notify(&[NotifyState::Status(&status_line(self.health))]);
            }
            self.listen(&mut changes, &mut edits);
        }
        info!(reason = self.reason_to_stop(&stages), "stopping");
        drop(shutdown);
        self.see_off(&stages, &mut watchdog, &mut changes, &mut edits);
        if is_ready {
            notify(&[NotifyState::Stopping]);
        }
        // The loader and inference end when nobody is left to ask them.
        drop(changes);
        // A panic ends the process where it happens, so every thread that can be joined has ended well.
        stages.inference.join().expect("a panic would have ended the process")?;
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    /// No more frames come. Those that wait are judged, however long that takes: each trigger is answered at its
    /// deadline all the same. Who cannot wait for that sends a signal.
    fn see_off(
        &self,
        stages: &Stages<'_, '_>,
        watchdog: &mut Watchdog,
        changes: &mut Changes<'_>,
        edits: &mut Settling,
    ) {
        while !self.signals.stop_is_asked() && !stages.inference.is_finished() {
            watchdog.feed(self.health, self.clock.now());
            self.listen(changes, edits);
        }
    }

    /// Waits for what comes next, or until it is time to look round: the flags that signals set cannot wake it.
    fn listen(&self, changes: &mut Changes<'_>, edits: &mut Settling) {
        let nothing = never();
        let edited = self.inlets.watch.map_or(&nothing, Watch::changed);
        select! {
            recv(self.inlets.orders) -> command => if let Ok(Command { order, id, .. }) = command {
                let now = self.clock.now();
                match order {
                    Order::Reload => reload(changes, now),
                    Order::Product(product) => changes.choose(&product, id.as_ref(), now),
                    Order::Trigger { .. } => warn!(?order, "refused before it came here"),
                }
            },
            recv(self.inlets.loaded) -> result => if let Ok(result) = result {
                changes.loaded(result, self.clock.now());
            },
            recv(self.inlets.notices) -> notice => if let Ok(notice) = notice {
                changes.notice(notice, self.clock.now());
            },
            recv(edited) -> _ => edits.changed(self.clock.now()),
            default(POLL) => {}
        }
    }

    fn reason_to_stop(&self, stages: &Stages<'_, '_>) -> Option<&'static str> {
        if self.signals.stop_is_asked() {
            Some("asked to by a signal")
        } else if stages.inference.is_finished() {
            Some("inference has ended")
        } else if stages.remaining.is_some_and(|left| left.load(Relaxed) == 0) {
            Some("as many triggers were taken as asked for")
        } else if stages.cameras.iter().all(ScopedJoinHandle::is_finished) {
            Some("all cameras have ended")
        } else {
            None
        }
    }
}

fn reload(changes: &mut Changes<'_>, now: Moment) {
    notify_reloading();
    changes.reload(Asked::Expressly, now);
    notify(&[NotifyState::Ready]);
}

/// Feeds systemd's watchdog as long as every stage makes progress. A dead camera or broker does not stop it: a
/// restart would not bring them back. A hung network does.
struct Watchdog {
    /// A beat may be this old; None without a watchdog.
    fresh: Option<Duration>,
    next: Duration,
    is_starved: bool,
}

impl Watchdog {
    fn new(now: Moment) -> Self {
        Self {
            fresh: sd_notify::watchdog_enabled().map(|period| period / 2),
            next: now.mono,
            is_starved: false,
        }
    }

    fn feed(&mut self, health: &Health, now: Moment) {
        let Some(fresh) = self.fresh else { return };
        if now.mono < self.next {
            return;
        }
        let stale =
            [("inference", &health.inference), ("ledger", &health.ledger), ("publish", &health.publish)]
                .into_iter()
                .find(|(_, beat)| beat.age(now) > fresh);
        match stale {
            None => {
                self.is_starved = false;
                self.next = now.mono + fresh / 2;
                notify(&[NotifyState::Watchdog]);
            }
            Some((stage, beat)) if !self.is_starved => {
                self.is_starved = true;
                let silent_s = beat.age(now).as_secs_f64();
                warn!(silent_s, "{stage} makes no progress: the watchdog is not fed");
            }
            Some(_) => {}
        }
    }
}

fn status_line(health: &Health) -> String {
    let counters = &health.counters;
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    let running = health.cameras.iter().filter(|camera| camera.state() == CameraState::Running).count();
    format!(
        "{running} of {} cameras running, broker {}; {} triggers, {} OK, {} not OK",
        health.cameras.len(),
        if health.broker_connected.load(Relaxed) { "connected" } else { "away" },
        count(&counters.triggers),
        count(&counters.outcomes.ok),
        count(&counters.outcomes.not_ok),
    )
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("cannot tell systemd: {error}");
    }
}

/// `Type=notify` of systemd 252 wants the time of the request beside RELOADING.
fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => warn!("cannot tell systemd: {error}"),
    }
}
