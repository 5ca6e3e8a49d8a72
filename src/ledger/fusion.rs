//! One verdict for a part that several cameras see. Pure: the ledger tells what opens and what is decided.
//!
//! Views belong together by the PLC's part id or trigger number, or because one command asked for them. Without such a name
//! the rule is a time window: a view belongs to the part whose first view came at most `window` before or after it. That is
//! right only while two parts are more than two windows apart, so it is watched: where a camera shows the next part sooner,
//! or shows its first one while others are under way, the part is [`Reason::TriggerAmbiguous`], because its views could be
//! those of two parts. Nobody guesses.
//!
//! A part is not OK as soon as one of its views is, and OK only when all are. At the deadline of the first view that came,
//! a view that never came makes it [`Reason::ViewMissing`].

use std::time::Duration;

use crate::clock::Moment;
use crate::config::group::Group;
use crate::frame::{OWN_NUMBERS, PartId, Trigger, TriggerKey};
use crate::verdict::{Outcome, Reason};

/// A report may take so long to here.
const HAND_OVER: Duration = Duration::from_millis(20);

/// What is known of a part in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fused {
    /// Position of the group in the configuration.
    pub group: usize,
    pub part_id: Option<PartId>,
    /// The PLC's number if it gave one, else parts of the group counted from 0.
    pub number: u64,
    /// When the first view was captured.
    pub captured: Moment,
    pub outcome: Outcome,
    /// Views that were judged one way or another.
    pub views: usize,
    /// The camera, by its position in the configuration, whose view decided, if one did.
    pub worst: Option<usize>,
}

/// All groups of a station.
#[derive(Debug)]
pub struct Fusion {
    groups: Vec<Assembly>,
}

#[derive(Debug)]
struct Assembly {
    cameras: Vec<usize>,
    window: Duration,
    parts: Vec<Part>,
    counted: u64,
    /// When each camera showed a part last.
    shown: Vec<Option<Duration>>,
}

#[derive(Debug)]
struct Part {
    id: Option<PartId>,
    plc_number: Option<u32>,
    counted: u64,
    captured: Moment,
    due: Duration,
    is_ambiguous: bool,
    is_told: bool,
    /// One for each camera of the group, in its order.
    views: Vec<View>,
}

#[derive(Clone, Copy, Debug)]
enum View {
    Absent,
    Open(TriggerKey),
    Decided(Outcome),
}

impl Fusion {
    pub fn new(groups: &[Group]) -> Self {
        let assembly = |group: &Group| Assembly {
            cameras: group.cameras.clone(),
            window: group.window,
            parts: Vec::new(),
            counted: 0,
            shown: vec![None; group.cameras.len()],
        };
        Self { groups: groups.iter().map(assembly).collect() }
    }

    /// When to call [`Fusion::expire`] at the latest.
    pub fn next_expiry(&self) -> Option<Duration> {
        let forget =
            |group: &Assembly, part: &Part| if part.is_told { group.forget_at(part) } else { part.due };
        self.groups.iter().flat_map(|group| group.parts.iter().map(move |part| forget(group, part))).min()
    }

    /// A view opens whose own deadline is `due`.
    pub fn opened(&mut self, trigger: &Trigger, due: Duration) -> Vec<Fused> {
        let mut told = Vec::new();
        if let Some((at, group)) = self.group_of(trigger.key) {
            group.opened(trigger, due);
            group.tell(at, &mut told);
        }
        told
    }

    /// A view has its terminal verdict.
    pub fn decided(&mut self, key: TriggerKey, outcome: Outcome) -> Vec<Fused> {
        let mut told = Vec::new();
        if let Some((at, group)) = self.group_of(key) {
            let views = group.parts.iter_mut().flat_map(|part| &mut part.views);
            for view in views.filter(|view| matches!(view, View::Open(open) if *open == key)) {
                *view = View::Decided(outcome);
            }
            group.tell(at, &mut told);
        }
        told
    }

