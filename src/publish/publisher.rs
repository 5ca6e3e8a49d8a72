//! What the publisher decides: what is sent, when, and what becomes of it. Without a thread: [`super::run`] is the loop
//! that feeds it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvError, Sender};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tracing::info;

use crate::clock::Moment;
use crate::events::{Event, Told};
use crate::publish::Station;
use crate::publish::broker::{Broker, News, Parcel};
use crate::publish::bulletin::{Bulletin, Every};
use crate::publish::commands::{Commands, Incoming};
use crate::publish::mqtt::{Heard, Message, Network, Will};
use crate::publish::outbox::format::Entry;
use crate::publish::outbox::keeper::{Handed, Order};
use crate::publish::payload::counters::Delivery;
use crate::publish::payload::totals::Totals;
use crate::publish::payload::{event, part, result, status, verdict};
use crate::publish::topics::Topics;
use crate::verdict::{Decided, PartVerdict, Verdict};

/// Lost results are told of at once, then at most this often.
const LOSSES: Duration = Duration::from_mins(1);

/// Orders that may wait for a disk that takes its time.
pub const ORDERS: usize = 8192;

/// So many of these places are left to what is not a result.
const OTHER_ORDERS: usize = 256;

/// Everything between the verdicts and the connection.
#[derive(Debug)]
pub struct Publisher<'a> {
    station: &'a Station<'a>,
    topics: Topics,
    broker: Broker<'a>,
    /// To the outbox.
    orders: Sender<Order>,
    /// Counts the connections.
    round: u64,
    /// The outbox knows of this connection.
    has_begun: bool,
    /// The result that is to be given to the broker next.
    in_hand: Option<Handed>,
    bulletin: Bulletin<'a>,
    commands: Option<Commands<'a>>,
    rng: Pcg64,
    last_seq: Option<u64>,
    /// What earlier runs have counted.
    before: Totals,
    /// So many results that were dropped are told of.
    losses_told: u64,
    losses: Every,
}

impl<'a> Publisher<'a> {
    /// `before` is what earlier runs have counted. `orders` go to the outbox, and have room for [`ORDERS`].
    pub fn new(
        station: &'a Station<'a>,
        before: Totals,
        orders: Sender<Order>,
        network: Box<dyn Network + 'a>,
        mut rng: Pcg64,
        now: Moment,
    ) -> Self {
        let topics = Topics::new(&station.mqtt.prefix);
        let payload = status::last_will(&station.origin).encode();
        let will = Will { topic: topics.status.clone(), payload };
        let (mqtt, health) = (station.mqtt, station.health);
        let filter = station.desk.is_some().then(|| topics.all_commands());
        let pauses = Pcg64::from_rng(&mut rng);
        Self {
            station,
            topics,
            broker: Broker::new((mqtt, health), will, filter, network, pauses, now),
            orders,
            round: 0,
            has_begun: false,
            in_hand: None,
            bulletin: Bulletin::new(health, station.origin),
            commands: station.desk.map(|desk| Commands::new(desk, health, mqtt.commands_per_s, now)),
            rng,
            last_seq: None,
            before,
            losses_told: 0,
            losses: Every::new(LOSSES),
        }
    }

    /// Does what is due, and returns when to call again at the latest.
    pub fn attend(&mut self, now: Moment) -> Duration {
        self.station.health.publish.beat(now);
        let retry = self.broker.attend(now);
        let delivery = self.delivery();
        let bulletin = self.bulletin.attend(&mut self.broker, &self.topics, delivery, now);
        if self.broker.is_connected() && !self.has_begun {
            self.has_begun = self.orders.try_send(Order::BeginAgain { round: self.round }).is_ok();
        }
        self.send_answers(now);
        self.send_result(now);
        if self.losses() > 0 && self.losses.is_due(now) {
            self.tell_losses();
        }
        retry.map_or(bulletin, |retry| retry.min(bulletin))
    }

    fn delivery(&self) -> Delivery {
        Delivery { last_seq: self.last_seq, before: self.before }
    }

    /// What the ledger decided.
    pub fn decided(&mut self, decided: &Decided, now: Moment) {
        match decided {
            Decided::View(verdict) => self.verdict(verdict, now),
            Decided::Part(part) => self.part(part, now),
        }
    }

    fn verdict(&mut self, verdict: &Verdict, now: Moment) {
        let camera = &verdict.trigger.camera;
        if !verdict.late {
            let to = self.topics.verdict(camera);
            self.live(&to, verdict.seq, verdict::encode(verdict, now), now);
        }
        let since = verdict.decided.utc.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let payload = result::encode(verdict, &self.station.origin, self.rng.random());
        self.keep(Entry {
            seq: verdict.seq,
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            camera: camera.as_str().into(),
            part: verdict.trigger.part_id.clone(),
            payload,
        });
    }

    fn keep(&self, entry: Entry) {
        let waiting = &self.station.health.outbox.waiting;
        // Before the outbox counts it off again.
        waiting.fetch_add(1, Relaxed);
        let fits = self.orders.len() + OTHER_ORDERS < ORDERS;
        if !fits || self.orders.try_send(Order::Keep(entry)).is_err() {
            waiting.fetch_sub(1, Relaxed);
            self.station.health.counters.results_dropped.fetch_add(1, Relaxed);
        }
    }

