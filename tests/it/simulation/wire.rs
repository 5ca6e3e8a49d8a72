//! A broker and the network to it: messages are under way, and are lost, delayed or kept as the script wants it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use csflowd::config::mqtt::Mqtt;
use csflowd::publish::failure::Failure;
use csflowd::publish::mqtt::{Heard, Link, Message, Network, WINDOW, Will};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::time::SimClock;

/// A client that hears nothing for so long gives the connection up.
const PATIENCE: Duration = Duration::from_millis(3500);

/// The broker; clones are the same broker.
#[derive(Clone, Debug)]
pub(crate) struct SimBroker(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    clock: SimClock,
    rng: Pcg64,
    is_up: bool,
    is_mute: bool,
    lines: BTreeMap<u64, Line>,
    /// What happens at the broker and at the client, by time.
    due: BTreeMap<(Duration, u64), Happening>,
    /// What would have happened at the broker while it is mute.
    held: Vec<Happening>,
    counted: u64,
    /// Verdicts that clients gave away.
    verdicts: u64,
    arrived: Vec<Arrived>,
    retained: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
struct Line {
    tell: Sender<Heard>,
    will: Option<Will>,
    /// Nothing that is given now arrives.
    is_cut: bool,
    given: u64,
    acknowledged: u64,
    /// Nothing overtakes, on the way to the broker and on the way back.
    last_arrival: Duration,
    last_return: Duration,
    is_subscribed: bool,
}

/// A message that the broker has.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) connection: u64,
    pub(crate) given: Duration,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug)]
enum Happening {
    Connects(u64),
    Arrives {
        number: u64,
        retain: bool,
        message: Arrived,
    },
    Acknowledged {
        connection: u64,
        number: u64,
    },
    Subscribes(u64),
    /// Somebody's message reaches the client.
    Returns {
        connection: u64,
        message: Message,
    },
    Goodbye(u64),
    /// The broker sees that a connection has broken.
    Will(Will),
    /// The client hears of it.
    Lost(u64),
    Patience(u64),
}

impl SimBroker {
    pub(crate) fn new(clock: SimClock, rng: Pcg64) -> Self {
        Self(Rc::new(RefCell::new(State {
            clock,
            rng,
            is_up: true,
            is_mute: false,
            lines: BTreeMap::new(),
            due: BTreeMap::new(),
            held: Vec::new(),
            counted: 0,
            verdicts: 0,
            arrived: Vec::new(),
            retained: BTreeMap::new(),
        })))
    }

    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.0.borrow().due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next thing that happens.
    pub(crate) fn step(&self) {
        let state = &mut *self.0.borrow_mut();
        if let Some((_, happening)) = state.due.pop_first() {
            state.happen(happening);
        }
    }

    /// What came since the last call.
    pub(crate) fn take_arrived(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.0.borrow_mut().arrived)
    }

    pub(crate) fn verdicts(&self) -> u64 {
        self.0.borrow().verdicts
    }

    pub(crate) fn retained(&self, topic: &str) -> Option<Vec<u8>> {
        self.0.borrow().retained.get(topic).cloned()
    }

    /// Somebody publishes. Who is not connected never hears of it; who is may hear it twice.
    pub(crate) fn publish(&self, topic: &str, payload: Vec<u8>) {
        let state = &mut *self.0.borrow_mut();
        let message = Message { topic: topic.into(), payload, retained: false, repeated: false };
        let now = state.clock.mono();
        for connection in state.lines.keys().copied().collect::<Vec<_>>() {
            let wait = state.latency();
            let Some(line) = state.lines.get_mut(&connection).filter(|line| line.is_subscribed) else {
                continue;
            };
            let at = line.last_return.max(now + wait);
            line.last_return = at;
            state.at(at, Happening::Returns { connection, message: message.clone() });
            if state.rng.random_bool(0.05) {
                let repeated = Message { repeated: true, ..message.clone() };
                let wait = Duration::from_millis(state.rng.random_range(0..200));
                state.at(at + wait, Happening::Returns { connection, message: repeated });
            }
        }
    }

    pub(crate) fn go(&self, forgets: bool) {
        let state = &mut *self.0.borrow_mut();
        state.is_up = false;
        state.cut(Duration::ZERO);
        if forgets {
            state.retained.clear();
        }
    }

    pub(crate) fn come_back(&self) {
        self.0.borrow_mut().is_up = true;
    }

    /// All connections break. The client hears of it after so long.
    pub(crate) fn cut(&self, noticed_after: Duration) {
        self.0.borrow_mut().cut(noticed_after);
    }

    pub(crate) fn set_mute(&self, is_mute: bool) {
        let state = &mut *self.0.borrow_mut();
        state.is_mute = is_mute;
        if is_mute {
            for connection in state.lines.keys().copied().collect::<Vec<_>>() {
                state.later(PATIENCE, Happening::Patience(connection));
            }
        } else {
            for happening in std::mem::take(&mut state.held) {
                state.happen(happening);
            }
        }
    }
}

