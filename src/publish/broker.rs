//! Keeps a connection to the broker: opens one, loses it, waits, opens the next, for ever.
//!
//! It knows what is on its way and not acknowledged. It does not know what the messages say, and keeps none:
//! what a lost connection held is for its caller to send again or not.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvError, never};
use rand_pcg::Pcg64;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::clock::Moment;
use crate::config::mqtt::Mqtt;
use crate::health::Health;
use crate::publish::failure::Failure;
use crate::publish::mqtt::{Heard, Link, Message, Network, WINDOW, Will};
use crate::publish::outbox::EntryId;

/// Results on their way at one time. Few, so that a backlog never stands before a verdict.
pub const RESULTS: usize = 16;

/// The rest of the window is kept for verdicts.
const OTHERS: usize = WINDOW as usize / 2;

/// A broker that has not acknowledged a message for this long is stuck. A verdict given to it would arrive
/// when its part is gone.
const STUCK: Duration = Duration::from_secs(1);

/// A connection that held this long was a good one: the next loss is news, and the first try comes soon. The same for a
/// subscription.
const STEADY: Duration = Duration::from_secs(10);

/// After a message that is too large, or a subscription that was refused, so long without one: a message that the
/// broker keeps would end every connection.
const DEAF: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));

/// The same failure is logged this often.
const REPEAT: Duration = Duration::from_mins(1);

/// What a message is, for those who wait for its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parcel {
    Verdict,
    Result(EntryId),
    /// About the station, not about a part.
    Station,
    /// The last word about the station: nothing comes after it, so it may use all the room there is.
    Farewell,
}

impl Parcel {
    fn is_about_a_part(self) -> bool {
        match self {
            Self::Verdict | Self::Result(_) => true,
            Self::Station | Self::Farewell => false,
        }
    }
}

/// What a caller has to act on.
#[derive(Debug)]
pub enum News {
    None,
    /// `after` is how long the broker was away, if a try to reach it failed.
    Connected {
        after: Option<Duration>,
    },
    Acknowledged(Parcel),
    /// From what we subscribed to.
    Message(Message),
    /// What we subscribe to is not heard until `retry_in` has passed. There may be no connection now.
    Deaf {
        cause: String,
        retry_in: Duration,
    },
    /// There is no connection now.
    Lost,
}

/// What we subscribe to in each connection.
#[derive(Debug)]
struct Subscription {
    filter: String,
    /// It was asked for in this connection.
    is_asked: bool,
    /// Since when the broker has granted it in this connection.
    granted: Option<Moment>,
    not_before: Duration,
    pauses: Backoff,
}

#[derive(Debug)]
pub struct Broker<'a> {
    mqtt: &'a Mqtt,
    health: &'a Health,
    will: Will,
    subscription: Option<Subscription>,
    network: Box<dyn Network + 'a>,
    link: Option<Box<dyn Link>>,
    connected: Option<Moment>,
    on_their_way: BTreeMap<u64, (Parcel, Moment)>,
    results_on_their_way: usize,
    backoff: Backoff,
    rng: Pcg64,
    next_try: Duration,
    away_since: Moment,
    missed: bool,
    complaint: Option<(String, Moment)>,
}

impl<'a> Broker<'a> {
    /// Subscribes to `filter` in each connection, if there is one. `rng` shortens the pauses between tries.
    pub fn new(
        (mqtt, health): (&'a Mqtt, &'a Health),
        will: Will,
        filter: Option<String>,
        network: Box<dyn Network + 'a>,
        rng: Pcg64,
        now: Moment,
    ) -> Self {
        let pauses = Backoff::new(DEAF.0, DEAF.1);
        let subscription = filter.map(|filter| Subscription {
            filter,
            is_asked: false,
            granted: None,
            not_before: Duration::ZERO,
            pauses,
        });
        Self {
            mqtt,
            health,
            will,
            subscription,
            network,
            link: None,
            connected: None,
            on_their_way: BTreeMap::new(),
            results_on_their_way: 0,
            backoff: Backoff::new(mqtt.retry.0, mqtt.retry.1),
            rng,
            next_try: now.mono,
            away_since: now,
            missed: false,
            complaint: None,
        }
    }

    pub fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// Whether everything given to the connection is acknowledged.
    pub fn is_idle(&self) -> bool {
        self.on_their_way.is_empty()
    }

    /// What to wait for: goes to [`Self::hear`].
    pub fn heard(&self) -> Receiver<Heard> {
        self.link.as_ref().map_or_else(never, |link| link.heard().clone())
    }

    /// Opens a connection if there is none and its time has come. Returns when to call again at the latest.
    pub fn attend(&mut self, now: Moment) -> Option<Duration> {
        if self.link.is_none() && self.next_try <= now.mono {
            match self.network.open(self.mqtt, self.will.clone()) {
                Ok(link) => self.link = Some(link),
                Err(failure) => self.lost(&failure, now),
            }
        }
        if self.link.is_none() {
            return Some(self.next_try);
        }
        self.attend_subscription(now)
    }

    fn attend_subscription(&mut self, now: Moment) -> Option<Duration> {
        let subscription = self.subscription.as_mut().filter(|subscription| !subscription.is_asked)?;
        let link = self.link.as_ref().filter(|_| self.connected.is_some())?;
        if subscription.not_before <= now.mono {
            subscription.is_asked = link.subscribe(&subscription.filter);
        }
        (!subscription.is_asked).then_some(subscription.not_before)
    }

    /// Subscribes to nothing for a while.
    fn be_deaf(&mut self, cause: String, now: Moment) -> News {
        let Some(subscription) = &mut self.subscription else { return News::Lost };
        let retry_in = subscription.pauses.next_pause(&mut self.rng);
        subscription.not_before = now.mono + retry_in;
        subscription.is_asked = false;
        News::Deaf { cause, retry_in }
    }

