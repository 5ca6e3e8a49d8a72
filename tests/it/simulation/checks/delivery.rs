//! What must hold for messages: verdicts once and in time, results at least once or counted.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use csflowd::health::Health;
use csflowd::publish::outbox::format::Entry;
use csflowd::publish::payload::result;
use csflowd::verdict::{Outcome, PartVerdict, Verdict};
use serde::Deserialize;

use super::super::wire::Arrived;
use super::{Checked, SLACK, hold};

/// A verdict as it must stand on the wire.
#[derive(Debug)]
struct Expected {
    outcome: Outcome,
    /// None for a part that several cameras see.
    trigger: Option<(u32, Option<String>)>,
    due: Duration,
    arrived: bool,
}

/// What a PLC reads of it.
#[derive(Debug, Deserialize)]
struct Read {
    seq: u64,
    trig: Option<u32>,
    part: Option<String>,
    rs: u8,
    ev: u8,
    code: u16,
    pass: bool,
}

#[derive(Debug, Default)]
struct Kept {
    /// As it was given to the outbox.
    entry: Option<Entry>,
    /// It must arrive or be counted.
    is_owed: bool,
    arrived: u32,
    /// When it was given to a connection first, of those that arrived.
    first: Option<Duration>,
    /// In this order results go out.
    order: usize,
}

/// A result by its seq and whether it is late.
type Name = (u64, bool);

#[derive(Debug, Default)]
pub(crate) struct Delivery {
    verdicts: BTreeMap<u64, Expected>,
    results: BTreeMap<Name, Kept>,
    this_life: Vec<Name>,
    verdicts_of_life: u64,
    /// By connection.
    last_verdict: BTreeMap<u64, u64>,
    last_result: BTreeMap<u64, usize>,
    /// The disk gave nothing back for a while, so that order is not to be had.
    pub(crate) is_disordered: bool,
    given_up: u64,
    /// Ends of files that were cut off.
    torn: u64,
    /// Bits that flipped on disk, and those of them in acknowledgements.
    pub(crate) damaged: u64,
    pub(crate) damaged_acks: u64,
    pub(crate) repeats: u64,
}

impl Delivery {
    pub(super) fn begin(&mut self) {
        self.this_life.clear();
        self.verdicts_of_life = 0;
    }

    pub(super) fn decided(&mut self, verdict: &Verdict, due: Duration) {
        let name = (verdict.seq, verdict.late);
        let order = self.results.len();
        self.results.insert(name, Kept { order, ..Kept::default() });
        self.this_life.push(name);
        if !verdict.late {
            let trigger = &verdict.trigger;
            let part = trigger.part_id.as_ref().map(|id| id.as_str().to_owned());
            let outcome = verdict.judgement.outcome;
            let trigger = Some((trigger.published_number, part));
            self.verdicts.insert(verdict.seq, Expected { outcome, trigger, due, arrived: false });
            self.verdicts_of_life += 1;
        }
    }

    pub(super) fn decided_part(&mut self, part: &PartVerdict) {
        let expected = Expected { outcome: part.outcome, trigger: None, due: Duration::MAX, arrived: false };
        self.verdicts.insert(part.seq, expected);
        self.verdicts_of_life += 1;
    }

    /// A result goes to the outbox.
    pub(crate) fn kept(&mut self, entry: &Entry) -> Checked {
        let kept = self.named(entry)?;
        hold!(kept.entry.is_none(), "kept a second time: {entry:?}");
        kept.entry = Some(entry.clone());
        Ok(())
    }

    /// A result leaves the outbox; `is_safe` unless the disk fails.
    pub(crate) fn handed(&mut self, entry: &Entry, is_safe: bool) -> Checked {
        let kept = self.named(entry)?;
        hold!(kept.entry.as_ref() == Some(entry), "invented, in place of {:?}: {entry:?}", kept.entry);
        kept.is_owed |= is_safe;
        Ok(())
    }