    /// Tells what is due, and forgets parts that no view can join any more.
    pub fn expire(&mut self, now: Duration) -> Vec<Fused> {
        let mut told = Vec::new();
        for (at, group) in self.groups.iter_mut().enumerate() {
            for part in group.parts.iter_mut().filter(|part| !part.is_told && part.due <= now) {
                told.push(part.fused(at, &group.cameras, part.at_its_deadline()));
            }
            let Assembly { window, .. } = *group;
            group.parts.retain(|part| !part.is_told || forget_at(part, window) > now);
        }
        told
    }

    /// The station stops: what is open is told as it would be at its deadline.
    pub fn abandon(&mut self) -> Vec<Fused> {
        self.expire(Duration::MAX)
    }

    /// Parts without a verdict.
    pub fn open(&self) -> usize {
        self.groups.iter().flat_map(|group| &group.parts).filter(|part| !part.is_told).count()
    }

    fn group_of(&mut self, key: TriggerKey) -> Option<(usize, &mut Assembly)> {
        self.groups.iter_mut().enumerate().find(|(_, group)| group.cameras.contains(&key.camera))
    }
}

impl Assembly {
    fn opened(&mut self, trigger: &Trigger, due: Duration) {
        let place = self.cameras.iter().position(|&camera| camera == trigger.key.camera);
        let place = place.expect("the group is that of the camera");
        let is_too_soon = self.is_too_soon(place, trigger.captured.mono);
        self.shown[place] = Some(trigger.captured.mono);
        let near: Vec<usize> =
            (0..self.parts.len()).filter(|&part| self.is_near(&self.parts[part], trigger)).collect();
        let has_place = |part: usize| matches!(self.parts[part].views[place], View::Absent);
        let namesakes: Vec<usize> =
            near.iter().copied().filter(|&part| self.parts[part].has_the_name_of(trigger)).collect();
        if let Some(&part) = namesakes.iter().find(|&&part| has_place(part)) {
            return self.parts[part].join(place, trigger);
        }
        if namesakes.is_empty()
            && let Some(&part) = near.iter().find(|&&part| has_place(part))
        {
            for &other in near.iter().filter(|_| near.len() > 1 || is_too_soon) {
                self.parts[other].is_ambiguous = true;
            }
            return self.parts[part].join(place, trigger);
        }
        if !has_name(trigger) && near.iter().any(|&part| self.parts[part].has_name()) {
            // A picture beside a part that the PLC named, and has one of this camera already: not to be told apart, and
            // no part of its own.
            for &part in &near {
                self.parts[part].is_ambiguous = true;
            }
            return;
        }
        // Two pictures of one camera: of two parts, or which of them counts?
        let is_alone = near.is_empty() && (!is_too_soon || has_name(trigger));
        for &part in if namesakes.is_empty() { &near } else { &namesakes } {
            self.parts[part].is_ambiguous = true;
        }
        let mut part = Part {
            id: None,
            plc_number: None,
            // As far from the PLC's numbers as the view's own.
            counted: self.counted | u64::from(trigger.published_number & OWN_NUMBERS),
            captured: trigger.captured,
            due,
            is_ambiguous: !is_alone,
            is_told: false,
            views: vec![View::Absent; self.cameras.len()],
        };
        part.join(place, trigger);
        self.counted += 1;
        self.parts.push(part);
    }

    /// Whether the view could be that of the part before or after: the camera showed another one less than two windows
    /// ago, or shows its first one while the others have begun.
    fn is_too_soon(&self, place: usize, at: Duration) -> bool {
        match self.shown[place] {
            Some(last) => at.abs_diff(last) < 2 * self.window,
            None => self.shown.iter().any(Option::is_some),
        }
    }

