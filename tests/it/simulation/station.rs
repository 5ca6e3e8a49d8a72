//! One life of the station: the stages of the daemon, stepped one at a time in place of their threads.

pub(crate) mod publishing;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never};
use csflowd::clock::Clock;
use csflowd::command::Command;
use csflowd::frame::{BufferPool, Captured, Frame, Generation, Lease, PartId};
use csflowd::health::{Active, Health};
use csflowd::inference::bench::Bench;
use csflowd::inference::rules::Rules;
use csflowd::inference::{Change, Context, Inspector, Notice, Ready};
use csflowd::intake::Intake;
use csflowd::intake::commanded::Commanded;
use csflowd::ledger::book::Book;
use csflowd::ledger::sequence::{Reserver, Store};
use csflowd::ledger::{Ledger, Report};
use csflowd::publish::outbox::disk::Disk;
use csflowd::publish::outbox::memory::MemoryDisk;
use csflowd::verdict::Decided;

use self::publishing::Publishing;
use super::checks::{Checked, part_id};
use super::detector::{self, Scripted};
use super::script::{Class, Mode};
use super::world::{Fixed, World};

/// As the daemon has them.
const REPORTS: usize = 1024;
const CAPTURED: usize = 64;
const NOTICES: usize = 8;
const IDLE: Duration = Duration::from_millis(500);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What has a thread of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Commanded,
    Inference,
    Ledger,
    Publisher,
    Keeper,
}

pub(crate) const STAGES: [Stage; 5] =
    [Stage::Commanded, Stage::Inference, Stage::Ledger, Stage::Publisher, Stage::Keeper];

/// The verdict counter on the simulated disk.
#[derive(Debug)]
pub(crate) struct SimStore(pub(crate) MemoryDisk);

