//! What surrounds the station, and the order in which things happen.

mod acts;

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use csflowd::config::group::Group;
use csflowd::config::mqtt::Mqtt;
use csflowd::config::outbox::Outbox;
use csflowd::events::Events;
use csflowd::frame::CameraId;
use csflowd::health::{CameraState, Health};
use csflowd::ledger::book::Book;
use csflowd::ledger::sequence;
use csflowd::publish::Station;
use csflowd::publish::commands::Desk;
use csflowd::publish::outbox::memory::MemoryDisk;
use csflowd::publish::payload::Origin;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::checks::{Checked, Checks};
use super::detector;
use super::script::{Act, End, Loading, Script, Shot};
use super::station::publishing::Publishing;
use super::station::{Life, STAGES, Stop};
use super::store::SimStore;
use super::time::SimClock;
use super::wire::SimBroker;

/// As the daemon has them.
const EVENTS: usize = 256;
const TRIGGERS: usize = 64;

/// A machine that could not start the station tries again after this.
const RESTART: Duration = Duration::from_millis(300);

/// When all is mended, results are delivered within this.
const SETTLED: Duration = Duration::from_secs(90);

/// Runs have thousands.
const MOST_STEPS: u64 = 1_000_000;

/// What does not change in a run.
pub(crate) struct Fixed {
    pub(crate) script: Rc<Script>,
    pub(crate) shots: Arc<[Shot]>,
    pub(crate) groups: Vec<Group>,
    pub(crate) clock: SimClock,
}

pub(crate) struct World {
    pub(crate) rng: Pcg64,
    pub(crate) broker: SimBroker,
    /// The verdict counter and the other counters.
    pub(crate) state_disk: MemoryDisk,
    pub(crate) outbox_disk: MemoryDisk,
    pub(crate) checks: Checks,
    acts: VecDeque<(Duration, Act)>,
    /// Pictures so far.
    frames: usize,
    /// The product that a station begins with.
    pub(crate) product: usize,
    /// How products are made ready, and how long it takes.
    pub(crate) loads: (Loading, Duration),
    /// For two networks.
    pub(crate) has_room: bool,
    pace: Duration,
    hang: Duration,
    /// So long the next write takes.
    pub(crate) disk_hangs: Duration,
}

/// How a life of the station ended.
enum Ended {
    /// All acts are done, and all is delivered.
    Settled,
    Again {
        away: Duration,
    },
}

/// What a run has seen, to show that it was worth it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) lives: u64,
    pub(crate) answered: u64,
    pub(crate) judged: u64,
    pub(crate) repeats: u64,
    pub(crate) steps: u64,
}

/// Plays a script, or tells what did not hold.
pub(crate) fn run(script: &Script) -> Result<Seen, String> {
    let fixed = Fixed {
        script: Rc::new(script.clone()),
        shots: script.shots().into(),
        groups: script.groups(),
        clock: SimClock::default(),
    };
    let mut rng = Pcg64::seed_from_u64(script.chance);
    let mut world = World {
        broker: SimBroker::new(fixed.clock.clone(), Pcg64::from_rng(&mut rng)),
        rng,
        state_disk: MemoryDisk::default(),
        outbox_disk: MemoryDisk::default(),
        checks: Checks::new(Rc::clone(&fixed.script), Arc::clone(&fixed.shots)),
        acts: fixed.script.acts.iter().copied().collect(),
        frames: 0,
        product: 0,
        loads: (Loading::Works, Duration::ZERO),
        has_room: true,
        pace: Duration::ZERO,
        hang: Duration::ZERO,
        disk_hangs: Duration::ZERO,
    };
    let mut seen = Seen::default();
    loop {
        seen.lives += 1;
        match world.live(&fixed, &mut seen).map_err(|why| format!("at {:?}: {why}", fixed.clock.mono()))? {
            Ended::Settled => break,
            Ended::Again { away } => world.wait(&fixed, away)?,
        }
    }
    world.checks.delivery.is_settled()?;
    let status = world.broker.retained("cell/status").unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    if !status.contains("OFFLINE") {
        return Err(format!("the station has stopped, and its status is {status}"));
    }
    (seen.answered, seen.judged) = (world.checks.answered, world.checks.judged);
    seen.repeats = world.checks.delivery.repeats;
    Ok(seen)
}

impl Seen {
    pub(crate) fn add(&mut self, other: Seen) {
        self.lives += other.lives;
        self.answered += other.answered;
        self.judged += other.judged;
        self.repeats += other.repeats;
        self.steps += other.steps;
    }
}

