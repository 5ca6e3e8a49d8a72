//! What must hold, whatever happens: held against everything that the ledger hears and says.

mod delivery;
mod judged;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use csflowd::frame::{OWN_NUMBERS, Trigger, TriggerKey};
use csflowd::health::Health;
use csflowd::ledger::Report;
use csflowd::publish::outbox::format::ACK;
use csflowd::verdict::{Decided, Outcome, Reason, Verdict};

use self::delivery::Delivery;
use self::parts::Parts;
use super::script::{Mode, Script, Shot};
use super::station::Stop;

/// What a violation says.
pub(crate) type Checked = Result<(), String>;

/// Threads may take so long to do what is due.
const SLACK: Duration = Duration::from_millis(40);

/// A command that takes longer came through a broker that stood still. The next parts may be taken for its own.
const UNDER_WAY: Duration = Duration::from_millis(40);
const DISTURBED: Duration = Duration::from_millis(500);

/// Of a trigger that comes while nothing is in force.
const NO_DEADLINE: Duration = Duration::from_secs(1);

macro_rules! hold {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
pub(crate) use hold;

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
    shots: Arc<[Shot]>,
    pub(crate) delivery: Delivery,
    parts: Parts,
    /// Never goes back, over all lives.
    last_seq: u64,
    // What follows is of one life.
    opened: BTreeMap<TriggerKey, Opened>,
    /// Products and since when they are in force; None while nothing is.
    products: Vec<(Duration, Option<usize>)>,
    /// Why the station stops.
    pub(crate) stop: Option<Stop>,
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
    pub(crate) fn new(script: Rc<Script>, shots: Arc<[Shot]>) -> Self {
        Self {
            delivery: Delivery::default(),
            parts: Parts::new(Rc::clone(&script)),
            last_seq: 0,
            opened: BTreeMap::new(),
            products: Vec::new(),
            stop: None,
            shown: BTreeMap::new(),
            asked: BTreeSet::new(),
            disturbed: None,
            late: 0,
            judged: 0,
            answered: 0,
            script,
            shots,
        }
    }

    /// A life of the station begins.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.opened.clear();
        self.shown.clear();
        self.asked.clear();
        (self.products, self.stop) = (vec![(now, None)], None);
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

    /// From now on triggers are judged by this.
    pub(crate) fn changed(&mut self, product: Option<usize>, now: Duration) {
        self.products.push((now, product));
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
        let shot = self.shown.get(&(camera, at)).map(|&shot| self.shots[shot]);
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
        let mode = self.script.cameras[camera];
        let is_named = trigger.is_numbered_by_plc || mode == Mode::Free { is_named: true };
        let name = part.filter(|_| is_named).map(part_id);
        hold!(trigger.part_id.as_ref().map(|id| id.as_str().to_owned()) == name, "a wrong name: {trigger:?}");
        let deadline =
            |product: Option<usize>| product.map_or(NO_DEADLINE, |product| self.script.deadlines[product]);
        // A command, or a frame that no command names, is a trigger somewhat later only.
        let by = if mode.rule().is_none() { at } else { now };
        let has_its_deadline = self.in_force(at, by).any(|product| deadline(product) == trigger.deadline);
        hold!(has_its_deadline, "the deadline of another product: {trigger:?}");
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

    /// What the outbox takes of the disk.
    pub(crate) fn disk(&self, used: u64) -> Checked {
        // What is damaged of acknowledgements is written once more.
        let most = self.script.outbox_bytes.max(1 << 16) + self.delivery.damaged_acks * ACK as u64;
        hold!(used <= most, "{used} bytes of {most}");
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
