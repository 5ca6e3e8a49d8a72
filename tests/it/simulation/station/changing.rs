//! Another product: what is asked for, made ready and taken over, as the supervisor and the loader do it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use csflowd::clock::Clock;
use csflowd::frame::Lease;
use csflowd::health::{Active, Health, ModelState};
use csflowd::inference::{Change, Inspector, Notice, Ready};
use csflowd::products::{Action, Came, Happened, Products, Refusal, Stamp, Wanted, Way};

use super::super::checks::{Checked, hold};
use super::super::detector::{self, InMemory, Scripted};
use super::super::script::Loading;
use super::super::world::{Fixed, World};

/// As the supervisor has it.
const POLL: Duration = Duration::from_millis(100);

/// Rules alone, or a file that is not even read.
const QUICK: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Load {
    wanted: Box<Wanted>,
    way: Way,
    how: Result<Loading, Refusal>,
    done_at: Duration,
}

#[derive(Debug)]
pub(crate) struct Changing {
    products: Products,
    /// Asked for, and not taken up.
    asked: VecDeque<usize>,
    /// How many there were.
    commands: usize,
    /// Commands without an answer.
    open: BTreeSet<String>,
    load: Option<Load>,
    changes: Sender<Change>,
    notices: Receiver<Notice>,
    networks: Arc<AtomicUsize>,
    look_at: Duration,
}

impl Changing {
    pub(crate) fn new(may_gap: bool, changes: Sender<Change>, notices: Receiver<Notice>) -> Self {
        Self {
            products: Products::new(may_gap),
            asked: VecDeque::new(),
            commands: 0,
            open: BTreeSet::new(),
            load: None,
            changes,
            notices,
            networks: Arc::default(),
            look_at: Duration::ZERO,
        }
    }

    /// Begins with the product that the settings name.
    pub(crate) fn begin(&mut self, fixed: &Fixed, world: &mut World) -> Checked {
        let wanted = Box::new(wanted(fixed, world.product, None));
        self.step_with(Happened::Wanted(wanted), fixed, world)
    }

    /// Somebody asks for this product.
    pub(crate) fn want(&mut self, product: usize) {
        self.asked.push_back(product);
    }

    /// Whether nothing is under way, and something is in force.
    pub(crate) fn is_calm(&self, health: &Health) -> bool {
        let is_idle = self.asked.is_empty() && self.load.is_none() && self.notices.is_empty();
        is_idle && self.changes.is_empty() && health.model.state() == ModelState::Ready
    }

    /// When nothing is under way any more.
    pub(crate) fn is_at_rest(&self) -> Checked {
        hold!(self.open.is_empty(), "commands without an answer: {:?}", self.open);
        let networks = self.networks.load(Relaxed);
        hold!(networks == 1, "{networks} networks in memory at rest");
        Ok(())
    }

    pub(crate) fn next_at(&self, now: Duration) -> Duration {
        let is_ready = !self.asked.is_empty() || !self.notices.is_empty();
        let loaded_at = self.load.as_ref().map_or(Duration::MAX, |load| load.done_at);
        if is_ready { now } else { self.look_at.min(loaded_at) }
    }

    pub(crate) fn step(&mut self, fixed: &Fixed, world: &mut World) -> Checked {
        let now = fixed.clock.now();
        self.look_at = now.mono + POLL;
        let actions = self.products.attend(now);
        self.carry_out(actions, fixed, world)?;
        if let Ok(notice) = self.notices.try_recv() {
            let happened = match notice {
                Notice::Installed(result) => Happened::Installed(result),
                Notice::Retired(generation, network) => {
                    drop(network);
                    Happened::Retired(generation)
                }
            };
            self.step_with(happened, fixed, world)?;
        }
        if let Some(product) = self.asked.pop_front() {
            self.commands += 1;
            let id = self.commands.to_string();
            self.open.insert(id.clone());
            let wanted = Box::new(wanted(fixed, product, Some(id)));
            self.step_with(Happened::Wanted(wanted), fixed, world)?;
        }
        if let Some(load) = self.load.take_if(|load| load.done_at <= now.mono) {
            let loaded = self.loaded(load, fixed)?;
            self.step_with(Happened::Loaded(loaded), fixed, world)?;
        }
        Ok(())
    }

