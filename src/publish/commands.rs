//! What becomes of a command: refused with a reason, or handed to whoever carries it out. Answered either way.
//!
//! Pure but for the channel that it hands on to: it is given each message and the time.

pub mod allowance;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use tracing::{debug, info, warn};

use crate::clock::Moment;
use crate::command::{Command, CommandId, Order};
use crate::events::{Event, Said, Told};
use crate::frame::CameraId;
use crate::health::Health;
use crate::publish::commands::allowance::Allowance;
use crate::publish::payload::command;

/// Refusals are told at most once in this time, so that a sender that has gone wrong does not fill the journal.
const REFUSALS: Duration = Duration::from_secs(1);

/// Answers that may wait for the broker.
const ANSWERS: usize = 256;

/// So many ids back, and for so long, a repeated command is known. Long enough for a sender that is not sure, and short
/// enough for one that counts its ids round.
const REMEMBERED: (usize, Duration) = (256, Duration::from_secs(10));

/// A message from a topic below `<prefix>/cmd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// What follows `<prefix>/cmd/`.
    pub leaf: String,
    pub payload: Vec<u8>,
    /// The broker had kept it: nobody knows since when.
    pub retained: bool,
    /// The broker may have sent it before.
    pub repeated: bool,
}

/// What the station can be asked for, and who does it.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// For the supervisor. Full: the command is refused.
    pub orders: &'a Sender<Command>,
    /// For the intake. Full: the command is refused.
    pub triggers: &'a Sender<Command>,
    /// The cameras that are triggered by command, of all that there are.
    pub triggered: &'a [CameraId],
    /// Whether there is a file for this product.
    pub has_product: &'a (dyn Fn(&str) -> bool + Sync),
}

impl std::fmt::Debug for Desk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("triggered", &self.triggered).finish_non_exhaustive()
    }
}

/// A command that was accepted under an id.
#[derive(Debug)]
struct Accepted {
    id: CommandId,
    content: u64,
    at: Moment,
}

#[derive(Debug)]
pub struct Commands<'a> {
    desk: Desk<'a>,
    health: &'a Health,
    allowance: Allowance,
    /// The oldest first.
    accepted: VecDeque<Accepted>,
    answers: VecDeque<Told>,
    /// Refused since the last refusal that was told.
    untold: u64,
    quiet_until: Duration,
}

impl<'a> Commands<'a> {
    /// Takes at most `per_s` commands a second.
    pub fn new(desk: Desk<'a>, health: &'a Health, per_s: u32, now: Moment) -> Self {
        Self {
            desk,
            health,
            allowance: Allowance::new(per_s, now),
            accepted: VecDeque::new(),
            answers: VecDeque::new(),
            untold: 0,
            quiet_until: Duration::ZERO,
        }
    }

    /// Decides about a message and queues the answer.
    pub fn take(&mut self, incoming: &Incoming, now: Moment) {
        let leaf = incoming.leaf.as_str();
        if !self.allowance.take(now) {
            let cause = format!("more than {} commands a second", self.allowance.per_s());
            return self.refuse(leaf, None, cause, now);
        }
        let (id, order) = command::read(leaf, &incoming.payload);
        match order.and_then(|order| self.hand_on(incoming, &order, id.as_ref(), now)) {
            Ok(is_repeat) => self.accept(leaf, id, is_repeat, now),
            Err(cause) => self.refuse(leaf, id, cause, now),
        }
    }

    /// The next answer that waits for the broker.
    pub fn next_answer(&mut self) -> Option<Told> {
        self.answers.pop_front()
    }

    /// True for a command that is carried out already.
    fn hand_on(
        &mut self,
        incoming: &Incoming,
        order: &Order,
        id: Option<&CommandId>,
        now: Moment,
    ) -> Result<bool, String> {
        if incoming.retained {
            return Err("it was retained, so nobody knows how old it is: send commands without retain".into());
        }
        if incoming.repeated && id.is_none() {
            return Err("the broker may have sent it before: give commands an id".into());
        }
        self.check(order)?;
        let content = hash(incoming);
        if let Some(id) = id {
            // The broker may take its time with what it sends once more.
            let is_fresh = |known: &Accepted| incoming.repeated || now.since(known.at) < REMEMBERED.1;
            match self.accepted.iter().rev().find(|known| known.id == *id) {
                Some(known) if !is_fresh(known) => {}
                Some(known) if known.content == content => return Ok(true),
                Some(_) => return Err("its id was used for another command within 10 s".into()),
                None => {}
            }
        }
        let command = Command { order: order.clone(), id: id.cloned(), at: now };
        let desk = match order {
            Order::Trigger { .. } => self.desk.triggers,
            Order::Product(_) | Order::Reload => self.desk.orders,
        };
        match desk.try_send(command) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err("busy with earlier commands".into()),
            Err(TrySendError::Disconnected(_)) => return Err("the station is stopping".into()),
        }
        if let Some(id) = id {
            self.accepted.push_back(Accepted { id: id.clone(), content, at: now });
            if self.accepted.len() > REMEMBERED.0 {
                self.accepted.pop_front();
            }
        }
        Ok(false)
    }

    fn check(&self, order: &Order) -> Result<(), String> {
        match order {
            Order::Trigger { camera: None, .. } if self.desk.triggered.is_empty() => {
                Err("no camera is triggered by command".into())
            }
            Order::Trigger { camera: Some(camera), .. } if !self.desk.triggered.contains(camera) => {
                if self.health.cameras.iter().any(|known| known.id == *camera) {
                    Err(format!("camera {camera} is not triggered by command"))
                } else {
                    Err(format!("there is no camera {camera}"))
                }
            }
            Order::Product(name) if !(self.desk.has_product)(name) => {
                Err(format!("there is no product {name}"))
            }
            Order::Trigger { .. } | Order::Product(_) | Order::Reload => Ok(()),
        }
    }

    fn accept(&mut self, leaf: &str, id: Option<CommandId>, is_repeat: bool, now: Moment) {
        self.health.counters.commands_accepted.fetch_add(1, Relaxed);
        let id = id.map(|id| id.as_str().into());
        let event = Event::CommandAccepted { command: leaf.into(), id, is_repeat };
        let Said { name, text, .. } = event.said();
        // Triggers come as often as parts do.
        if leaf == "trigger" {
            debug!(event = name, "{text}");
        } else {
            info!(event = name, "{text}");
        }
        self.answer(event, now);
    }

    fn refuse(&mut self, leaf: &str, id: Option<CommandId>, cause: String, now: Moment) {
        self.health.counters.commands_refused.fetch_add(1, Relaxed);
        if now.mono < self.quiet_until {
            self.untold += 1;
            return;
        }
        self.quiet_until = now.mono + REFUSALS;
        let untold = std::mem::take(&mut self.untold);
        let id = id.map(|id| id.as_str().into());
        let event = Event::CommandRefused { command: leaf.into(), id, cause, untold };
        let Said { name, text, .. } = event.said();
        warn!(event = name, "{text}");
        self.answer(event, now);
    }

    fn answer(&mut self, event: Event, now: Moment) {
        if self.answers.len() < ANSWERS {
            self.answers.push_back(Told { event, at: now });
        } else {
            self.health.counters.events_dropped.fetch_add(1, Relaxed);
        }
    }
}

fn hash(incoming: &Incoming) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&incoming.leaf, &incoming.payload).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
