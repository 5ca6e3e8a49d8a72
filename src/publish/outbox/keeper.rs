//! The thread that keeps the outbox: it alone waits for the disk.
//!
//! What came while it waited for the disk goes there together, with one sync. It ends when nobody can order any
//! more, after all is saved.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender};

use crate::clock::{Clock, Moment};
use crate::events::{Event, Events};
use crate::health::Health;
use crate::publish::lifetime::Lifetime;
use crate::publish::outbox::disk::Disk;
use crate::publish::outbox::format::Entry;
use crate::publish::outbox::{Due, EntryId, Note, Outbox};

/// The thread shows that it lives at least this often.
const IDLE: Duration = Duration::from_millis(500);

/// Orders that are taken before the disk is written to.
const GROUP: usize = 1024;

/// What the publisher wants.
#[derive(Debug)]
pub enum Order {
    Keep(Entry),
    /// The broker has it.
    Acknowledged(EntryId),
    /// A new connection: everything is handed out again, under this number.
    BeginAgain {
        round: u64,
    },
}

/// An entry to be sent on the connection of its round, and on no other.
#[derive(Debug)]
pub struct Handed {
    pub round: u64,
    pub due: Due,
}

/// The outbox with its clockwork: what is ordered comes from outside, what is due goes out.
#[derive(Debug)]
pub struct Keeper<'a, D> {
    outbox: Outbox<D>,
    lifetime: Lifetime<D>,
    health: &'a Health,
    events: Events<'a>,
    /// Counts the connections; before the first there is nobody to hand anything to.
    round: u64,
    next: Option<Handed>,
}

/// What the thread waits for.
enum Woken {
    Ordered(Order),
    Taken,
    Nothing,
    Ended,
}

impl<'a, D: Disk> Keeper<'a, D> {
    pub fn new(outbox: Outbox<D>, lifetime: Lifetime<D>, health: &'a Health, events: Events<'a>) -> Self {
        Self { outbox, lifetime, health, events, round: 0, next: None }
    }

    /// Keeps the outbox until `orders` ends.
    pub fn run(mut self, clock: &dyn Clock, orders: &Receiver<Order>, handed: &Sender<Handed>) {
        loop {
            self.attend(clock.now());
            match wait(orders, handed, &mut self.next) {
                Woken::Ordered(order) => {
                    self.take([order].into_iter().chain(orders.try_iter().take(GROUP - 1)));
                }
                Woken::Taken | Woken::Nothing => {}
                Woken::Ended => break,
            }
        }
        self.finish(clock.now());
    }

    /// Brings to disk what is not there yet, and looks for what is to be handed out next.
    pub fn attend(&mut self, now: Moment) {
        self.health.outbox.beat.beat(now);
        let before = self.outbox.len() as u64;
        self.outbox.save(now);
        if self.next.is_none() && self.round > 0 {
            let round = self.round;
            self.next = self.outbox.due(now).map(|due| Handed { round, due });
        }
        // After what is due was looked for: what is found damaged then is gone.
        self.recount(before);
        self.tell();
        self.lifetime.attend(self.health, now);
    }

    /// Carries orders out, up to the next [`Self::attend`] in memory.
    pub fn take(&mut self, orders: impl IntoIterator<Item = Order>) {
        let before = self.outbox.len() as u64;
        let mut kept = 0;
        for order in orders {
            match order {
                Order::Keep(entry) => {
                    kept += 1;
                    self.outbox.keep(entry);
                }
                Order::Acknowledged(id) => self.outbox.acknowledged(id),
                Order::BeginAgain { round } => {
                    (self.round, self.next) = (round, None);
                    self.outbox.begin_again();
                }
            }
        }
        self.recount(before + kept);
    }

    /// Whether something is to be handed out.
    pub fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// Whether results go on from memory, because the disk does not take them.
    pub fn has_failed(&self) -> bool {
        self.outbox.has_failed()
    }

    /// What is to be handed out next: given once.
    pub fn next_handed(&mut self) -> Option<Handed> {
        self.next.take()
    }

    /// Brings all to disk a last time.
    pub fn finish(mut self, now: Moment) {
        let before = self.outbox.len() as u64;
        self.outbox.finish(now);
        self.recount(before);
        self.tell();
        self.lifetime.finish(self.health);
    }

    /// The publisher counts each result as it gives it away; here is what became of those.
    fn recount(&self, before: u64) {
        let change = (self.outbox.len() as u64).wrapping_sub(before);
        self.health.outbox.waiting.fetch_add(change, Relaxed);
    }

    fn tell(&mut self) {
        self.health.outbox.in_memory.store(self.outbox.has_failed(), Relaxed);
        let counters = &self.health.counters;
        for note in self.outbox.take_notes() {
            match note {
                // Told by the publisher, once a minute.
                Note::Dropped(count) => {
                    counters.results_dropped.fetch_add(count, Relaxed);
                }
                Note::Damaged(damage) => {
                    counters.torn_tails.fetch_add(damage.torn_tails, Relaxed);
                    counters.results_lost.fetch_add(damage.lost, Relaxed);
                    self.events.tell(Event::OutboxDamaged {
                        torn_tails: damage.torn_tails,
                        lost: damage.lost,
                        unreadable: damage.unreadable,
                    });
                }
                Note::Failed(cause) => self.events.tell(Event::OutboxFailed { cause }),
                Note::Recovered { after } => self.events.tell(Event::OutboxBack { after }),
            }
        }
    }
}

/// Waits for an order, or until `next` is taken.
fn wait(orders: &Receiver<Order>, handed: &Sender<Handed>, next: &mut Option<Handed>) -> Woken {
    let mut select = Select::new();
    let ordering = select.recv(orders);
    if next.is_some() {
        select.send(handed);
    }
    let Ok(woken) = select.select_timeout(IDLE) else { return Woken::Nothing };
    if woken.index() == ordering {
        return woken.recv(orders).map_or(Woken::Ended, Woken::Ordered);
    }
    let next = next.take().expect("what is selected is there");
    // The publisher ends with its orders: then they end as well.
    drop(woken.send(handed, next));
    Woken::Taken
}
