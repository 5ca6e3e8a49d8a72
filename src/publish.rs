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
pub mod publisher;
pub mod schema;
mod tls;
pub mod topics;

use std::path::Path;
use std::thread::{Builder, scope};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, bounded, never, select};

use crate::clock::Clock;
use crate::config;
use crate::config::mqtt::Mqtt;
use crate::events::{Event, Events, Told};
use crate::health::Health;
use crate::publish::commands::Desk;
use crate::publish::failure::Failure;
use crate::publish::lifetime::Lifetime;
use crate::publish::mqtt::Tcp;
use crate::publish::outbox::Outbox;
use crate::publish::outbox::disk::{Disk, Folder};
use crate::publish::outbox::keeper::{Handed, Keeper};
use crate::publish::payload::Origin;
use crate::publish::publisher::{ORDERS, Publisher};
use crate::verdict::Decided;

/// After the last verdict, so long for the broker to acknowledge what it was sent.
const DRAIN: Duration = Duration::from_secs(2);

/// And so long for each of the last words and the goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

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
    let keeper = Keeper::new(outbox, lifetime, station.health, station.events.clone());
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
        let publisher =
            Publisher::new(station, before, orders_in, Box::new(Tcp), broker::seeded(), clock.now());
        publish(publisher, clock, (verdicts, told), &handed);
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
        let next = publisher.attend(now);
        if stop_by.is_some_and(|by| now.mono >= by || publisher.is_done(told)) {
            return say_goodbye(publisher, clock);
        }
        let heard = publisher.heard();
        let told_now = if publisher.takes_events(now) { told } else { &no_events };
        let handed_now = if publisher.takes_results() { handed } else { &nothing_handed };
        select! {
            recv(verdicts) -> decided => if let Ok(decided) = decided {
                publisher.decided(&decided, clock.now());
            } else {
                verdicts = &no_verdicts;
                stop_by = Some(clock.now().mono + DRAIN);
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

fn say_goodbye(mut publisher: Publisher<'_>, clock: &dyn Clock) {
    publisher.say_last_words(clock.now());
    hear_until(&mut publisher, clock, Publisher::is_idle);
    publisher.close();
    hear_until(&mut publisher, clock, |_| false);
}

/// Listens to the broker until it is as wanted or gone, for [`GOODBYE`] at most.
fn hear_until<'a>(publisher: &mut Publisher<'a>, clock: &dyn Clock, wanted: fn(&Publisher<'a>) -> bool) {
    let end = clock.now().mono + GOODBYE;
    while publisher.is_connected() && !wanted(publisher) {
        let left = end.saturating_sub(clock.now().mono);
        match publisher.heard().recv_timeout(left) {
            Ok(heard) => publisher.hear(Ok(heard), clock.now()),
            Err(RecvTimeoutError::Disconnected) => publisher.hear(Err(RecvError), clock.now()),
            Err(RecvTimeoutError::Timeout) => return,
        }
    }
}
