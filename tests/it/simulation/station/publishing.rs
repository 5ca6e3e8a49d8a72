//! The publisher and the outbox's keeper, with what lies between them.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use csflowd::clock::Clock;
use csflowd::events::Told;
use csflowd::health::Health;
use csflowd::publish::lifetime::Lifetime;
use csflowd::publish::outbox::Outbox;
use csflowd::publish::outbox::keeper::{Handed, Keeper, Order};
use csflowd::publish::outbox::memory::MemoryDisk;
use csflowd::publish::publisher::{ORDERS, Publisher};
use csflowd::publish::{Station, broker};
use csflowd::verdict::Decided;
use rand::SeedableRng;
use rand_pcg::Pcg64;

use super::super::checks::Checked;
use super::super::world::{Fixed, World};

/// As the publisher has them.
const VERDICTS: usize = 1024;
const DRAIN: Duration = Duration::from_secs(2);
const GOODBYE: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_millis(500);
const GROUP: usize = 1024;

#[derive(Clone, Copy, Debug)]
enum Phase {
    Publishing,
    Draining { by: Duration },
    LastWords { by: Duration },
    Closing { by: Duration },
}

/// What the publisher could take up now.
#[derive(Clone, Copy, Debug)]
enum Input {
    Decided,
    Told,
    Handed,
    Heard,
}

pub(crate) struct Publishing<'a> {
    verdicts_in: Option<Sender<Decided>>,
    verdicts: Receiver<Decided>,
    told: Receiver<Told>,
    publisher: Option<Publisher<'a>>,
    phase: Phase,
    /// When the publisher looks round.
    next: Duration,
    orders: Receiver<Order>,
    handed: (Sender<Handed>, Receiver<Handed>),
    keeper: Option<Keeper<'a, MemoryDisk>>,
    look_at: Duration,
}

impl<'a> Publishing<'a> {
    pub(crate) fn start(
        fixed: &Fixed,
        world: &mut World,
        station: &'a Station<'a>,
        told: Receiver<Told>,
    ) -> Self {
        let (now, health) = (fixed.clock.now(), station.health);
        let (lifetime, _) = Lifetime::load(world.state_disk.clone());
        let before = lifetime.before();
        let outbox = Outbox::new(world.outbox_disk.clone(), station.outbox.max_bytes);
        let keeper = Keeper::new(outbox, lifetime, health, station.events.clone());
        let (verdicts_in, verdicts) = bounded(VERDICTS);
        let (orders_in, orders) = bounded(ORDERS);
        let network = Box::new(world.broker.clone());
        let rng = Pcg64::from_rng(&mut world.rng);
        Self {
            verdicts_in: Some(verdicts_in),
            verdicts,
            told,
            publisher: Some(Publisher::new(station, before, orders_in, network, rng, now)),
            phase: Phase::Publishing,
            next: now.mono,
            orders,
            handed: bounded(broker::RESULTS),
            keeper: Some(keeper),
            look_at: now.mono,
        }
    }

    /// As many as there is room for.
    pub(crate) fn deliver(&self, decided: &mut VecDeque<Decided>) {
        let Some(verdicts) = &self.verdicts_in else { return };
        let n_room = VERDICTS - verdicts.len();
        for decided in decided.drain(..n_room.min(decided.len())) {
            verdicts.try_send(decided).expect("there is room");
        }
    }

    pub(crate) fn end_verdicts(&mut self) {
        self.verdicts_in = None;
    }

    pub(crate) fn is_calm(&self, health: &Health) -> bool {
        // While the disk fails, what lies there is not counted.
        let knows_all = health.broker_connected.load(Relaxed) && !health.outbox.in_memory.load(Relaxed);
        knows_all
            && health.outbox.waiting.load(Relaxed) == 0
            && self.verdicts.is_empty()
            && self.orders.is_empty()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.publisher.is_none() && self.keeper.is_none()
    }

    pub(crate) fn publisher_at(&self, now: Duration) -> Option<Duration> {
        let publisher = self.publisher.as_ref()?;
        let by = match self.phase {
            Phase::Publishing => self.next,
            Phase::Draining { by } => by.min(self.next),
            Phase::LastWords { by } | Phase::Closing { by } => by,
        };
        let has_ended = matches!(self.phase, Phase::Publishing) && self.verdicts_in.is_none();
        let is_ready = has_ended || !self.inputs(publisher, now).is_empty();
        Some(if is_ready { now } else { by })
    }

