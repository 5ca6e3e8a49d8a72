//! The publisher: verdicts to the PLC at once, results until they are acknowledged, and how the station is.
//!
//! One thread decides what is sent; the connection has a thread of its own (see [`mqtt`]). Whatever the broker
//! does, verdicts are taken from their channel without waiting for it. The end of that channel is the order to
//! stop.

pub mod broker;
pub mod bulletin;
pub mod failure;
pub mod mqtt;
pub mod outbox;
pub mod payload;
pub mod schema;
mod tls;
pub mod topics;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, never, select};
use rand::RngExt;
use rand_pcg::Pcg64;
use tracing::error;

use crate::clock::{Clock, Moment};
use crate::config::mqtt::Mqtt;
use crate::events::{Event, Events, Told};
use crate::health::Health;
use crate::publish::broker::{Broker, News, Parcel};
use crate::publish::bulletin::{Bulletin, Every};
use crate::publish::mqtt::{Heard, Will};
use crate::publish::outbox::{Due, Entry, Outbox};
use crate::publish::payload::counters::Delivery;
use crate::publish::payload::{Origin, event, result, status, verdict};
use crate::publish::topics::Topics;
use crate::verdict::Verdict;

/// Lost results are told of at once, then at most this often.
const LOSSES: Duration = Duration::from_mins(1);

/// After the last verdict, so long for the broker to acknowledge what it was sent.
const DRAIN: Duration = Duration::from_secs(2);

/// And so long for each of the last words and the goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// What the publisher is given for its life.
#[derive(Clone, Debug)]
pub struct Station<'a> {
    pub origin: Origin<'a>,
    pub mqtt: &'a Mqtt,
    pub health: &'a Health,
    pub events: Events<'a>,
}

/// Publishes until `verdicts` ends, then delivers what it can within seconds and says goodbye.
///
/// `told` is the far end of the channel behind `station.events`. Events wait in it while the broker is away.
pub fn run(station: &Station<'_>, clock: &dyn Clock, verdicts: &Receiver<Verdict>, told: &Receiver<Told>) {
    let mut publisher = Publisher::new(station, clock.now());
    let (no_verdicts, no_events) = (never(), never());
    let (mut verdicts, mut told) = (verdicts, told);
    let mut stop_by = None;
    loop {
        let now = clock.now();
        station.health.publish.beat(now);
        let next = publisher.attend(now);
        if stop_by.is_some_and(|by| now.mono >= by || publisher.is_done(told)) {
            return publisher.say_goodbye(clock);
        }
        let heard = publisher.broker.heard();
        let told_now = if publisher.broker.takes(Parcel::Station, now) { told } else { &no_events };
        select! {
            recv(verdicts) -> verdict => if let Ok(verdict) = verdict {
                publisher.verdict(&verdict, clock.now());
            } else {
                verdicts = &no_verdicts;
                stop_by = Some(clock.now().mono + DRAIN);
            },
            recv(told_now) -> event => match event {
                Ok(event) => publisher.event(&event, clock.now()),
                Err(RecvError) => told = &no_events,
            },
            recv(heard) -> heard => publisher.hear(heard, clock.now()),
            default(next.saturating_sub(now.mono)) => {}
        }
    }
}

struct Publisher<'a> {
    station: &'a Station<'a>,
    topics: Topics,
    broker: Broker<'a>,
    outbox: Outbox,
    bulletin: Bulletin<'a>,
    rng: Pcg64,
    last_seq: Option<u64>,
    /// Results that were dropped and not told of yet.
    lost: u64,
    losses: Every,
}

impl<'a> Publisher<'a> {
    fn new(station: &'a Station<'a>, now: Moment) -> Self {
        let topics = Topics::new(&station.mqtt.prefix);
        let payload = status::last_will(&station.origin).encode();
        let will = Will { topic: topics.status.clone(), payload };
        Self {
            station,
            topics,
            broker: Broker::new(station.mqtt, station.health, will, now),
            outbox: Outbox::new(station.mqtt.queue),
            bulletin: Bulletin::new(station.health, station.origin),
            rng: broker::seeded(),
            last_seq: None,
            lost: 0,
            losses: Every::new(LOSSES),
        }
    }

