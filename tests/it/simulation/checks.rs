//! What must hold, whatever happens: held against everything that the ledger hears and says.

mod delivery;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use csflowd::config::camera::Frames;
use csflowd::frame::{OWN_NUMBERS, Trigger, TriggerKey};
use csflowd::health::Health;
use csflowd::ledger::Report;
use csflowd::verdict::{Decided, Judgement, Outcome, Reason, Verdict};

use self::delivery::Delivery;
use self::parts::Parts;
use super::detector::{self, GUARD_BAND};
use super::script::{Mode, Script};

/// What a violation says.
pub(crate) type Checked = Result<(), String>;

/// Threads may take so long to do what is due.
const SLACK: Duration = Duration::from_millis(40);

/// A command that takes longer came through a broker that stood still. The next parts may be taken for its own.
const UNDER_WAY: Duration = Duration::from_millis(40);
const DISTURBED: Duration = Duration::from_millis(500);

macro_rules! hold {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
use hold;

/// A trigger of this life, as it was opened.
#[derive(Clone, Debug)]
struct Opened {
    trigger: Trigger,
    /// The part that it is about, if anybody can know that.
    part: Option<usize>,
    /// It was opened by then.
    by: Duration,
    due: Duration,
    /// The terminal verdict and when it was given.
    answer: Option<(Outcome, Duration, u64)>,
    is_late_too: bool,
}

#[derive(Debug)]
pub(crate) struct Checks {
    script: Rc<Script>,
    pub(crate) delivery: Delivery,
    parts: Parts,
    /// Never goes back, over all lives.
    last_seq: u64,
    // What follows is of one life.
    opened: BTreeMap<TriggerKey, Opened>,
    /// Generations and since when they hold.
    generations: Vec<(Duration, usize)>,
    /// Pictures that the station was given, by camera and moment.
    shown: BTreeMap<(usize, Duration), usize>,
    /// Commands that the station was given: camera, part, moment.
    asked: BTreeSet<(usize, usize, Duration)>,
    /// A command came late.
    disturbed: Option<Duration>,
    late: u64,
    pub(crate) judged: u64,
    pub(crate) answered: u64,
}

pub(crate) fn part_id(part: usize) -> String {
    format!("P{part:03}")
}

pub(crate) fn plc_number(part: usize) -> u32 {
    u32::try_from(part * 7 + 3).unwrap()
}

impl Checks {
    pub(crate) fn new(script: Rc<Script>) -> Self {
        Self {
            delivery: Delivery::default(),
            parts: Parts::new(Rc::clone(&script)),
            last_seq: 0,
            opened: BTreeMap::new(),
            generations: Vec::new(),
            shown: BTreeMap::new(),
            asked: BTreeSet::new(),
            disturbed: None,
            late: 0,
            judged: 0,
            answered: 0,
            script,
        }
    }

    /// A life of the station begins.
    pub(crate) fn begin(&mut self, generation: usize, now: Duration) {
        self.opened.clear();
        self.shown.clear();
        self.asked.clear();
        self.generations = vec![(now, generation)];
        self.late = 0;
        self.disturbed = None;
        self.parts.begin();
        self.delivery.begin();
    }

    pub(crate) fn shown(&mut self, camera: usize, at: Duration, shot: usize) {
        self.shown.insert((camera, at), shot);
    }

    pub(crate) fn asked(&mut self, camera: usize, part: usize, at: Duration) {
        self.asked.insert((camera, part, at));
    }

    pub(crate) fn changed(&mut self, generation: usize, now: Duration) {
        self.generations.push((now, generation));
    }

    /// What the ledger is told.
    pub(crate) fn reported(&mut self, report: &Report, now: Duration) -> Checked {
        match report {
            Report::Opened(trigger) => self.is_opened(trigger, now),
            Report::Seen { .. } | Report::Closed { .. } => Ok(()),
        }
    }

    fn is_opened(&mut self, trigger: &Trigger, now: Duration) -> Checked {
        let (camera, at) = (trigger.key.camera, trigger.captured.mono);
        let shot = self.shown.get(&(camera, at)).map(|&shot| self.script.shots[shot]);
        let part = if trigger.is_numbered_by_plc {
            let is_it = |&&(of, part, sent): &&(usize, usize, Duration)| {
                of == camera && plc_number(part) == trigger.published_number && sent <= at
            };
            let asked = self.asked.iter().find(is_it).copied();
            let Some((_, part, sent)) = asked else { return Err(format!("nobody asked for {trigger:?}")) };
            // Once, however often the command came.
            self.asked.remove(&(camera, part, sent));
            if at > sent + UNDER_WAY {
                self.disturbed = Some(at);
                self.parts.disturbed(at);
            }
            Some(part)
        } else {
            hold!(shot.is_some(), "no picture was taken for {trigger:?}");
            let counted = u64::from(trigger.published_number & !OWN_NUMBERS);
            hold!(counted == trigger.key.number, "{trigger:?} is not counted");
            shot.and_then(|shot| shot.part)
        };
        let is_named = trigger.is_numbered_by_plc
            || matches!(self.script.cameras[camera], Mode::Free { is_named: true });
        let name = part.filter(|_| is_named).map(part_id);
        hold!(trigger.part_id.as_ref().map(|id| id.as_str().to_owned()) == name, "a wrong name: {trigger:?}");
        let has_its_deadline = |generation: usize| self.script.deadlines[generation] == trigger.deadline;
        // A command, or a frame that no command names, is a trigger somewhat later only.
        let by = if matches!(self.script.cameras[camera], Mode::Free { .. }) { at } else { now };
        hold!(self.in_force(at, by).any(has_its_deadline), "the deadline of another product: {trigger:?}");
        let opened = Opened {
            trigger: trigger.clone(),
            part,
            by,
            due: trigger.due(),
            answer: None,
            is_late_too: false,
        };
        let before = self.opened.insert(trigger.key, opened);
        hold!(before.is_none(), "{:?} was opened twice", trigger.key);
        self.parts.opened(trigger, part);
        Ok(())
    }

    /// What the ledger says.
    pub(crate) fn decided(&mut self, decided: &Decided, now: Duration) -> Checked {
        match decided {
            Decided::View(verdict) => self.verdict(verdict, now),
            Decided::Part(part) => {
                self.take_seq(part.seq)?;
                self.parts.decided(part, now)?;
                self.delivery.decided_part(part);
                Ok(())
            }
        }
    }

    fn take_seq(&mut self, seq: u64) -> Checked {
        hold!(seq > self.last_seq, "seq went from {} to {seq}", self.last_seq);
        self.last_seq = seq;
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict, now: Duration) -> Checked {
        let (key, outcome) = (verdict.trigger.key, verdict.judgement.outcome);
        let Some(opened) = self.opened.get(&key).cloned() else {
            return Err(format!("a verdict without a trigger: {verdict:?}"));
        };
        // Of a frame from before its command that of the frame counts, if it is known.
        let due = opened.due.min(verdict.trigger.due());
        let (is, was) = (&verdict.trigger, &opened.trigger);
        let is_same = (&is.part_id, is.published_number, &is.camera)
            == (&was.part_id, was.published_number, &was.camera);
        hold!(is_same, "the verdict of {was:?} is about {is:?}");
        if verdict.late {
            let first = opened.answer.filter(|(first, ..)| *first == Outcome::NotInspected(Reason::Timeout));
            hold!(
                first.is_some_and(|(_, _, seq)| seq == verdict.seq),
                "late, but not timed out: {verdict:?}"
            );
            hold!(!opened.is_late_too, "a second late verdict: {verdict:?}");
            self.late += 1;
        } else {
            hold!(opened.answer.is_none(), "a second verdict: {verdict:?} after {opened:?}");
            if outcome == Outcome::NotInspected(Reason::Timeout) {
                hold!(now >= due && now <= due + SLACK, "timed out at {now:?}, due at {due:?}: {verdict:?}");
            } else {
                hold!(now < due, "late as a first, at {now:?}, due at {due:?}: {verdict:?}");
            }
            self.take_seq(verdict.seq)?;
            self.parts.view(key, outcome, now);
            self.answered += 1;
        }
        if let Some(opened) = self.opened.get_mut(&key) {
            opened.is_late_too |= verdict.late;
            opened.answer.get_or_insert((outcome, now, verdict.seq));
        }
        self.delivery.decided(verdict, due);
        self.is_rightly_judged(&opened, verdict, now)
    }

    /// The picture is the trigger's own, and the outcome that of the rules that held.
    fn is_rightly_judged(&mut self, opened: &Opened, verdict: &Verdict, now: Duration) -> Checked {
        let Judgement { outcome, score, recipe, .. } = &verdict.judgement;
        let Some(score) = *score else {
            hold!(matches!(outcome, Outcome::NotInspected(_)), "no score, and yet {verdict:?}");
            return self.is_rightly_not_judged(opened, *outcome);
        };
        self.judged += 1;
        let of = |shot: usize| detector::score(self.script.shots[shot].class, shot);
        let Some((&(_, shown), &shot)) = self.shown.iter().find(|(_, shot)| of(**shot) == Some(score)) else {
            return Err(format!("a picture that was never shown: {verdict:?}"));
        };
        self.is_its_own(opened, shot, shown, now)?;
        let Some(recipe) = recipe else { return Err(format!("a score without a recipe: {verdict:?}")) };
        let mut in_force = self.in_force(opened.trigger.captured.mono, opened.by);
        let generation = in_force.find(|&generation| recipe.product == detector::product(generation));
        let Some(generation) = generation else {
            return Err(format!("judged by {}, not by what was in force: {opened:?}", recipe.product));
        };
        let threshold = detector::threshold(generation);
        let expected = if score > threshold {
            Outcome::Anomalous
        } else if score <= threshold - GUARD_BAND {
            Outcome::Good
        } else {
            Outcome::Undecidable
        };
        hold!(*outcome == expected, "{score} against {threshold} is {expected:?}, not {outcome:?}");
        Ok(())
    }

    /// What was in force when a trigger came, between `at` and `by`; at the very moment of a change, both.
    fn in_force(&self, at: Duration, by: Duration) -> impl Iterator<Item = usize> + '_ {
        let since = self.generations.iter().rposition(|&(since, _)| since < at).unwrap_or(0);
        let held = self.generations[since..].iter().take_while(move |&&(since, _)| since <= by);
        held.map(|&(_, generation)| generation)
    }

    fn is_its_own(&self, opened: &Opened, shot: usize, shown: Duration, now: Duration) -> Checked {
        let (picture, captured) = (self.script.shots[shot], opened.trigger.captured.mono);
        let camera = opened.trigger.key.camera;
        hold!(picture.camera == camera, "the picture of another camera for {opened:?}");
        let Mode::Commanded(rule) = self.script.cameras[camera] else {
            hold!(shown == captured, "the picture of {shown:?} for {opened:?}");
            return Ok(());
        };
        hold!(rule.fits(captured, shown), "the picture of {shown:?} does not fit {opened:?}");
        let mut fitting = self.fitting(opened);
        match rule.frames {
            Frames::Stream => {
                hold!(fitting.next().is_some_and(|(_, first)| first == shot), "not the first for {opened:?}");
            }
            // Two that fit are ambiguous, wherever it is not too late for that.
            Frames::Pulse => {
                let other = fitting.find(|&(at, other)| other != shot && at + SLACK < now);
                hold!(other.is_none(), "{other:?} fits too: {opened:?}, shot {shot}");
            }
        }
        let claims = |other: &&Opened| {
            let (key, came) = (other.trigger.key, other.trigger.captured.mono);
            let is_another = key.camera == camera && key != opened.trigger.key;
            is_another
                && other.trigger.is_numbered_by_plc
                && came + SLACK < now
                && match rule.frames {
                    Frames::Pulse => rule.fits(came, shown),
                    Frames::Stream => self.fitting(other).next().is_some_and(|(_, first)| first == shot),
                }
        };
        let other = self.opened.values().find(claims);
        hold!(other.is_none(), "{other:?} claims the picture too: {opened:?}, shot {shot}");
        hold!(
            rule.frames == Frames::Stream || !self.is_strict(captured) || picture.part == opened.part,
            "the picture of a neighbour, {picture:?}, for {opened:?}"
        );
        Ok(())
    }

    /// Whether no other part was near.
    fn is_strict(&self, at: Duration) -> bool {
        self.script.is_spaced && self.disturbed.is_none_or(|disturbed| disturbed + DISTURBED < at)
    }

    /// Moments and numbers of the pictures that may answer a command.
    fn fitting(&self, opened: &Opened) -> impl Iterator<Item = (Duration, usize)> {
        let (camera, came) = (opened.trigger.key.camera, opened.trigger.captured.mono);
        let rule = match self.script.cameras[camera] {
            Mode::Commanded(rule) => Some(rule),
            Mode::Free { .. } => None,
        };
        let here = self.shown.range((camera, Duration::ZERO)..=(camera, Duration::MAX));
        here.map(|(&(_, at), &shot)| (at, shot))
            .filter(move |&(at, _)| rule.is_some_and(|rule| rule.fits(came, at)))
    }

    /// Whether a sensor fired the camera a while before, and no command of that moment is known.
    fn follows_an_orphan(&self, opened: &Opened) -> bool {
        let (camera, came) = (opened.trigger.key.camera, opened.trigger.captured.mono);
        let Mode::Commanded(rule) = self.script.cameras[camera] else { return false };
        let of_camera =
            self.opened.values().map(|other| &other.trigger).filter(|other| other.key.camera == camera);
        let commands: Vec<Duration> =
            of_camera.filter(|other| other.is_numbered_by_plc).map(|other| other.captured.mono).collect();
        let since = came.saturating_sub(rule.window + Duration::from_millis(1100));
        rule.frames == Frames::Pulse
            && self
                .shown
                .range((camera, since)..(camera, came))
                .any(|(&(_, at), _)| !commands.iter().any(|&came| rule.fits(came, at)))
    }

    fn is_rightly_not_judged(&self, opened: &Opened, outcome: Outcome) -> Checked {
        if !opened.trigger.is_numbered_by_plc || !self.is_strict(opened.trigger.captured.mono) {
            return Ok(());
        }
        let has_picture = self.fitting(opened).next().is_some();
        match outcome {
            Outcome::NotInspected(Reason::NoFrame) => hold!(!has_picture, "a picture was there: {opened:?}"),
            Outcome::NotInspected(Reason::TriggerAmbiguous) if self.follows_an_orphan(opened) => {}
            Outcome::NotInspected(Reason::TriggerAmbiguous) => {
                return Err(format!("nothing is ambiguous about {opened:?}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// What the outbox takes of the disk.
    pub(crate) fn disk(&self, used: u64) -> Checked {
        hold!(used <= self.script.outbox_bytes.max(1 << 16), "{used} bytes of {}", self.script.outbox_bytes);
        Ok(())
    }

    /// After each step of the ledger.
    pub(crate) fn balances(&self, health: &Health) -> Checked {
        let (triggers, answered) = count(health);
        let open = self.opened.values().filter(|opened| opened.answer.is_none()).count() as u64;
        hold!(triggers == self.opened.len() as u64, "{triggers} triggers of {}", self.opened.len());
        hold!(triggers == answered + open, "{triggers} triggers, {answered} answered, {open} open");
        Ok(())
    }

    /// The station has stopped by itself: nothing stays open. So many verdicts were given to connections.
    pub(crate) fn stopped(&mut self, health: &Health, given: u64) -> Checked {
        self.balances(health)?;
        let open: Vec<_> = self.opened.values().filter(|opened| opened.answer.is_none()).collect();
        hold!(open.is_empty(), "without a verdict: {open:?}");
        let late = health.counters.late.load(Relaxed);
        hold!(late == self.late, "{late} late, not {}", self.late);
        self.parts.stopped()?;
        self.delivery.stopped(health, given)
    }
}

/// Triggers, and those with a verdict.
fn count(health: &Health) -> (u64, u64) {
    let counters = &health.counters;
    let outcomes = &counters.outcomes;
    let judged =
        [&outcomes.ok, &outcomes.not_ok, &outcomes.not_decidable].map(|counter| counter.load(Relaxed));
    let others = Reason::ALL.map(|reason| outcomes.not_inspected(reason));
    (counters.triggers.load(Relaxed), judged.iter().sum::<u64>() + others.iter().sum::<u64>())
}
