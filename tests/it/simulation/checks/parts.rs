//! What must hold for parts that several cameras see.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use csflowd::frame::{Trigger, TriggerKey};
use csflowd::verdict::{Outcome, PartVerdict};

use super::super::script::Script;
use super::{Checked, DISTURBED, hold};

#[derive(Debug)]
struct View {
    part: Option<usize>,
    opened: Duration,
    answer: Option<(Outcome, Duration)>,
}

/// The views of one life, and the parts that had their verdict.
#[derive(Debug)]
pub(crate) struct Parts {
    script: Rc<Script>,
    views: BTreeMap<TriggerKey, View>,
    told: BTreeMap<usize, Outcome>,
    /// Commands that came late.
    disturbed: Vec<Duration>,
}

impl Parts {
    pub(crate) fn new(script: Rc<Script>) -> Self {
        Self { script, views: BTreeMap::new(), told: BTreeMap::new(), disturbed: Vec::new() }
    }

    pub(crate) fn begin(&mut self) {
        self.views.clear();
        self.told.clear();
        self.disturbed.clear();
    }

    pub(crate) fn disturbed(&mut self, at: Duration) {
        self.disturbed.push(at);
    }

    fn is_strict(&self, at: Duration) -> bool {
        self.script.is_spaced && self.disturbed.iter().all(|disturbed| disturbed.abs_diff(at) > DISTURBED)
    }

    pub(crate) fn opened(&mut self, trigger: &Trigger, part: Option<usize>) {
        if self.script.views.contains(&trigger.key.camera) {
            let view = View { part, opened: trigger.captured.mono, answer: None };
            self.views.insert(trigger.key, view);
        }
    }

    pub(crate) fn view(&mut self, key: TriggerKey, outcome: Outcome, now: Duration) {
        if let Some(view) = self.views.get_mut(&key) {
            view.answer = Some((outcome, now));
        }
    }

    pub(crate) fn decided(&mut self, verdict: &PartVerdict, now: Duration) -> Checked {
        let first = self.views.values().find(|view| view.opened == verdict.captured.mono);
        let Some(first) = first else { return Err(format!("a part that nobody saw: {verdict:?}")) };
        // Where parts are close, views may belong to any.
        let Some(part) = first.part.filter(|_| self.is_strict(verdict.captured.mono)) else { return Ok(()) };
        let before = self.told.insert(part, verdict.outcome);
        hold!(before.is_none(), "part {part} had {before:?} before {verdict:?}");
        let views = || self.views.values().filter(|view| view.part == Some(part));
        let is =
            |wanted| views().filter(|view| view.answer.is_some_and(|(outcome, _)| outcome == wanted)).count();
        let is_bad = is(Outcome::Anomalous) > 0;
        hold!(
            is_bad == (verdict.outcome == Outcome::Anomalous),
            "part {part} at {now:?}: {:?} but {verdict:?}",
            views().collect::<Vec<_>>()
        );
        let of = self.script.views.len();
        hold!(
            verdict.outcome != Outcome::Good || is(Outcome::Good) == of && views().count() == of,
            "part {part} is good, but {:?}",
            views().collect::<Vec<_>>()
        );
        Ok(())
    }

    /// Each part that was seen at all has its verdict.
    pub(crate) fn stopped(&self) -> Checked {
        // The first view of a part, by which its verdict is known, may be the one that was disturbed.
        let is_near = |view: &&View| !self.is_strict(view.opened);
        let near: BTreeSet<_> = self.views.values().filter(is_near).filter_map(|view| view.part).collect();
        let mut parts = self.views.values().filter_map(|view| view.part).filter(|part| !near.contains(part));
        let missing = parts.find(|part| !self.told.contains_key(part));
        hold!(missing.is_none(), "part {missing:?} has no verdict");
        Ok(())
    }
}