impl Store for SimStore {
    fn read(&mut self) -> std::io::Result<Option<String>> {
        match self.0.read("seq", 0, 100) {
            Ok(bytes) => Ok(Some(String::from_utf8(bytes).unwrap())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.0.replace("seq", text.as_bytes())
    }

    fn path(&self) -> &Path {
        Path::new("seq")
    }
}

type Queue<T> = (Sender<T>, Receiver<T>);

pub(crate) struct Life<'a> {
    fixed: &'a Fixed,
    health: &'a Health,
    pool: BufferPool,
    /// Not before this does a stage go on.
    free_at: [Duration; STAGES.len()],
    /// Since when.
    pub(crate) stopping: Option<Duration>,

    direct: Vec<Option<Intake<'a>>>,
    commanded: Commanded<'a>,
    triggers: Receiver<Command>,
    shots: Queue<(usize, Captured)>,

    bench: Bench<'a>,
    frames: Receiver<Frame>,
    changes: Queue<Change>,
    notices: Receiver<Notice>,
    /// Of another generation than the batch before it.
    held: Option<Frame>,
    /// Changes so far.
    changed: u64,
    /// When the batch is judged, or the thread looks round.
    done_at: Duration,

    reports: Queue<Report>,
    ledger: Option<Ledger<'a>>,
    reserver: Option<Reserver>,
    look_at: Duration,
    /// No room was left for these.
    undelivered: VecDeque<Decided>,

    publishing: Publishing<'a>,
}

impl<'a> Life<'a> {
    pub(crate) fn start(
        fixed: &'a Fixed,
        world: &World,
        (health, triggers): (&'a Health, Receiver<Command>),
        (book, reserver): (Book, Reserver),
        publishing: Publishing<'a>,
    ) -> Self {
        let script = &*fixed.script;
        let reports = bounded(REPORTS);
        let (frames_in, frames) = bounded(script.frame_queue);
        let (mut direct, mut commanded) = (Vec::new(), Commanded::default());
        for (camera, mode) in script.cameras.iter().enumerate() {
            let id = health.cameras[camera].id.clone();
            let intake = Intake::new(camera, id, None, health, reports.0.clone(), frames_in.clone());
            match *mode {
                Mode::Free { .. } => direct.push(Some(intake)),
                Mode::Commanded(rule) => {
                    commanded.add(camera, intake, rule);
                    direct.push(None);
                }
            }
        }
        let classes = script.shots.iter().map(|shot| shot.class).collect();
        let now = fixed.clock.mono();
        let (notices_in, notices) = bounded(NOTICES);
        let mut bench = Bench::new(Context {
            notices: notices_in,
            reports: reports.0.clone(),
            health,
            clock: &fixed.clock,
            hangs_at: None,
        });
        let rules = detector::rules(world.generation, script.deadlines[world.generation]);
        let active = active(0, world.generation, &rules, script.deadlines[world.generation]);
        let inspector = Inspector::new(Box::new(Scripted(classes)), rules).unwrap();
        let ready = Box::new(Ready::Inspector(inspector));
        bench.take_over(Change::Install { active, ready }).unwrap();
        Self {
            fixed,
            health,
            pool: BufferPool::new(script.frame_queue + script.batch_max + 2, 4),
            free_at: [now; STAGES.len()],
            stopping: None,
            direct,
            commanded,
            triggers,
            shots: bounded(CAPTURED),
            bench,
            frames,
            changes: bounded(1),
            notices,
            held: None,
            changed: 0,
            done_at: now,
            reports,
            ledger: Some(Ledger::new(book, &script.groups, health)),
            reserver: Some(reserver),
            look_at: now,
            undelivered: VecDeque::new(),
            publishing,
        }
    }

    /// A camera delivers.
    pub(crate) fn frame(&mut self, shot: usize) {
        let picture = self.fixed.script.shots[shot];
        let (camera, named) = match self.fixed.script.cameras[picture.camera] {
            Mode::Free { is_named } => (picture.camera, picture.part.filter(|_| is_named)),
            Mode::Commanded(_) => (picture.camera, None),
        };
        let image = match picture.class {
            Class::Damaged => Err("damaged".into()),
            _ => Ok(detector::picture(shot, &self.pool)),
        };
        let captured = Captured { at: self.fixed.clock.now(), part_id: named.map(name), image };
        match &mut self.direct[camera] {
            Some(intake) => intake.take(captured),
            None => self.shots.0.try_send((camera, captured)).expect("the thread takes them at once"),
        }
    }

    /// New settings; false if there is no room for them yet.
    pub(crate) fn change(&mut self, generation: usize) -> bool {
        let deadline = self.fixed.script.deadlines[generation];
        let rules = detector::rules(generation, deadline);
        let active = active(self.changed + 1, generation, &rules, deadline);
        let change = Change::Install { active, ready: Box::new(Ready::Rules(rules)) };
        let is_sent = self.changes.0.try_send(change).is_ok();
        self.changed += u64::from(is_sent);
        is_sent
    }

    pub(crate) fn stop(&mut self) {
        if self.stopping.is_none() {
            self.stopping = Some(self.fixed.clock.mono());
            self.direct.iter_mut().for_each(|intake| *intake = None);
            self.commanded.abandon();
        }
    }

    /// Nobody waits for anything.
    pub(crate) fn is_calm(&self) -> bool {
        let open = self.ledger.as_ref().and_then(Ledger::next_deadline);
        // What is judged too late is told all the same, and what a disk that hangs has in hand goes out later.
        let is_judging = self.bench.in_hand() > 0 || self.held.is_some() || !self.frames.is_empty();
        let is_writing = self.free_at[Stage::Keeper as usize] > self.fixed.clock.mono() + IDLE;
        !is_judging
            && !is_writing
            && self.reports.1.is_empty()
            && open.is_none()
            && self.commanded.next_expiry().is_none()
            && self.publishing.is_calm(self.health)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ledger.is_none() && self.publishing.is_over()
    }

    pub(crate) fn is_hung(&self) -> bool {
        self.done_at > self.fixed.clock.mono() + Duration::from_secs(10)
    }

    /// When the stage wants to run.
    pub(crate) fn next_at(&self, stage: Stage) -> Option<Duration> {
        let now = self.fixed.clock.mono();
        let at = match stage {
            Stage::Commanded if self.stopping.is_some() => None,
            Stage::Commanded if !self.triggers.is_empty() || !self.shots.1.is_empty() => Some(now),
            Stage::Commanded => self.commanded.next_expiry(),
            Stage::Inference if self.bench.in_hand() > 0 => Some(self.done_at),
            Stage::Inference
                if self.held.is_some() || !self.frames.is_empty() || !self.changes.1.is_empty() =>
            {
                Some(now)
            }
            Stage::Inference => Some(self.done_at),
            Stage::Ledger if self.ledger.is_none() => None,
            Stage::Ledger if !self.undelivered.is_empty() || !self.reports.1.is_empty() => Some(now),
            Stage::Ledger if self.has_judged_all() => Some(now),
            Stage::Ledger => {
                let due = self.ledger.as_ref().and_then(Ledger::next_deadline);
                Some(due.unwrap_or(self.look_at).min(self.look_at))
            }
            Stage::Publisher => self.publishing.publisher_at(now),
            Stage::Keeper => self.publishing.keeper_at(now),
        };
        at.map(|at| at.max(self.free_at[stage as usize]).max(now))
    }

    /// One round of the stage's loop.
    pub(crate) fn step(&mut self, stage: Stage, world: &mut World) -> Checked {
        let now = self.fixed.clock.mono();
        let mut busy = world.while_busy();
        match stage {
            Stage::Commanded => self.step_commanded(world),
            Stage::Inference => self.step_inference(world),
            Stage::Ledger => {
                self.step_ledger(world)?;
                busy += world.ledger_busy();
            }
            Stage::Publisher => self.publishing.step_publisher(self.fixed, world),
            Stage::Keeper => {
                self.publishing.step_keeper(self.fixed, world)?;
                busy += std::mem::take(&mut world.disk_hangs);
            }
        }
        self.free_at[stage as usize] = now + busy;
        if self.reports.1.len() > REPORTS / 2 {
            return Err("the ledger does not keep up".into());
        }
        Ok(())
    }

    fn step_commanded(&mut self, world: &mut World) {
        let now = self.fixed.clock.mono();
        // Which of the two comes first is chance.
        for turn in [world.is(0.5), world.is(0.5), true, false] {
            if turn {
                while let Ok(command) = self.triggers.try_recv() {
                    self.commanded.command(&command);
                }
            } else {
                while let Ok((camera, captured)) = self.shots.1.try_recv() {
                    self.commanded.captured(camera, captured);
                }
            }
        }
        self.commanded.expire(now);
    }

    fn step_inference(&mut self, world: &mut World) {
        let now = self.fixed.clock.mono();
        self.health.inference.beat(self.fixed.clock.now());
        if self.bench.in_hand() > 0 {
            if self.bench.judge().is_err() {
                self.frames = never();
                self.held = None;
                self.stop();
            }
            self.bench.retire();
            self.done_at = now;
            return;
        }
        if self.stopping.is_some_and(|since| now >= since + LAST_LOOK) {
            while self.frames.try_recv().is_ok() {}
            self.held = None;
        }
        while let Ok(change) = self.changes.1.try_recv() {
            self.bench.take_over(change).unwrap();
            let active = self.health.model.active().unwrap();
            world.checks.changed(detector::generation(&active.recipe.product), now);
        }
        let first = self.held.take().or_else(|| self.frames.try_recv().ok());
        self.held = first.and_then(|frame| self.bench.add(frame));
        while self.held.is_none()
            && (1..self.fixed.script.batch_max).contains(&self.bench.in_hand())
            && let Ok(frame) = self.frames.try_recv()
        {
            self.held = self.bench.add(frame);
        }
        self.bench.retire();
        while self.notices.try_recv().is_ok() {}
        self.done_at = now + if self.bench.in_hand() == 0 { IDLE } else { world.judging() };
    }

    fn has_judged_all(&self) -> bool {
        self.stopping.is_some()
            && self.bench.in_hand() == 0
            && self.held.is_none()
            && self.frames.is_empty()
            && self.reports.1.is_empty()
    }

    fn step_ledger(&mut self, world: &mut World) -> Checked {
        let is_last = self.has_judged_all();
        let now = self.fixed.clock.now();
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        self.health.ledger.beat(now);
        self.look_at = now.mono + IDLE;
        if self.undelivered.is_empty() {
            if let Ok(report) = self.reports.1.try_recv() {
                world.checks.reported(&report, now.mono)?;
                ledger.take(report, now);
            } else {
                ledger.expire(now);
            }
            if is_last {
                ledger.abandon(now);
            }
            while let Some(decided) = ledger.next_decided() {
                world.checks.decided(&decided, now.mono)?;
                self.undelivered.push_back(decided);
            }
            world.checks.balances(self.health)?;
        }
        if let Some(reserver) = &mut self.reserver {
            reserver.attend(now);
        }
        self.publishing.deliver(&mut self.undelivered);
        if is_last && self.undelivered.is_empty() {
            if let Some(ledger) = self.ledger.take() {
                ledger.finish();
            }
            if let Some(reserver) = self.reserver.take() {
                // Where the disk does not take it, numbers are skipped.
                drop(reserver.finish());
            }
            self.publishing.end_verdicts();
        }
        Ok(())
    }
}

/// The `count`-th change is to the rules of this generation.
fn active(count: u64, generation: usize, rules: &Rules, deadline: Duration) -> Active {
    let number = Generation(count * 16 + u64::try_from(generation).unwrap());
    Active { lease: Lease::new(number), recipe: Arc::clone(&rules.recipe), deadline }
}

fn name(part: usize) -> PartId {
    PartId::new(&part_id(part)).unwrap()
}