    /// Takes in what came from [`Self::heard`].
    pub fn hear(&mut self, heard: Result<Heard, RecvError>, now: Moment) -> News {
        let failure = match heard {
            Ok(Heard::Connected) => return self.connected(now),
            Ok(Heard::Acknowledged(number)) => return self.acknowledged(number),
            Ok(Heard::Message(message)) => return News::Message(message),
            Ok(Heard::Alive) => return News::None,
            Ok(Heard::Subscribed(true)) => {
                if let Some(subscription) = &mut self.subscription {
                    subscription.granted = Some(now);
                }
                return News::None;
            }
            Ok(Heard::Subscribed(false)) => {
                let filter = self.subscription.as_ref().map_or("", |subscription| &subscription.filter);
                let cause = format!("the broker does not let this client subscribe to {filter}");
                return self.be_deaf(cause, now);
            }
            Ok(Heard::Lost(failure)) => failure,
            Ok(Heard::Closed) => {
                self.forget_link(now);
                return News::Lost;
            }
            Err(RecvError) => Failure::Vanished { broker: self.mqtt.host.clone() },
        };
        self.lost(&failure, now);
        match failure {
            Failure::TooLarge { .. } => self.be_deaf(failure.explain(), now),
            _ => News::Lost,
        }
    }

    /// Whether a message given now would go out at once.
    pub fn takes(&self, parcel: Parcel, now: Moment) -> bool {
        let on_their_way = self.on_their_way.len();
        self.is_connected()
            && match parcel {
                Parcel::Verdict => on_their_way < usize::from(WINDOW) && !self.is_stuck(now),
                Parcel::Result(_) => self.takes_results(),
                Parcel::Station => on_their_way < OTHERS,
                Parcel::Farewell => on_their_way < usize::from(WINDOW),
            }
    }

    /// Whether a result given now would go out at once.
    pub fn takes_results(&self) -> bool {
        self.is_connected() && self.on_their_way.len() < OTHERS && self.results_on_their_way < RESULTS
    }

    /// Gives a message to the connection; `retain` asks the broker to keep it. False if it takes no more.
    pub fn give(&mut self, parcel: Parcel, to: &str, retain: bool, payload: Vec<u8>, now: Moment) -> bool {
        if !self.takes(parcel, now) {
            return false;
        }
        let Some(number) = self.link.as_mut().and_then(|link| link.publish(to, retain, payload)) else {
            return false;
        };
        self.on_their_way.insert(number, (parcel, now));
        if let Parcel::Result(_) = parcel {
            self.results_on_their_way += 1;
        }
        if parcel.is_about_a_part() {
            self.health.counters.published.fetch_add(1, Relaxed);
        }
        true
    }

    /// Says goodbye. [`Heard::Closed`] follows, if there is a connection.
    pub fn close(&self) {
        if let Some(link) = &self.link {
            link.close();
        }
    }

    /// Ends the connection without a goodbye, so that the broker publishes the last will.
    pub fn break_off(&mut self, now: Moment) {
        self.forget_link(now);
    }

    fn is_stuck(&self, now: Moment) -> bool {
        self.on_their_way.values().next().is_some_and(|(_, given)| now.since(*given) > STUCK)
    }

    fn connected(&mut self, now: Moment) -> News {
        self.connected = Some(now);
        self.health.broker_connected.store(true, Relaxed);
        info!(host = self.mqtt.host, port = self.mqtt.port, "connected to the broker");
        let missed = std::mem::take(&mut self.missed);
        News::Connected { after: missed.then(|| now.since(self.away_since)) }
    }

    fn acknowledged(&mut self, number: u64) -> News {
        let Some((parcel, _)) = self.on_their_way.remove(&number) else { return News::None };
        if let Parcel::Result(_) = parcel {
            self.results_on_their_way -= 1;
        }
        if parcel.is_about_a_part() {
            self.health.counters.acknowledged.fetch_add(1, Relaxed);
        }
        News::Acknowledged(parcel)
    }

    fn lost(&mut self, failure: &Failure, now: Moment) {
        self.forget_link(now);
        self.missed = true;
        let pause = self.backoff.next_pause(&mut self.rng);
        self.next_try = now.mono + pause;
        self.complain(failure, pause, now);
    }

    fn forget_link(&mut self, now: Moment) {
        if let Some(since) = self.connected.take() {
            self.away_since = now;
            if now.since(since) > STEADY {
                self.backoff.reset();
                self.complaint = None;
            }
        }
        self.link = None;
        if let Some(subscription) = &mut self.subscription {
            subscription.is_asked = false;
            if subscription.granted.take().is_some_and(|since| now.since(since) > STEADY) {
                subscription.pauses.reset();
            }
        }
        self.health.broker_connected.store(false, Relaxed);
        self.on_their_way.clear();
        self.results_on_their_way = 0;
    }

    /// Logs a failure when it is a new one, then once a minute.
    fn complain(&mut self, failure: &Failure, pause: Duration, now: Moment) {
        let text = failure.explain();
        if let Some((said, at)) = &self.complaint
            && *said == text
            && now.since(*at) < REPEAT
        {
            return;
        }
        // The journal shows the message alone: the cause stands in it.
        warn!(retry_in_s = pause.as_secs_f64(), "no connection to the broker: {text}");
        self.complaint = Some((text, now));
    }
}

/// A generator seeded by the system, for pauses and ids.
pub(super) fn seeded() -> Pcg64 {
    let random =
        || u128::from(RandomState::new().hash_one(0)) << 64 | u128::from(RandomState::new().hash_one(1));
    Pcg64::new(random(), random())
}

#[cfg(test)]
mod tests;
