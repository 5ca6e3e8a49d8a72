//! What the station judges by, and how it comes to judge by something else.
//!
//! Rules without threads, time or files of their own: [`Products`] is told what happened and says what to do next. It
//! does not know what a loaded product is. One change is under way at a time, so that two bundles in memory are the
//! most; of those that wait, the newest wins.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::config::product::Product;
use crate::frame::Generation;

/// What could not be loaded is tried again after this long, while there is nothing else to judge by.
const RETRY: Duration = Duration::from_secs(30);

/// A product as somebody wants it judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub product: Product,
    /// What the station file says is the active product.
    pub said: String,
    pub config_sha256: String,
    /// Which content the bundle's file had.
    pub stamp: Stamp,
    /// What differs from before, for people.
    pub changes: String,
    /// The id of the command that asked for it.
    pub id: Option<String>,
}

/// Tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    pub bytes: u64,
    /// Seconds since 1970, and nanoseconds beyond them.
    pub modified: (i64, i64),
    pub inode: u64,
}

impl Wanted {
    /// Whether both are judged by the same network.
    pub fn has_network_of(&self, other: &Self) -> bool {
        (&self.product.bundle, self.stamp) == (&other.product.bundle, other.stamp)
    }

    /// Whether both are one product, apart from its rules.
    fn is_product_of(&self, other: &Self) -> bool {
        self.has_network_of(other) && self.product.name == other.product.name
    }

    /// Whether changing from one to the other changes nothing.
    pub fn is_judged_as(&self, other: &Self) -> bool {
        self.has_network_of(other)
            && (&self.product, &self.config_sha256) == (&other.product, &other.config_sha256)
    }
}

/// How to get something ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// New rules for the network in use.
    Rules,
    /// Beside the network in use, if there is room for both.
    Beside,
    /// There is no other.
    Alone,
}

/// Why something cannot be judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub cause: String,
    /// There is no room for it beside the one in use.
    pub is_room: bool,
}

/// What came into force, seen from what was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// There was nothing to judge by.
    First,
    /// It had been unloaded for another one, in vain.
    Back,
    /// The same product, with other rules or with nothing new.
    Same,
    Other,
}

/// What happened.
#[derive(Debug)]
pub enum Happened<L> {
    /// Somebody wants this product.
    Wanted(Box<Wanted>),
    /// What was to be loaded is ready, or cannot be.
    Loaded(Result<L, Refusal>),
    /// Triggers are judged by it from now on; or it failed in the thread that judges, and nothing has changed.
    Installed(Result<(), String>),
    /// The last frame of the one before is judged, and its network is gone.
    Retired(Generation),
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Action<L> {
    /// Get it ready, in a thread that does not judge.
    Load(Box<Wanted>, Way),
    /// Hand it to the thread that judges.
    Install { generation: Generation, loaded: L, deadline: Duration },
    /// Answer triggers with `NOT_READY`, and let go of the network once its last frame is judged.
    Unload,
    /// It is in force.
    Changed { wanted: Box<Wanted>, came: Came },
    /// All stays as it is.
    Refused { wanted: Box<Wanted>, cause: String, is_same_product: bool },
    /// Nothing can be judged.
    Failed { cause: String },
}

#[derive(Debug)]
enum Phase {
    Idle,
    Loading(Box<Wanted>, Way),
    Installing {
        generation: Generation,
        wanted: Box<Wanted>,
        /// It was unloaded in vain.
        is_back: bool,
    },
    /// Until the last frame of this one is judged.
    Retiring(Generation),
    /// As well, and then another is loaded into its place.
    Unloading(Generation, Box<Wanted>),
    /// What was unloaded comes back, because of this refusal.
    Restoring(Box<Wanted>),
}

#[derive(Debug)]
pub struct Products {
    /// A network may be unloaded before the next is ready.
    may_gap: bool,
    active: Option<(Generation, Box<Wanted>)>,
    phase: Phase,
    /// Was let go of to make room.
    unloaded: Option<Box<Wanted>>,
    /// Comes after the change that is under way.
    next: Option<Box<Wanted>>,
    generations: u64,
    /// Could not be loaded, and is tried again then.
    failed: Option<(Box<Wanted>, Duration)>,
}

impl Products {
    pub fn new(may_gap: bool) -> Self {
        Self {
            may_gap,
            active: None,
            phase: Phase::Idle,
            unloaded: None,
            next: None,
            generations: 0,
            failed: None,
        }
    }

    /// What will be judged by when all that is under way goes well.
    pub fn coming(&self) -> Option<&Wanted> {
        let under_way = match &self.phase {
            Phase::Loading(wanted, _) | Phase::Installing { wanted, .. } | Phase::Unloading(_, wanted) => {
                Some(wanted)
            }
            Phase::Idle | Phase::Retiring(_) | Phase::Restoring(_) => None,
        };
        let waiting = self.next.as_ref().or(under_way);
        waiting.or(self.active.as_ref().map(|(_, active)| active)).map(AsRef::as_ref)
    }

    /// What to do about it, in this order.
    pub fn step<L>(&mut self, happened: Happened<L>, now: Moment) -> VecDeque<Action<L>> {
        let mut actions = VecDeque::new();
        match happened {
            Happened::Wanted(wanted) => self.want(wanted, &mut actions),
            Happened::Loaded(result) => self.loaded(result, now, &mut actions),
            Happened::Installed(result) => self.installed(result, now, &mut actions),
            Happened::Retired(generation) => self.retired(generation, &mut actions),
        }
        self.go_on(&mut actions);
        actions
    }