impl State {
    fn later(&mut self, wait: Duration, happening: Happening) {
        self.at(self.clock.mono() + wait, happening);
    }

    fn at(&mut self, at: Duration, happening: Happening) {
        self.counted += 1;
        self.due.insert((at, self.counted), happening);
    }

    fn latency(&mut self) -> Duration {
        let us = if self.rng.random_bool(0.02) { 20_000 } else { 1000 };
        Duration::from_micros(self.rng.random_range(100..us))
    }

    fn happen(&mut self, happening: Happening) {
        let of_broker = matches!(
            happening,
            Happening::Connects(_)
                | Happening::Arrives { .. }
                | Happening::Subscribes(_)
                | Happening::Returns { .. }
                | Happening::Goodbye(_)
                | Happening::Will(_)
        );
        if self.is_mute && of_broker {
            return self.held.push(happening);
        }
        match happening {
            Happening::Connects(connection) => self.tell(connection, Heard::Connected),
            Happening::Arrives { number, retain, message } => {
                let connection = message.connection;
                if retain {
                    self.retained.insert(message.topic.clone(), message.payload.clone());
                }
                self.arrived.push(message);
                if self.lines.get(&connection).is_some_and(|line| !line.is_cut) {
                    let wait = self.latency();
                    self.later(wait, Happening::Acknowledged { connection, number });
                }
            }
            Happening::Acknowledged { connection, number } => {
                if let Some(line) = self.lines.get_mut(&connection).filter(|line| !line.is_cut) {
                    line.acknowledged += 1;
                    self.tell(connection, Heard::Acknowledged(number));
                }
            }
            Happening::Subscribes(connection) => {
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.is_subscribed = true;
                }
                self.tell(connection, Heard::Subscribed(true));
            }
            Happening::Returns { connection, message } => self.tell(connection, Heard::Message(message)),
            Happening::Goodbye(connection) => {
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.will = None;
                    self.tell(connection, Heard::Closed);
                    self.lines.remove(&connection);
                }
            }
            Happening::Will(will) => {
                self.retained.insert(will.topic, will.payload);
            }
            Happening::Lost(connection) => self.lose(connection),
            Happening::Patience(connection) => {
                // What the client had sent still waits in the broker's socket.
                if self.is_mute {
                    self.lose(connection);
                }
            }
        }
    }

    fn lose(&mut self, connection: u64) {
        self.tell(connection, Heard::Lost(Failure::NoAnswer { broker: "simulated".into() }));
        if let Some(line) = self.lines.remove(&connection) {
            self.execute(line.will, line.last_arrival);
        }
    }

    /// After all that came through.
    fn execute(&mut self, will: Option<Will>, last_arrival: Duration) {
        if let Some(will) = will {
            self.at(last_arrival.max(self.clock.mono()), Happening::Will(will));
        }
    }

    fn tell(&mut self, connection: u64, heard: Heard) {
        if let Some(line) = self.lines.get(&connection) {
            // Nobody listens: the process is gone, and its last will is told when that is noticed.
            drop(line.tell.try_send(heard));
        }
    }

    fn cut(&mut self, noticed_after: Duration) {
        // The broker has what came through until then.
        let mut is_through = true;
        let under_way = std::mem::take(&mut self.due);
        for (at, happening) in under_way {
            let kept = match &happening {
                Happening::Arrives { .. } => {
                    is_through &= self.rng.random_bool(0.7);
                    is_through
                }
                Happening::Connects(_)
                | Happening::Acknowledged { .. }
                | Happening::Subscribes(_)
                | Happening::Returns { .. }
                | Happening::Goodbye(_) => false,
                Happening::Lost(_) | Happening::Patience(_) | Happening::Will(_) => true,
            };
            if kept {
                self.due.insert(at, happening);
            }
        }
        self.held.retain(|happening| matches!(happening, Happening::Arrives { .. } | Happening::Will(_)));
        let connections: Vec<u64> = self.lines.keys().copied().collect();
        for connection in connections {
            if let Some(line) = self.lines.get_mut(&connection) {
                (line.is_cut, line.is_subscribed) = (true, false);
                let (will, last_arrival) = (line.will.take(), line.last_arrival);
                // A broker that is gone tells nothing.
                self.execute(will.filter(|_| self.is_up), last_arrival);
            }
            self.later(noticed_after, Happening::Lost(connection));
        }
    }
}

