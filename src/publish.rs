//! The publisher: verdicts to the PLC at once, results until they are acknowledged, and how the station is.
//!
//! One thread decides what is sent; the connection has a thread of its own (see [`mqtt`]), and so has the disk (see
//! [`outbox`]). Whatever broker and disk do, verdicts are taken from their channel without waiting for them. The end
//! of that channel is the order to stop.

pub mod broker;
pub mod bulletin;
pub mod commands;
pub mod failure;
pub mod lifetime;
pub mod mqtt;
pub mod outbox;
pub mod payload;
pub mod schema;
mod tls;
pub mod topics;

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{Builder, scope};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, Sender, bounded, never, select};
use rand::RngExt;
use rand_pcg::Pcg64;
use tracing::info;

use crate::clock::{Clock, Moment};
use crate::config;
use crate::config::mqtt::Mqtt;
use crate::events::{Event, Events, Told};
use crate::health::Health;
use crate::publish::broker::{Broker, News, Parcel};
use crate::publish::bulletin::{Bulletin, Every};
use crate::publish::commands::{Commands, Desk, Incoming};
use crate::publish::failure::Failure;
use crate::publish::lifetime::Lifetime;
use crate::publish::mqtt::{Heard, Message, Will};
use crate::publish::outbox::Outbox;
use crate::publish::outbox::disk::{Disk, Folder};
use crate::publish::outbox::format::Entry;
use crate::publish::outbox::keeper::{Handed, Keeper, Order};
use crate::publish::payload::counters::Delivery;
use crate::publish::payload::totals::Totals;
use crate::publish::payload::{Origin, event, part, result, status, verdict};
use crate::publish::topics::Topics;
use crate::verdict::{Decided, PartVerdict, Verdict};

/// Lost results are told of at once, then at most this often.
const LOSSES: Duration = Duration::from_mins(1);

/// After the last verdict, so long for the broker to acknowledge what it was sent.
const DRAIN: Duration = Duration::from_secs(2);

/// And so long for each of the last words and the goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// Orders that may wait for a disk that takes its time.
const ORDERS: usize = 8192;

/// So many of these places are left to what is not a result.
const OTHER_ORDERS: usize = 256;

/// What the publisher is given for its life.
#[derive(Clone, Debug)]
pub struct Station<'a> {
    pub origin: Origin<'a>,
    pub mqtt: &'a Mqtt,
    /// Here is the outbox, and here the counters are kept.
    pub state_dir: &'a Path,
    pub outbox: &'a config::outbox::Outbox,
    pub health: &'a Health,
    pub events: Events<'a>,
    /// Where commands go; None takes none.
    pub desk: Option<Desk<'a>>,
}

/// Whether the certificates that the settings name can be used. Nobody is connected to.
pub fn check(mqtt: &Mqtt) -> Result<(), Failure> {
    mqtt.tls.as_ref().map_or(Ok(()), |tls| tls::connector(tls).map(drop))
}

/// Publishes until `verdicts` ends, then delivers what it can within seconds and says goodbye.
///
/// `told` is the far end of the channel behind `station.events`. Events wait in it while the broker is away.
pub fn run(station: &Station<'_>, clock: &dyn Clock, verdicts: &Receiver<Decided>, told: &Receiver<Told>) {
    let disks = (Folder::new(station.state_dir), Folder::new(station.state_dir.join(outbox::FOLDER)));
    run_on(disks, station, clock, verdicts, told);
}

/// The same with disks of the caller's for the counters and for the outbox.
pub fn run_on<D: Disk + Send>(
    (counters, results): (D, D),
    station: &Station<'_>,
    clock: &dyn Clock,
    verdicts: &Receiver<Decided>,
    told: &Receiver<Told>,
) {
    let (lifetime, problem) = Lifetime::load(counters);
    if let Some(cause) = problem {
        station.events.tell(Event::CountersLost { cause });
    }
    let before = lifetime.before();
    let outbox = Outbox::new(results, station.outbox.max_bytes);
    let keeper = Keeper { outbox, lifetime, health: station.health, events: station.events.clone() };
    // Full: the disk hangs, and a result that does not fit is given up and counted.
    let (orders_in, orders) = bounded(ORDERS);
    // Full: the results are on disk and wait there.
    let (handed_in, handed) = bounded(broker::RESULTS);
    station.health.outbox.beat.beat(clock.now());
    scope(|scope| {
        Builder::new()
            .name("outbox".into())
            .spawn_scoped(scope, || keeper.run(clock, &orders, &handed_in))
            .expect("a machine has room for a few threads");
        publish(Publisher::new(station, before, orders_in, clock.now()), clock, (verdicts, told), &handed);
    });
}