    /// What to do because time has passed.
    pub fn attend<L>(&mut self, now: Moment) -> VecDeque<Action<L>> {
        let mut actions = VecDeque::new();
        if let (Phase::Idle, Some((wanted, at))) = (&self.phase, &self.failed)
            && *at <= now.mono
        {
            self.next.get_or_insert(wanted.clone());
            self.go_on(&mut actions);
        }
        actions
    }

    fn want<L>(&mut self, wanted: Box<Wanted>, actions: &mut VecDeque<Action<L>>) {
        if let Some(older) = self.next.replace(wanted) {
            let cause = "another change was asked for before it began".to_owned();
            actions.push_back(self.refusal(older, cause));
        }
    }

    /// Begins what waits, if nothing is under way.
    fn go_on<L>(&mut self, actions: &mut VecDeque<Action<L>>) {
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        let Some(wanted) = self.next.take() else { return };
        let way = match &self.active {
            Some((_, active)) if active.is_judged_as(&wanted) => {
                return actions.push_back(Action::Changed { wanted, came: Came::Same });
            }
            Some((_, active)) if active.has_network_of(&wanted) => Way::Rules,
            Some(_) => Way::Beside,
            None => Way::Alone,
        };
        self.phase = Phase::Loading(wanted.clone(), way);
        actions.push_back(Action::Load(wanted, way));
    }

    fn loaded<L>(&mut self, result: Result<L, Refusal>, now: Moment, actions: &mut VecDeque<Action<L>>) {
        match (std::mem::replace(&mut self.phase, Phase::Idle), result) {
            (Phase::Loading(wanted, _), Ok(loaded)) => self.install(wanted, false, loaded, actions),
            (Phase::Restoring(wanted), Ok(loaded)) => self.install(wanted, true, loaded, actions),
            (Phase::Loading(wanted, Way::Beside), Err(Refusal { is_room: true, .. })) if self.may_gap => {
                let (generation, before) = self.active.take().expect("there is one beside it");
                self.unloaded = Some(before);
                self.phase = Phase::Unloading(generation, wanted);
                actions.push_back(Action::Unload);
            }
            (Phase::Loading(wanted, _), Err(refusal)) => self.fall_back(wanted, refusal.cause, now, actions),
            (Phase::Restoring(wanted), Err(refusal)) => self.fail(wanted, refusal.cause, now, actions),
            // Nobody asked: nothing is loaded outside these phases.
            (phase, _) => self.phase = phase,
        }
    }

    fn install<L>(
        &mut self,
        wanted: Box<Wanted>,
        is_back: bool,
        loaded: L,
        actions: &mut VecDeque<Action<L>>,
    ) {
        self.generations += 1;
        let generation = Generation(self.generations);
        let deadline = wanted.product.deadline;
        self.phase = Phase::Installing { generation, wanted, is_back };
        actions.push_back(Action::Install { generation, loaded, deadline });
    }

    fn installed<L>(&mut self, result: Result<(), String>, now: Moment, actions: &mut VecDeque<Action<L>>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Installing { generation, wanted, is_back } => match result {
                Ok(()) => {
                    // Its command is answered with this.
                    let answered = Box::new(Wanted { id: None, ..(*wanted).clone() });
                    let before = self.active.replace((generation, answered));
                    let came = match &before {
                        _ if is_back => Came::Back,
                        Some((_, before)) if before.is_product_of(&wanted) => Came::Same,
                        None if self.unloaded.is_none() => Came::First,
                        Some(_) | None => Came::Other,
                    };
                    (self.failed, self.unloaded) = (None, None);
                    actions.push_back(Action::Changed { wanted, came });
                    if let Some((before, _)) = before {
                        self.phase = Phase::Retiring(before);
                    }
                }
                Err(cause) => self.fall_back(wanted, cause, now, actions),
            },
            phase => self.phase = phase,
        }
    }

    fn retired<L>(&mut self, generation: Generation, actions: &mut VecDeque<Action<L>>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Retiring(awaited) if awaited == generation => {}
            Phase::Unloading(awaited, wanted) if awaited == generation => {
                self.phase = Phase::Loading(wanted.clone(), Way::Alone);
                actions.push_back(Action::Load(wanted, Way::Alone));
            }
            phase => self.phase = phase,
        }
    }

    /// What was wanted is not to be had: it stays, or becomes again, as it was.
    fn fall_back<L>(
        &mut self,
        wanted: Box<Wanted>,
        cause: String,
        now: Moment,
        actions: &mut VecDeque<Action<L>>,
    ) {
        match self.unloaded.take() {
            Some(before) => {
                actions.push_back(self.refusal(wanted, cause));
                self.phase = Phase::Restoring(before.clone());
                actions.push_back(Action::Load(before, Way::Alone));
            }
            // Where nothing is in force, a command is answered all the same, and what was tried before it is tried again.
            None if self.active.is_some() || wanted.id.is_some() && self.failed.is_some() => {
                actions.push_back(self.refusal(wanted, cause));
            }
            None => self.fail(wanted, cause, now, actions),
        }
    }

    fn fail<L>(
        &mut self,
        wanted: Box<Wanted>,
        cause: String,
        now: Moment,
        actions: &mut VecDeque<Action<L>>,
    ) {
        self.failed = Some((wanted, now.mono + RETRY));
        actions.push_back(Action::Failed { cause });
    }

    fn refusal<L>(&self, wanted: Box<Wanted>, cause: String) -> Action<L> {
        let is_same_product = self.active.as_ref().is_some_and(|(_, active)| active.is_product_of(&wanted));
        Action::Refused { wanted, cause, is_same_product }
    }
}

#[cfg(test)]
mod tests;