    fn named(&mut self, entry: &Entry) -> Result<&mut Kept, String> {
        let name = (entry.seq, contains(&entry.payload, br#""late":true"#));
        self.results.get_mut(&name).ok_or_else(|| format!("a result of no verdict: {entry:?}"))
    }

    pub(crate) fn arrived(&mut self, message: &Arrived) -> Checked {
        if message.topic.ends_with("/verdict") {
            self.verdict_arrived(message)
        } else if message.topic.ends_with("/result") {
            self.result_arrived(message)
        } else {
            Ok(())
        }
    }

    fn verdict_arrived(&mut self, message: &Arrived) -> Checked {
        let text = String::from_utf8_lossy(&message.payload);
        let read: Read = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let Some(expected) = self.verdicts.get_mut(&read.seq) else {
            return Err(format!("nobody decided this: {text}"));
        };
        hold!(!expected.arrived, "a second time: {text}");
        expected.arrived = true;
        let outcome = expected.outcome;
        let is_same = read.rs == outcome.result_state() as u8
            && read.ev == outcome.evaluation() as u8
            && read.code == outcome.code()
            && read.pass == (outcome == Outcome::Good);
        hold!(is_same, "not {expected:?}: {text}");
        if let Some((number, part)) = &expected.trigger {
            hold!(read.trig == Some(*number) && read.part == *part, "not {expected:?}: {text}");
        }
        hold!(
            message.given <= expected.due.saturating_add(SLACK),
            "sent at {:?}, after {expected:?}: {text}",
            message.given
        );
        let last = self.last_verdict.insert(message.connection, read.seq);
        hold!(last.is_none_or(|last| last < read.seq), "after {last:?}: {text}");
        Ok(())
    }

    fn result_arrived(&mut self, message: &Arrived) -> Checked {
        #[derive(Deserialize)]
        struct Result {
            seq: u64,
            late: bool,
            replayed: bool,
        }
        let text = String::from_utf8_lossy(&message.payload);
        let Result { seq, late, replayed } =
            serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let Some(kept) = self.results.get_mut(&(seq, late)) else {
            return Err(format!("nobody decided this: {text}"));
        };
        let is_kept = kept.entry.as_ref().is_some_and(|entry| {
            let sent = if replayed { result::replayed(&entry.payload) } else { entry.payload.clone() };
            sent == message.payload
        });
        hold!(is_kept, "sent in place of {:?}: {text}", kept.entry);
        let is_first = kept.first.is_none_or(|first| message.given <= first);
        hold!(is_first || replayed, "a second time, and not as replayed: {text}");
        kept.first = Some(kept.first.map_or(message.given, |first| first.min(message.given)));
        kept.arrived += 1;
        self.repeats += u64::from(kept.arrived > 1);
        let last = self.last_result.insert(message.connection, kept.order);
        let is_ordered = last.is_none_or(|last| last < kept.order);
        hold!(is_ordered || self.is_disordered, "result {} after {last:?}: {text}", kept.order);
        Ok(())
    }

    /// The run ends, whichever way.
    pub(crate) fn ended(&mut self, health: &Health) {
        self.given_up += health.counters.results_dropped.load(Relaxed);
        self.given_up += health.counters.results_lost.load(Relaxed);
        self.torn += health.counters.torn_tails.load(Relaxed);
    }

    /// Of a run that stops by itself all results are owed.
    pub(super) fn stopped(&mut self, health: &Health, given: u64) -> Checked {
        for name in &self.this_life {
            self.results.entry(*name).or_default().is_owed = true;
        }
        let unsent = health.counters.verdicts_unsent.load(Relaxed);
        let decided = self.verdicts_of_life;
        hold!(given + unsent == decided, "{decided} verdicts, {given} sent, {unsent} not");
        Ok(())
    }

    /// All is over and mended: what is owed has come, or is counted.
    pub(crate) fn is_settled(&self) -> Checked {
        let missing: Vec<Name> = self
            .results
            .iter()
            .filter(|(_, kept)| kept.is_owed && kept.arrived == 0)
            .map(|(name, _)| *name)
            .collect();
        // Damaged records at the end of a file cannot be told from torn ones: they are cut off and counted as that.
        let counted = self.given_up + if self.torn > 0 { self.damaged } else { 0 };
        hold!(
            missing.len() as u64 <= counted,
            "{} results are missing, {counted} counted: {missing:?}",
            missing.len()
        );
        Ok(())
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