fn publish(
    mut publisher: Publisher<'_>,
    clock: &dyn Clock,
    (verdicts, told): (&Receiver<Decided>, &Receiver<Told>),
    handed: &Receiver<Handed>,
) {
    let (no_verdicts, no_events, nothing_handed) = (never(), never(), never());
    let (mut verdicts, mut told) = (verdicts, told);
    let mut stop_by = None;
    loop {
        let now = clock.now();
        publisher.station.health.publish.beat(now);
        let next = publisher.attend(now);
        if stop_by.is_some_and(|by| now.mono >= by || publisher.is_done(told)) {
            return publisher.say_goodbye(clock);
        }
        let heard = publisher.broker.heard();
        let told_now = if publisher.broker.takes(Parcel::Station, now) { told } else { &no_events };
        let handed_now = if publisher.takes_results() { handed } else { &nothing_handed };
        select! {
            recv(verdicts) -> verdict => match verdict {
                Ok(Decided::View(verdict)) => publisher.verdict(&verdict, clock.now()),
                Ok(Decided::Part(part)) => publisher.part(&part, clock.now()),
                Err(RecvError) => {
                    verdicts = &no_verdicts;
                    stop_by = Some(clock.now().mono + DRAIN);
                }
            },
            recv(told_now) -> event => match event {
                Ok(event) => publisher.event(&event, clock.now()),
                Err(RecvError) => told = &no_events,
            },
            recv(handed_now) -> handed => if let Ok(handed) = handed {
                publisher.take(handed, clock.now());
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
    fn new(station: &'a Station<'a>, before: Totals, orders: Sender<Order>, now: Moment) -> Self {
        let topics = Topics::new(&station.mqtt.prefix);
        let payload = status::last_will(&station.origin).encode();
        let will = Will { topic: topics.status.clone(), payload };
        let (mqtt, health) = (station.mqtt, station.health);
        let filter = station.desk.is_some().then(|| topics.all_commands());
        Self {
            station,
            topics,
            broker: Broker::new(mqtt, health, will, filter, now),
            orders,
            round: 0,
            has_begun: false,
            in_hand: None,
            bulletin: Bulletin::new(health, station.origin),
            commands: station.desk.map(|desk| Commands::new(desk, health, mqtt.commands_per_s, now)),
            rng: broker::seeded(),
            last_seq: None,
            before,
            losses_told: 0,
            losses: Every::new(LOSSES),
        }
    }

    /// Does what is due, and returns when to call again at the latest.
    fn attend(&mut self, now: Moment) -> Duration {
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

    fn takes_results(&self) -> bool {
        self.in_hand.is_none() && self.broker.takes_results()
    }

    /// A result comes from the outbox. One that was meant for an earlier connection comes again for this one.
    fn take(&mut self, handed: Handed, now: Moment) {
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

    fn event(&mut self, told: &Told, now: Moment) {
        let payload = event::encode(told, &self.station.origin);
        if !self.broker.give(Parcel::Station, &self.topics.event, false, payload, now) {
            self.station.health.counters.events_dropped.fetch_add(1, Relaxed);
        }
    }

    fn hear(&mut self, heard: Result<Heard, RecvError>, now: Moment) {
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
            News::Acknowledged(Parcel::Verdict | Parcel::Station) | News::Lost | News::None => {}
        }
    }

    /// Whether waiting on could deliver nothing more.
    fn is_done(&self, told: &Receiver<Told>) -> bool {
        let told = !self.broker.is_connected() || (told.is_empty() && self.broker.is_idle());
        told && self.station.health.outbox.waiting.load(Relaxed) == 0
    }

    fn say_goodbye(&mut self, clock: &dyn Clock) {
        if self.losses() > 0 {
            self.tell_losses();
        }
        let delivery = self.delivery();
        self.bulletin.last_words(&mut self.broker, &self.topics, delivery, clock.now());
        self.hear_until(clock, Broker::is_idle);
        self.broker.close();
        self.hear_until(clock, |_| false);
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