    fn inputs(&self, publisher: &Publisher<'_>, now: Duration) -> Vec<Input> {
        let moment = csflowd::clock::Moment { mono: now, utc: std::time::SystemTime::UNIX_EPOCH };
        let is_speaking = matches!(self.phase, Phase::Publishing | Phase::Draining { .. });
        let mut inputs = Vec::new();
        if is_speaking && !self.verdicts.is_empty() {
            inputs.push(Input::Decided);
        }
        if is_speaking && !self.told.is_empty() && publisher.takes_events(moment) {
            inputs.push(Input::Told);
        }
        if is_speaking && !self.handed.1.is_empty() && publisher.takes_results() {
            inputs.push(Input::Handed);
        }
        if !publisher.heard().is_empty() {
            inputs.push(Input::Heard);
        }
        inputs
    }

    /// One round of `publish::publish`, or of what follows it.
    pub(crate) fn step_publisher(&mut self, fixed: &Fixed, world: &mut World) {
        let now = fixed.clock.now();
        let Some(mut publisher) = self.publisher.take() else { return };
        if let Phase::Publishing | Phase::Draining { .. } = self.phase {
            self.next = publisher.attend(now);
        }
        match self.phase {
            Phase::Publishing if self.verdicts_in.is_none() && self.verdicts.is_empty() => {
                self.phase = Phase::Draining { by: now.mono + DRAIN };
            }
            Phase::Draining { by } if now.mono >= by || publisher.is_done(&self.told) => {
                publisher.say_last_words(now);
                self.phase = Phase::LastWords { by: now.mono + GOODBYE };
            }
            Phase::LastWords { by } if now.mono >= by || publisher.is_idle() => {
                publisher.close();
                self.phase = Phase::Closing { by: now.mono + GOODBYE };
            }
            Phase::Closing { by } if now.mono >= by || !publisher.is_connected() => return,
            Phase::Publishing | Phase::Draining { .. } | Phase::LastWords { .. } | Phase::Closing { .. } => {}
        }
        let inputs = self.inputs(&publisher, now.mono);
        match world.any(&inputs) {
            Some(Input::Decided) => {
                if let Ok(decided) = self.verdicts.try_recv() {
                    publisher.decided(&decided, now);
                }
            }
            Some(Input::Told) => {
                if let Ok(event) = self.told.try_recv() {
                    publisher.event(&event, now);
                }
            }
            Some(Input::Handed) => {
                if let Ok(handed) = self.handed.1.try_recv() {
                    publisher.take(handed, now);
                }
            }
            Some(Input::Heard) => {
                if let Ok(heard) = publisher.heard().try_recv() {
                    publisher.hear(Ok(heard), now);
                }
            }
            None => {}
        }
        // After what was taken up the loop looks round at once.
        if !inputs.is_empty() {
            self.next = now.mono;
        }
        self.publisher = Some(publisher);
    }

    pub(crate) fn keeper_at(&self, now: Duration) -> Option<Duration> {
        let keeper = self.keeper.as_ref()?;
        let is_ready = !self.orders.is_empty()
            || keeper.has_next() && !self.handed.0.is_full()
            || self.publisher.is_none();
        Some(if is_ready { now } else { self.look_at })
    }

    /// One round of `Keeper::run`.
    pub(crate) fn step_keeper(&mut self, fixed: &Fixed, world: &mut World) -> Checked {
        let now = fixed.clock.now();
        let Some(mut keeper) = self.keeper.take() else { return Ok(()) };
        let hands = keeper.has_next() && !self.handed.0.is_full();
        if hands && (self.orders.is_empty() || world.is(0.5)) {
            if let Some(handed) = keeper.next_handed() {
                let is_safe = !keeper.has_failed();
                world.checks.delivery.handed(&handed.due.entry, is_safe)?;
                self.handed.0.try_send(handed).expect("there is room");
            }
        } else if !self.orders.is_empty() {
            let orders: Vec<Order> = self.orders.try_iter().take(GROUP).collect();
            for order in &orders {
                if let Order::Keep(entry) = order {
                    world.checks.delivery.kept(entry)?;
                }
            }
            keeper.take(orders);
        } else if self.publisher.is_none() {
            keeper.finish(now);
            return Ok(());
        }
        keeper.attend(now);
        self.look_at = now.mono + IDLE;
        self.keeper = Some(keeper);
        world.checks.disk(world.outbox_disk.used())
    }
}