    /// Whether the trigger could be a view of the part.
    fn is_near(&self, part: &Part, trigger: &Trigger) -> bool {
        let (first, this) = (part.captured.mono, trigger.captured.mono);
        let differ = |mine: Option<&PartId>, other: Option<&PartId>| {
            mine.is_some_and(|mine| other.is_some_and(|other| mine != other))
        };
        let other_number = part.plc_number.is_some_and(|mine| plc_number(trigger).is_some_and(|n| n != mine));
        first.abs_diff(this) <= self.window
            && !differ(part.id.as_ref(), trigger.part_id.as_ref())
            && !other_number
    }

    /// Tells each part whose verdict nothing can change any more.
    fn tell(&mut self, at: usize, told: &mut Vec<Fused>) {
        for part in self.parts.iter_mut().filter(|part| !part.is_told) {
            if let Some(outcome) = part.settled() {
                told.push(part.fused(at, &self.cameras, outcome));
            }
        }
    }

    fn forget_at(&self, part: &Part) -> Duration {
        forget_at(part, self.window)
    }
}

/// When no view can join a part any more, also not one whose own report is late.
fn forget_at(part: &Part, window: Duration) -> Duration {
    (part.captured.mono + window + HAND_OVER).max(part.due)
}

fn has_name(trigger: &Trigger) -> bool {
    trigger.part_id.is_some() || trigger.is_numbered_by_plc
}

fn plc_number(trigger: &Trigger) -> Option<u32> {
    trigger.is_numbered_by_plc.then_some(trigger.published_number)
}

impl Part {
    fn has_name(&self) -> bool {
        self.id.is_some() || self.plc_number.is_some()
    }

    fn has_the_name_of(&self, trigger: &Trigger) -> bool {
        self.id.is_some() && self.id == trigger.part_id
            || self.plc_number.is_some() && self.plc_number == plc_number(trigger)
            // To the nanosecond: one command asked all cameras.
            || self.captured.mono == trigger.captured.mono
    }

    fn join(&mut self, place: usize, trigger: &Trigger) {
        self.views[place] = View::Open(trigger.key);
        self.id = self.id.take().or_else(|| trigger.part_id.clone());
        self.plc_number = self.plc_number.or(plc_number(trigger));
    }

    /// The outcome, if no view that is still open or yet to come could change it.
    fn settled(&self) -> Option<Outcome> {
        let worst = self.worst();
        match worst {
            Some(Outcome::Anomalous) => worst,
            _ if self.is_ambiguous => Some(Outcome::NotInspected(Reason::TriggerAmbiguous)),
            _ if self.views.iter().all(|view| matches!(view, View::Decided(_))) => worst,
            _ => None,
        }
    }

    fn at_its_deadline(&self) -> Outcome {
        let is_missing = self.views.iter().any(|view| matches!(view, View::Absent));
        let missing = if is_missing { Reason::ViewMissing } else { Reason::Timeout };
        self.settled().unwrap_or(Outcome::NotInspected(missing))
    }

    /// The worst of the views that are decided.
    fn worst(&self) -> Option<Outcome> {
        self.decided().map(|(_, outcome)| outcome).max_by_key(|outcome| badness(*outcome))
    }

    fn decided(&self) -> impl Iterator<Item = (usize, Outcome)> {
        self.views.iter().enumerate().filter_map(|(place, view)| match view {
            View::Decided(outcome) => Some((place, *outcome)),
            View::Absent | View::Open(_) => None,
        })
    }

    fn fused(&mut self, group: usize, cameras: &[usize], outcome: Outcome) -> Fused {
        self.is_told = true;
        Fused {
            group,
            part_id: self.id.clone(),
            number: self.plc_number.map_or(self.counted, u64::from),
            captured: self.captured,
            outcome,
            views: self.decided().count(),
            worst: self.decided().find(|(_, of)| *of == outcome).map(|(place, _)| cameras[place]),
        }
    }
}

/// A part is as bad as its worst view.
fn badness(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Good => 0,
        Outcome::Undecidable => 1,
        Outcome::NotInspected(_) => 2,
        Outcome::Anomalous => 3,
    }
}

#[cfg(test)]
mod tests;
