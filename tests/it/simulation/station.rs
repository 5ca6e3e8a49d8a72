//! One life of the station: the stages of the daemon, stepped one at a time in place of their threads.

pub(crate) mod changing;
pub(crate) mod publishing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never};
use csflowd::clock::Clock;
use csflowd::command::Command;
use csflowd::frame::{BufferPool, CaptureClock, Captured, Frame, PartId};
use csflowd::health::Health;
use csflowd::inference::bench::Bench;
use csflowd::inference::{Change, Context};
use csflowd::intake::Intake;
use csflowd::intake::commanded::Commanded;
use csflowd::intake::queue::queue;
use csflowd::ledger::book::Book;
use csflowd::ledger::sequence::Reserver;
use csflowd::ledger::{Ledger, Report};
use csflowd::verdict::Decided;

use self::changing::Changing;
use self::publishing::Publishing;
use super::checks::{Checked, part_id};
use super::detector;
use super::script::{Class, Mode, Shot};
use super::world::{Fixed, World};

/// As the daemon has them.
const REPORTS: usize = 1024;
const CAPTURED: usize = 64;
const CHANGES: usize = 8;
const IDLE: Duration = Duration::from_millis(500);
const RETIRE_POLL: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What has a thread of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Commanded,
    Supervisor,
    Inference,
    Ledger,
    Publisher,
    Keeper,
}

pub(crate) const STAGES: [Stage; 6] =
    [Stage::Commanded, Stage::Supervisor, Stage::Inference, Stage::Ledger, Stage::Publisher, Stage::Keeper];

/// Why the station stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    BySignal,
    /// They have ended by themselves.
    OfCameras,
    DeviceLost,
}

type Queue<T> = (Sender<T>, Receiver<T>);

pub(crate) struct Life<'a> {
    fixed: &'a Fixed,
    health: &'a Health,
    pool: BufferPool,
    /// Not before this does a stage go on.
    free_at: [Duration; STAGES.len()],
    /// Since when, and why.
    pub(crate) stopping: Option<(Duration, Stop)>,

    direct: Vec<Option<Intake<'a>>>,
    commanded: Commanded<'a>,
    triggers: Receiver<Command>,
    shots: Queue<(usize, Captured)>,

    bench: Bench<'a>,
    frames: Arc<Receiver<Frame>>,
    changes: Receiver<Change>,
    /// Of another generation than the batch before it.
    held: Option<Frame>,
    /// When the batch is judged, or the thread looks round.
    done_at: Duration,
    /// When it looks whether the last frame of a former product is judged.
    retire_at: Duration,

    reports: Queue<Report>,
    ledger: Option<Ledger<'a>>,
    reserver: Option<Reserver>,
    look_at: Duration,
    /// No room was left for these.
    undelivered: VecDeque<Decided>,

    pub(crate) changing: Changing,
    publishing: Publishing<'a>,
}