    fn part(&mut self, part: &PartVerdict, now: Moment) {
        let to = self.topics.part.clone();
        self.live(&to, part.seq, part::encode(part, now), now);
    }

    /// Now or never: the part is gone when the broker is back.
    fn live(&mut self, to: &str, seq: u64, payload: Vec<u8>, now: Moment) {
        if !self.broker.give(Parcel::Verdict, to, false, payload, now) {
            self.station.health.counters.verdicts_unsent.fetch_add(1, Relaxed);
        }
        self.last_seq = Some(seq);
    }

    /// Whether a result from the outbox would go on at once.
    pub fn takes_results(&self) -> bool {
        self.in_hand.is_none() && self.broker.takes_results()
    }

    /// A result comes from the outbox. One that was meant for an earlier connection comes again for this one.
    pub fn take(&mut self, handed: Handed, now: Moment) {
        if handed.round == self.round {
            self.in_hand = Some(handed);
            self.send_result(now);
        }
    }

    fn send_result(&mut self, now: Moment) {
        let Some(Handed { due, .. }) = &self.in_hand else { return };
        let payload =
            if due.replayed { result::replayed(&due.entry.payload) } else { due.entry.payload.clone() };
        let to = self.topics.result(&due.entry.camera);
        if self.broker.give(Parcel::Result(due.id), &to, false, payload, now) {
            if due.replayed {
                self.station.health.counters.replayed.fetch_add(1, Relaxed);
            }
            self.in_hand = None;
        }
    }

    fn command(&mut self, message: Message, now: Moment) {
        let (Some(commands), Some(leaf)) = (&mut self.commands, self.topics.command(&message.topic)) else {
            return;
        };
        let (leaf, Message { payload, retained, repeated, .. }) = (leaf.to_owned(), message);
        commands.take(&Incoming { leaf, payload, retained, repeated }, now);
    }

    fn send_answers(&mut self, now: Moment) {
        while self.broker.takes(Parcel::Station, now)
            && let Some(answer) = self.commands.as_mut().and_then(Commands::next_answer)
        {
            self.event(&answer, now);
        }
    }

    /// Whether an event would be sent at once.
    pub fn takes_events(&self, now: Moment) -> bool {
        self.broker.takes(Parcel::Station, now)
    }

    pub fn event(&mut self, told: &Told, now: Moment) {
        let payload = event::encode(told, &self.station.origin);
        if !self.broker.give(Parcel::Station, &self.topics.event, false, payload, now) {
            self.station.health.counters.events_dropped.fetch_add(1, Relaxed);
        }
    }

    /// What to wait for: goes to [`Self::hear`].
    pub fn heard(&self) -> Receiver<Heard> {
        self.broker.heard()
    }

    pub fn hear(&mut self, heard: Result<Heard, RecvError>, now: Moment) {
        match self.broker.hear(heard, now) {
            News::Connected { after } => {
                self.round += 1;
                (self.has_begun, self.in_hand) = (false, None);
                self.bulletin.begin_again();
                if let Some(away) = after {
                    self.station.events.tell(Event::BrokerBack { away });
                }
            }
            News::Message(message) => self.command(message, now),
            News::Deaf { cause, retry_in } => {
                self.station.events.tell(Event::CommandsUnheard { cause, retry_in });
            }
            News::Acknowledged(Parcel::Result(id)) => {
                // If this does not fit, the result is sent once more after the next start.
                drop(self.orders.try_send(Order::Acknowledged(id)));
            }
            News::Acknowledged(Parcel::Verdict | Parcel::Station | Parcel::Farewell)
            | News::Lost
            | News::None => {}
        }
    }

    /// Whether waiting on could deliver nothing more.
    pub fn is_done(&self, told: &Receiver<Told>) -> bool {
        let told = !self.broker.is_connected() || (told.is_empty() && self.broker.is_idle());
        told && self.station.health.outbox.waiting.load(Relaxed) == 0
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.broker.is_connected()
    }

    /// Whether everything given to the connection is acknowledged.
    pub fn is_idle(&self) -> bool {
        self.broker.is_idle()
    }

    /// How it ends: nothing else is said after this.
    pub fn say_last_words(&mut self, now: Moment) {
        if self.losses() > 0 {
            self.tell_losses();
        }
        let delivery = self.delivery();
        self.bulletin.last_words(&mut self.broker, &self.topics, delivery, now);
    }

    /// Ends the connection, if there is one; what comes of that is still to be heard.
    pub fn close(&self) {
        self.broker.close();
        let count = self.station.health.outbox.waiting.load(Relaxed);
        if count > 0 {
            info!(count, "results that the broker has not acknowledged wait for the next start");
        }
    }

    fn losses(&self) -> u64 {
        self.station.health.counters.results_dropped.load(Relaxed) - self.losses_told
    }

    fn tell_losses(&mut self) {
        let count = self.losses();
        self.losses_told += count;
        self.station.events.tell(Event::ResultsDropped { count });
    }
}