    fn step_with(&mut self, happened: Happened<Ready>, fixed: &Fixed, world: &mut World) -> Checked {
        let actions = self.products.step(happened, fixed.clock.now());
        self.carry_out(actions, fixed, world)
    }

    fn carry_out(&mut self, actions: VecDeque<Action<Ready>>, fixed: &Fixed, world: &mut World) -> Checked {
        for action in actions {
            match action {
                Action::Load(wanted, way) => {
                    hold!(self.load.is_none(), "{wanted:?} is loaded beside {:?}", self.load);
                    self.load = Some(load(wanted, way, fixed, world));
                }
                Action::Install { generation, loaded, deadline } => {
                    let recipe = Arc::clone(&loaded.rules().recipe);
                    let active = Active { lease: Lease::new(generation), recipe, deadline };
                    self.tell(Change::Install { active, ready: Box::new(loaded) })?;
                }
                Action::Unload => self.tell(Change::Unload)?,
                Action::Changed { wanted, came } => {
                    world.product = detector::number(&wanted.product.name);
                    hold!(came != Came::Back || wanted.id.is_none(), "answered again: {wanted:?}");
                    self.answered(&wanted)?;
                }
                Action::Refused { wanted, .. } => self.answered(&wanted)?,
                Action::Failed { .. } => {}
            }
        }
        Ok(())
    }

    fn tell(&self, change: Change) -> Checked {
        self.changes.try_send(change).map_err(|error| format!("no room for a change: {error}"))
    }

    fn answered(&mut self, wanted: &Wanted) -> Checked {
        let was_open = wanted.id.as_ref().is_none_or(|id| self.open.remove(id));
        hold!(was_open, "answered again: {wanted:?}");
        Ok(())
    }

    fn loaded(&self, load: Load, fixed: &Fixed) -> Result<Result<Ready, Refusal>, String> {
        let how = match load.how {
            Ok(how) => how,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let product = load.wanted.product;
        let rules = detector::rules(&product);
        if load.way == Way::Rules {
            return Ok(Ok(Ready::Rules(rules)));
        }
        let before = self.networks.load(Relaxed);
        let most = usize::from(load.way == Way::Beside);
        hold!(before <= most, "{before} networks are in memory, and one comes {:?}", load.way);
        let network = Scripted {
            shots: Arc::clone(&fixed.shots),
            network: detector::network(detector::number(&product.name)),
            fails_warm: how == Loading::FailsWarm,
            _in_memory: InMemory::one_of(&self.networks),
        };
        let inspector = Inspector::new(Box::new(network), rules).map_err(|error| error.to_string())?;
        Ok(Ok(Ready::Inspector(inspector)))
    }
}

fn load(wanted: Box<Wanted>, way: Way, fixed: &Fixed, world: &World) -> Load {
    let (how, takes) = world.loads;
    let refused = |is_room| Refusal { cause: "as the script has it".into(), is_room };
    let (how, takes) = match way {
        Way::Rules => (Ok(how), QUICK),
        Way::Beside if !world.has_room => (Err(refused(true)), QUICK),
        Way::Beside | Way::Alone if how == Loading::Fails => (Err(refused(false)), takes),
        Way::Beside | Way::Alone => (Ok(how), takes),
    };
    Load { wanted, way, how, done_at: fixed.clock.mono() + takes }
}

fn wanted(fixed: &Fixed, product: usize, id: Option<String>) -> Wanted {
    Wanted {
        product: detector::product(product, fixed.script.deadlines[product]),
        said: detector::name(0),
        config_sha256: "c0ffee".into(),
        stamp: Stamp::default(),
        changes: String::new(),
        id,
    }
}