#[derive(Debug)]
struct SimLink {
    broker: SimBroker,
    connection: u64,
    heard: Receiver<Heard>,
}

impl Network for SimBroker {
    fn open(&mut self, _: &Mqtt, will: Will) -> Result<Box<dyn Link>, Failure> {
        let state = &mut *self.0.borrow_mut();
        let (tell, heard) = bounded(4 * usize::from(WINDOW));
        state.counted += 1;
        let connection = state.counted;
        let is_cut = !state.is_up;
        let will = state.is_up.then_some(will);
        let now = state.clock.mono();
        let line = Line {
            tell,
            will,
            is_cut,
            given: 0,
            acknowledged: 0,
            last_arrival: now,
            last_return: now,
            is_subscribed: false,
        };
        state.lines.insert(connection, line);
        let wait = state.latency();
        if state.is_up {
            state.later(wait, Happening::Connects(connection));
            if state.is_mute {
                state.later(PATIENCE, Happening::Patience(connection));
            }
        } else {
            state.later(wait, Happening::Lost(connection));
        }
        Ok(Box::new(SimLink { broker: self.clone(), connection, heard }))
    }
}

impl Link for SimLink {
    fn heard(&self) -> &Receiver<Heard> {
        &self.heard
    }

    fn publish(&mut self, topic: &str, retain: bool, payload: Vec<u8>) -> Option<u64> {
        let state = &mut *self.broker.0.borrow_mut();
        let (given, wait) = (state.clock.mono(), state.latency());
        let line = state.lines.get_mut(&self.connection)?;
        if line.given - line.acknowledged >= u64::from(WINDOW) {
            return None;
        }
        let number = line.given;
        line.given += 1;
        state.verdicts += u64::from(topic.ends_with("/verdict"));
        if !line.is_cut {
            let at = line.last_arrival.max(given + wait);
            line.last_arrival = at;
            let message = Arrived { connection: self.connection, given, topic: topic.into(), payload };
            state.at(at, Happening::Arrives { number, retain, message });
        }
        Some(number)
    }

    fn subscribe(&self, _: &str) -> bool {
        let state = &mut *self.broker.0.borrow_mut();
        let wait = state.latency();
        if let Some(line) = state.lines.get_mut(&self.connection).filter(|line| !line.is_cut) {
            let at = line.last_arrival.max(state.clock.mono() + wait);
            line.last_arrival = at;
            state.at(at, Happening::Subscribes(self.connection));
        }
        true
    }

    fn close(&self) {
        let state = &mut *self.broker.0.borrow_mut();
        let wait = state.latency();
        if let Some(line) = state.lines.get(&self.connection).filter(|line| !line.is_cut) {
            let at = line.last_arrival.max(state.clock.mono() + wait);
            state.at(at, Happening::Goodbye(self.connection));
        }
    }
}