impl<'a> Life<'a> {
    pub(crate) fn start(
        fixed: &'a Fixed,
        world: &mut World,
        (health, triggers): (&'a Health, Receiver<Command>),
        (book, reserver): (Book, Reserver),
        publishing: Publishing<'a>,
    ) -> Result<Self, String> {
        let script = &*fixed.script;
        let reports = bounded(REPORTS);
        let (frames_in, frames) = queue(script.frame_queue);
        let (mut direct, mut commanded) = (Vec::new(), Commanded::default());
        for (camera, mode) in script.cameras.iter().enumerate() {
            let id = health.cameras[camera].id.clone();
            let intake = Intake::new(camera, id, None, health, reports.0.clone(), frames_in.clone());
            if let Some(rule) = mode.rule() {
                commanded.add(camera, intake, rule, None);
                direct.push(None);
            } else {
                direct.push(Some(intake));
            }
        }
        let now = fixed.clock.mono();
        let (changes_in, changes) = bounded(CHANGES);
        let (notices_in, notices) = bounded(CHANGES);
        let bench = Bench::new(Context {
            notices: notices_in,
            reports: reports.0.clone(),
            health,
            clock: &fixed.clock,
            hangs_at: None,
            events: None,
        });
        let mut changing = Changing::new(script.may_gap, changes_in, notices);
        changing.begin(fixed, world)?;
        Ok(Self {
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
            changes,
            held: None,
            done_at: now,
            retire_at: now,
            reports,
            ledger: Some(Ledger::new(book, &fixed.groups, health)),
            reserver: Some(reserver),
            look_at: now,
            undelivered: VecDeque::new(),
            changing,
            publishing,
        })
    }

    /// A camera delivers the picture of this number.
    pub(crate) fn frame(&mut self, number: usize, shot: Shot) {
        let is_named = self.fixed.script.cameras[shot.camera] == Mode::Free { is_named: true };
        let named = shot.part.filter(|_| is_named);
        let image = match shot.class {
            Class::Damaged => Err("damaged".into()),
            _ => Ok(detector::picture(number, &self.pool)),
        };
        let captured = Captured {
            at: self.fixed.clock.now(),
            clock: CaptureClock::Arrival,
            part_id: named.map(name),
            image,
        };
        match &mut self.direct[shot.camera] {
            Some(intake) => intake.take(captured),
            None => self.shots.0.try_send((shot.camera, captured)).expect("the thread takes them at once"),
        }
    }

    pub(crate) fn stop(&mut self, why: Stop) {
        if self.stopping.is_none() {
            self.stopping = Some((self.fixed.clock.mono(), why));
            self.direct.iter_mut().for_each(|intake| *intake = None);
            self.commanded.abandon();
        }
    }

    /// Whether the supervisor still listens: it lets go of all when it stops, and until then of nothing.
    fn is_supervised(&self) -> bool {
        match self.stopping {
            None => true,
            Some((_, Stop::OfCameras)) => self.ledger.is_some(),
            Some((_, Stop::BySignal | Stop::DeviceLost)) => false,
        }
    }

    /// Nobody waits for anything.
    pub(crate) fn is_calm(&self) -> bool {
        let open = self.ledger.as_ref().and_then(Ledger::next_deadline);
        // What is judged too late is told all the same, and what a disk that hangs has in hand goes out later.
        let is_judging = self.bench.in_hand() > 0
            || self.held.is_some()
            || !self.frames.is_empty()
            || self.bench.is_retiring();
        let is_writing = self.free_at[Stage::Keeper as usize] > self.fixed.clock.mono() + IDLE;
        !is_judging
            && !is_writing
            && self.reports.1.is_empty()
            && open.is_none()
            && self.commanded.next_expiry().is_none()
            && self.changing.is_calm(self.health)
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
            Stage::Supervisor => self.is_supervised().then(|| self.changing.next_at(now)),
            Stage::Inference if self.bench.in_hand() > 0 => Some(self.done_at),
            Stage::Inference
                if self.held.is_some() || !self.frames.is_empty() || !self.changes.is_empty() =>
            {
                Some(now)
            }
            Stage::Inference if self.bench.is_retiring() => Some(self.done_at.min(self.retire_at)),
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
            Stage::Supervisor => self.changing.step(self.fixed, world)?,
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
                self.frames = Arc::new(never());
                self.held = None;
                self.stop(Stop::DeviceLost);
                self.stopping = Some((now, Stop::DeviceLost));
            }
            self.bench.retire();
            self.done_at = now;
            return;
        }
        let is_late = |(since, why)| why == Stop::BySignal && now >= since + LAST_LOOK;
        if self.stopping.is_some_and(is_late) {
            while self.frames.try_recv().is_ok() {}
            self.held = None;
        }
        // Now and then frames come first.
        while world.is(0.8)
            && let Ok(change) = self.changes.try_recv()
        {
            self.bench.take_over(change).unwrap();
            let active = self.health.model.active();
            world.checks.changed(active.map(|active| detector::number(&active.recipe.product)), now);
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
        self.retire_at = now + RETIRE_POLL;
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
        world.checks.stop = self.stopping.map(|(_, why)| why);
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

fn name(part: usize) -> PartId {
    PartId::new(&part_id(part)).unwrap()
}