impl World {
    pub(crate) fn is(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    pub(crate) fn any<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.rng.random_range(0..of.len())])
    }

    /// How long a stage takes for one round.
    pub(crate) fn while_busy(&mut self) -> Duration {
        let us = if self.is(0.01) { 5000 } else { 200 };
        Duration::from_micros(self.rng.random_range(20..us))
    }

    /// The ledger comes late now and then: an answer and its deadline wait for it together.
    pub(crate) fn ledger_busy(&mut self) -> Duration {
        if self.is(0.1) { Duration::from_micros(self.rng.random_range(0..15_000)) } else { Duration::ZERO }
    }

    /// How long the network takes for a batch.
    pub(crate) fn judging(&mut self) -> Duration {
        self.pace.mul_f64(self.rng.random_range(0.8..1.2)) + std::mem::take(&mut self.hang)
    }

    fn live(&mut self, fixed: &Fixed, seen: &mut Seen) -> Result<Ended, String> {
        let Ok((sequence, reserver)) = sequence::kept_in(Box::new(SimStore(self.state_disk.clone()))) else {
            return Ok(Ended::Again { away: RESTART });
        };
        let health = Health::new((0..fixed.script.cameras.len()).map(camera_id));
        health.cameras.iter().for_each(|camera| camera.set_state(CameraState::Running));
        let (told_in, told) = bounded(EVENTS);
        let events = Events::new(told_in, &fixed.clock, &health);
        let boot_id = format!("boot-{}", seen.lives);
        let product = detector::name(self.product);
        let origin =
            Origin { station: "cell", product: &product, boot_id: &boot_id, config_sha256: "c0ffee" };
        let (triggers_in, triggers) = bounded(TRIGGERS);
        let (orders_in, _orders) = bounded(1);
        let is_commanded = |camera: &usize| fixed.script.cameras[*camera].rule().is_some();
        let triggered: Vec<CameraId> =
            (0..fixed.script.cameras.len()).filter(is_commanded).map(camera_id).collect();
        let desk = Desk {
            orders: &orders_in,
            triggers: &triggers_in,
            triggered: &triggered,
            has_product: &|_| false,
        };
        let (mqtt, outbox) = (mqtt(), Outbox { max_bytes: fixed.script.outbox_bytes });
        let station = Station {
            origin,
            mqtt: &mqtt,
            state_dir: Path::new(""),
            outbox: &outbox,
            health: &health,
            events,
            desk: Some(desk),
        };
        self.hang = Duration::ZERO;
        let given_before = self.broker.verdicts();
        self.checks.begin(fixed.clock.mono());
        let publishing = Publishing::start(fixed, self, &station, told);
        let book = Book::new(sequence);
        let mut life = Life::start(fixed, self, (&health, triggers), (book, reserver), publishing)?;
        let ended = self.until_its_end(fixed, &mut life, seen)?;
        self.checks.delivery.ended(&health);
        if life.is_over() {
            self.checks.stopped(&health, self.broker.verdicts() - given_before)?;
        }
        Ok(ended)
    }

    fn until_its_end(
        &mut self,
        fixed: &Fixed,
        life: &mut Life<'_>,
        seen: &mut Seen,
    ) -> Result<Ended, String> {
        // One that stops by itself has lost its device.
        let (mut restart_after, mut settle_by) = (Some(RESTART), None);
        loop {
            if life.is_over() {
                return Ok(restart_after.map_or(Ended::Settled, |away| Ended::Again { away }));
            }
            if self.acts.is_empty() && life.stopping.is_none() {
                let by = *settle_by.get_or_insert_with(|| self.mend(fixed));
                if life.is_calm() {
                    life.changing.is_at_rest()?;
                    life.stop(Stop::BySignal);
                    restart_after = None;
                } else if fixed.clock.mono() > by {
                    return Err("it does not come to rest though nothing is wrong any more".into());
                }
            }
            seen.steps += 1;
            if seen.steps > MOST_STEPS {
                return Err("it does not come to an end".into());
            }
            let stages = STAGES.map(|stage| life.next_at(stage));
            let act = self.acts.front().map(|&(at, _)| at);
            let times: Vec<_> = stages.into_iter().chain([act, self.broker.next_at()]).collect();
            let next = times.iter().flatten().min().copied().ok_or("nothing is left to happen")?;
            let next = next.max(fixed.clock.mono());
            fixed.clock.set(next);
            let ready: Vec<usize> =
                (0..times.len()).filter(|&which| times[which].is_some_and(|at| at <= next)).collect();
            match self.any(&ready).expect("one of them is the next") {
                which if which < STAGES.len() => life.step(STAGES[which], self)?,
                which if which == STAGES.len() => {
                    if let Some(ended) = self.act(fixed, Some(&mut *life)) {
                        match ended {
                            (End::Stop, away) if !life.is_hung() => {
                                life.stop(Stop::BySignal);
                                restart_after = Some(away);
                            }
                            (End::OfCameras, away) if !life.is_hung() => {
                                life.stop(Stop::OfCameras);
                                restart_after = Some(away);
                            }
                            (how, away) => return Ok(self.die(how, away)),
                        }
                    }
                }
                _ => self.broker_step()?,
            }
        }
    }

    fn broker_step(&mut self) -> Checked {
        self.broker.step();
        for message in self.broker.take_arrived() {
            self.checks.delivery.arrived(&message)?;
        }
        Ok(())
    }

    fn die(&mut self, how: End, away: Duration) -> Ended {
        self.broker.cut(Duration::ZERO);
        if how == End::PowerCut {
            self.state_disk.crash(&mut self.rng);
            self.outbox_disk.crash(&mut self.rng);
        }
        Ended::Again { away }
    }

    /// Nobody is there.
    fn wait(&mut self, fixed: &Fixed, away: Duration) -> Checked {
        let end = fixed.clock.mono() + away;
        loop {
            let act = self.acts.front().map(|&(at, _)| at);
            let broker = self.broker.next_at();
            let next = act.into_iter().chain(broker).min().filter(|&next| next < end);
            let Some(next) = next else {
                fixed.clock.set(end);
                return Ok(());
            };
            fixed.clock.set(next.max(fixed.clock.mono()));
            if act == Some(next) {
                self.act(fixed, None);
            } else {
                self.broker_step()?;
            }
        }
    }
}

fn camera_id(camera: usize) -> CameraId {
    CameraId::new(&format!("cam{camera}")).unwrap()
}

fn mqtt() -> Mqtt {
    Mqtt {
        host: "simulated".into(),
        port: 1883,
        prefix: "cell".into(),
        client_id: "cell".into(),
        keep_alive: Duration::from_secs(1),
        login: None,
        tls: None,
        commands: true,
        commands_per_s: 100,
        retry: (Duration::from_millis(50), Duration::from_secs(2)),
    }
}
