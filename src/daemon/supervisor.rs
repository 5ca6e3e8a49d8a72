//! Watches over the stages: signals, systemd's watchdog, the end of the stream.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;
use sd_notify::NotifyState;
use tracing::{info, warn};

use crate::clock::{Clock, Moment};
use crate::command::{Command, Order};
use crate::daemon::DaemonError;
use crate::daemon::reload::{Apply, Reload};
use crate::daemon::signals::Signals;
use crate::health::{CameraState, Health};
use crate::inference::DeviceLost;
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
}

pub struct Supervisor<'a> {
    pub signals: &'a Signals,
    /// What it is asked for by MQTT.
    pub orders: &'a Receiver<Command>,
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
        load: Reload<'_>,
        apply: Apply<'_>,
    ) -> Result<(), DaemonError> {
        let mut watchdog = Watchdog::new(self.clock.now());
        let mut status_at = Duration::ZERO;
        notify(&[NotifyState::Ready]);
        info!("ready");
        while self.reason_to_stop(&stages).is_none() {
            let now = self.clock.now();
            if self.signals.take_reload() {
                reload(load, &apply);
            }
            watchdog.feed(self.health, now);
            if now.mono >= status_at {
                status_at = now.mono + STATUS_PAUSE;
                notify(&[NotifyState::Status(&status_line(self.health))]);
            }
            // The flags that signals set cannot wake it.
            if let Ok(Command { order, .. }) = self.orders.recv_timeout(POLL) {
                match order {
                    Order::Reload => reload(load, &apply),
                    Order::Trigger { .. } | Order::Product(_) => warn!(?order, "refused before it came here"),
                }
            }
        }
        info!(reason = self.reason_to_stop(&stages), "stopping");
        notify(&[NotifyState::Stopping]);
        drop(shutdown);
        // The ledger ends when nobody is left to report to it.
        drop(apply);
        // A panic ends the process where it happens, so every thread that can be joined has ended well.
        stages.inference.join().expect("a panic would have ended the process")?;
        Ok(())
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

fn reload(load: Reload<'_>, apply: &Apply<'_>) {
    notify_reloading();
    apply.reload(load);
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
        count(&counters.ok),
        count(&counters.not_ok),
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
