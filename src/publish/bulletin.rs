//! What the station says about itself by the clock: status when it changes, heartbeat, counters.

use std::time::Duration;

use crate::clock::Moment;
use crate::health::Health;
use crate::publish::broker::{Broker, Parcel};
use crate::publish::payload::counters::{self, Delivery};
use crate::publish::payload::status::{self, Status};
use crate::publish::payload::{Origin, heartbeat};
use crate::publish::topics::Topics;

/// How often the status is looked at.
const LOOK: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_secs(1);
const COUNTERS: Duration = Duration::from_secs(10);

/// Something that comes round. Due at once, then a period after each time.
#[derive(Debug)]
pub struct Every {
    period: Duration,
    next: Duration,
}

impl Every {
    pub fn new(period: Duration) -> Self {
        Self { period, next: Duration::ZERO }
    }

    /// True once each period; rounds that were missed are not made up for.
    pub fn is_due(&mut self, now: Moment) -> bool {
        let due = now.mono >= self.next;
        if due {
            self.next = (self.next + self.period).max(now.mono + self.period / 2);
        }
        due
    }

    pub fn next(&self) -> Duration {
        self.next
    }

    pub fn make_due(&mut self) {
        self.next = Duration::ZERO;
    }
}

#[derive(Debug)]
pub struct Bulletin<'a> {
    health: &'a Health,
    origin: Origin<'a>,
    /// The status that the broker keeps, as far as this connection knows.
    shown: Option<Status<'a>>,
    beats: u32,
    look: Every,
    heartbeat: Every,
    counters: Every,
}

impl<'a> Bulletin<'a> {
    pub fn new(health: &'a Health, origin: Origin<'a>) -> Self {
        Self {
            health,
            origin,
            shown: None,
            beats: 0,
            look: Every::new(LOOK),
            heartbeat: Every::new(HEARTBEAT),
            counters: Every::new(COUNTERS),
        }
    }

    /// Publishes what is due, and returns when to call again at the latest.
    pub fn attend(
        &mut self,
        broker: &mut Broker<'_>,
        topics: &Topics,
        delivery: Delivery,
        now: Moment,
    ) -> Duration {
        if self.look.is_due(now) {
            let status = status::of(self.health, &self.origin, now);
            let is_news = self.shown.as_ref().is_none_or(|shown| !status.tells_the_same_as(shown));
            if is_news && broker.give(Parcel::Station, &topics.status, true, status.encode(), now) {
                self.shown = Some(status);
            }
        }
        if self.heartbeat.is_due(now) {
            let payload = heartbeat::encode(&self.origin, self.health, self.beats, now);
            broker.give(Parcel::Station, &topics.heartbeat, false, payload, now);
            self.beats = self.beats.wrapping_add(1);
        }
        if self.counters.is_due(now) {
            self.tell_counters(broker, topics, delivery, now);
        }
        self.look.next().min(self.heartbeat.next()).min(self.counters.next())
    }

    /// A new connection: the last will may have been published meanwhile.
    pub fn begin_again(&mut self) {
        self.shown = None;
        self.look.make_due();
        self.counters.make_due();
    }

    /// The counters as they end, and that nobody is there any more. If there is no room for that, the connection is broken
    /// off: a goodbye would take the last will with it, and the broker would keep READY.
    pub fn last_words(&mut self, broker: &mut Broker<'_>, topics: &Topics, delivery: Delivery, now: Moment) {
        self.tell_counters(broker, topics, delivery, now);
        let status = status::stopped(&self.origin, now);
        if !broker.give(Parcel::Farewell, &topics.status, true, status.encode(), now) {
            broker.break_off(now);
        }
    }

    fn tell_counters(&self, broker: &mut Broker<'_>, topics: &Topics, delivery: Delivery, now: Moment) {
        let payload = counters::encode(&self.origin, self.health, delivery, now);
        broker.give(Parcel::Station, &topics.counters, true, payload, now);
    }
}