    /// Does what is due, and returns when to call again at the latest.
    fn attend(&mut self, now: Moment) -> Duration {
        let retry = self.broker.attend(now);
        let delivery = Delivery { last_seq: self.last_seq, results_queued: self.outbox.len() };
        let bulletin = self.bulletin.attend(&mut self.broker, &self.topics, delivery, now);
        self.send_results(now);
        if self.lost > 0 && self.losses.is_due(now) {
            self.tell_losses();
        }
        retry.map_or(bulletin, |retry| retry.min(bulletin))
    }

    fn verdict(&mut self, verdict: &Verdict, now: Moment) {
        let (counters, camera) = (&self.station.health.counters, &verdict.trigger.camera);
        if !verdict.late {
            let (to, payload) = (self.topics.verdict(camera), verdict::encode(verdict, now));
            if !self.broker.give(Parcel::Verdict, &to, false, payload, now) {
                counters.verdicts_unsent.fetch_add(1, Relaxed);
            }
            self.last_seq = Some(verdict.seq);
        }
        let payload = result::encode(verdict, &self.station.origin, self.rng.random());
        if self.outbox.append(Entry { camera: camera.clone(), payload }) {
            self.count_dropped(1);
            self.lost += 1;
        }
    }

    fn send_results(&mut self, now: Moment) {
        while let Some(Due { id, entry, replayed }) = self.outbox.due() {
            let parcel = Parcel::Result(id);
            if !self.broker.takes(parcel, now) {
                return;
            }
            let payload = if replayed { result::replayed(&entry.payload) } else { entry.payload.clone() };
            if !self.broker.give(parcel, &self.topics.result(&entry.camera), false, payload, now) {
                return;
            }
            self.outbox.handed_out(id);
        }
    }

    fn event(&mut self, told: &Told, now: Moment) {
        let payload = event::encode(told, &self.station.origin);
        if !self.broker.give(Parcel::Station, &self.topics.event, false, payload, now) {
            self.station.health.counters.events_dropped.fetch_add(1, Relaxed);
        }
    }

    fn hear(&mut self, heard: Result<Heard, RecvError>, now: Moment) {
        match self.broker.hear(heard, now) {
            News::Connected { after } => {
                self.outbox.begin_again();
                self.bulletin.begin_again();
                if let Some(away) = after {
                    self.station.events.tell(Event::BrokerBack { away });
                }
            }
            News::Acknowledged(Parcel::Result(id)) => self.outbox.acknowledged(id),
            News::Acknowledged(Parcel::Verdict | Parcel::Station) | News::Lost | News::None => {}
        }
    }

    /// Whether waiting on could deliver nothing more.
    fn is_done(&self, told: &Receiver<Told>) -> bool {
        let told = !self.broker.is_connected() || (told.is_empty() && self.broker.is_idle());
        told && self.outbox.is_empty()
    }

    fn say_goodbye(&mut self, clock: &dyn Clock) {
        if self.lost > 0 {
            self.tell_losses();
        }
        let delivery = Delivery { last_seq: self.last_seq, results_queued: self.outbox.len() };
        self.bulletin.last_words(&mut self.broker, &self.topics, delivery, clock.now());
        self.hear_until(clock, Broker::is_idle);
        self.broker.close();
        self.hear_until(clock, |_| false);
        if !self.outbox.is_empty() {
            let count = self.outbox.len();
            error!(count, "results given up: stopped before the broker acknowledged them");
            self.count_dropped(count);
        }
    }

    fn tell_losses(&mut self) {
        self.station.events.tell(Event::ResultsDropped { count: std::mem::take(&mut self.lost) });
    }

    fn count_dropped(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.station.health.counters.results_dropped.fetch_add(count, Relaxed);
    }

    /// Listens to the broker until it is as wanted or gone, for [`GOODBYE`] at most.
    fn hear_until(&mut self, clock: &dyn Clock, wanted: fn(&Broker<'a>) -> bool) {
        let end = clock.now().mono + GOODBYE;
        while self.broker.is_connected() && !wanted(&self.broker) {
            let left = end.saturating_sub(clock.now().mono);
            match self.broker.heard().recv_timeout(left) {
                Ok(heard) => self.hear(Ok(heard), clock.now()),
                Err(RecvTimeoutError::Disconnected) => self.hear(Err(RecvError), clock.now()),
                Err(RecvTimeoutError::Timeout) => return,
            }
        }
    }
}
