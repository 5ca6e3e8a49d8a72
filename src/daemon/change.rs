//! New settings and products for a station that runs: checked first, taken over after, and otherwise refused as a
//! whole.
//!
//! What is decided stands in [`Products`]; here it is carried out.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crossbeam_channel::Sender;
use tracing::{error, warn};

use crate::causes;
use crate::clock::Moment;
use crate::command::CommandId;
use crate::config::Config;
use crate::config::choice::Choice;
use crate::config::engine::Swap;
use crate::config::problem::Problems;
use crate::config::reload::{built_in_changes, product_changes};
use crate::daemon::loader::Load;
use crate::engine::LoadError;
use crate::events::{Event, Events};
use crate::frame::Lease;
use crate::health::{Active, Health};
use crate::inference::rules::Rules;
use crate::inference::{self, Notice, Ready};
use crate::products::{Action, Came, Happened, Products, Refusal, Stamp, Wanted};

/// Reads the settings again, from the same places with the same checks as at the start. A name stands for the active
/// product in place of what the files say.
pub type Reload<'a> = &'a dyn Fn(Option<&str>) -> Result<Config, Problems>;

/// Who asks for the settings to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Somebody, who wants an answer.
    Expressly,
    /// A file has changed: what changes nothing is not worth a word.
    ByFile,
}

/// The ways to those who follow.
#[derive(Debug)]
pub struct Outlets<'a> {
    pub loads: Sender<Load>,
    pub changes: Sender<inference::Change>,
    pub events: &'a Events<'a>,
    pub health: &'a Health,
}

pub struct Changes<'a> {
    /// As the stages were built from them.
    built: &'a Config,
    reload: Reload<'a>,
    outlets: Outlets<'a>,
    products: Products,
    /// Those in force, and those about to be.
    rules: (Option<Rules>, Option<Rules>),
    /// Chosen by a command, and not in force yet.
    choice: Option<Choice>,
    /// What was kept on disk, as far as is known.
    kept: Option<Choice>,
    /// Why the first product could not be loaded.
    first_failure: Option<LoadError>,
    last_error: Option<LoadError>,
    last_refusal: Option<String>,
    is_begun: bool,
}

impl std::fmt::Debug for Changes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("products", &self.products).finish_non_exhaustive()
    }
}

impl<'a> Changes<'a> {
    /// Begins to load the product that the settings name.
    pub fn begin(built: &'a Config, reload: Reload<'a>, outlets: Outlets<'a>, now: Moment) -> Self {
        let mut changes = Self {
            built,
            reload,
            outlets,
            products: Products::new(built.engine.swap == Swap::Gap),
            rules: (None, None),
            choice: None,
            kept: built.choice.clone(),
            first_failure: None,
            last_error: None,
            last_refusal: None,
            is_begun: false,
        };
        let wanted = wanted(built, String::new(), None);
        changes.step(Happened::Wanted(Box::new(wanted)), now);
        changes
    }

    /// Whether it is known how the first product's loading went.
    pub fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Why the first product could not be loaded, once.
    pub fn take_first_failure(&mut self) -> Option<LoadError> {
        self.first_failure.take()
    }

    /// Reads the settings again and takes over what can be taken over; the rest waits for a restart, and is told.
    pub fn reload(&mut self, asked: Asked, now: Moment) {
        let chosen = self.choice.as_ref().map(|choice| choice.product.as_str());
        let new = match (self.reload)(chosen) {
            // An edit of the station file is newer than the command.
            Ok(new) if self.choice.as_ref().is_some_and(|choice| choice.over != new.said_product) => {
                self.choice = None;
                (self.reload)(None)
            }
            result => result,
        };
        match new {
            Ok(new) => self.take_over(&new, asked, now),
            Err(problems) => {
                let cause = problems.to_string().replace('\n', "; ");
                self.refuse_settings(&cause, asked);
            }
        }
    }

    /// Makes another product the active one.
    pub fn choose(&mut self, product: &str, id: Option<&CommandId>, now: Moment) {
        match (self.reload)(Some(product)) {
            Ok(new) => {
                let over = new.said_product.clone();
                self.choice = Some(Choice { product: product.to_owned(), over });
                let text = self.text_of_changes(&new);
                let id = id.map(|id| id.as_str().to_owned());
                self.step(Happened::Wanted(Box::new(wanted(&new, text, id))), now);
            }
            Err(problems) => {
                let cause = problems.to_string().replace('\n', "; ");
                let id = id.map(|id| id.as_str().to_owned());
                self.refuse_product(product.to_owned(), cause, id);
            }
        }
    }

    /// How a load went.
    pub fn loaded(&mut self, result: Result<Ready, LoadError>, now: Moment) {
        let result = result.map_err(|error| {
            let cause = causes::chain(&error);
            let is_room = matches!(error, LoadError::NoRoom { .. });
            self.last_error = Some(error);
            Refusal { cause, is_room }
        });
        self.step(Happened::Loaded(result), now);
    }

    /// What the thread that judges says.
    pub fn notice(&mut self, notice: Notice, now: Moment) {
        match notice {
            Notice::Installed(result) => self.step(Happened::Installed(result), now),
            Notice::Retired(generation, network) => {
                // Here, where nobody waits for it.
                drop(network);
                self.step(Happened::Retired(generation), now);
            }
        }
    }

    /// Does what is due.
    pub fn attend(&mut self, now: Moment) {
        let actions = self.products.attend(now);
        self.carry_out(actions);
    }

    fn take_over(&mut self, new: &Config, asked: Asked, now: Moment) {
        self.outlets.health.model.set_refused(None);
        self.last_refusal = None;
        let wanted = wanted(&self.in_force(new), self.text_of_changes(new), None);
        let coming = self.products.coming();
        let is_news = coming.is_none_or(|coming| !coming.is_judged_as(&wanted));
        if is_news {
            return self.step(Happened::Wanted(Box::new(wanted)), now);
        }
        if asked == Asked::Expressly || !wanted.changes.is_empty() {
            self.outlets.events.tell(Event::ConfigApplied { changes: words(wanted.changes) });
        }
    }

    /// The new settings, with the checksum of the old ones if something of the new waits for a restart.
    fn in_force(&self, new: &Config) -> Config {
        let waits = !built_in_changes(self.built, new).is_empty();
        let sha256 = if waits { &self.built.sha256 } else { &new.sha256 };
        Config { sha256: sha256.clone(), ..new.clone() }
    }

    fn text_of_changes(&self, new: &Config) -> String {
        let mut changes: Vec<String> = built_in_changes(self.built, new);
        if let Some(coming) = self.products.coming() {
            changes.extend(product_changes(&coming.product, &new.product));
        }
        changes.join("; ")
    }

    fn step(&mut self, happened: Happened<Ready>, now: Moment) {
        let actions = self.products.step(happened, now);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: VecDeque<Action<Ready>>) {
        for action in actions {
            match action {
                Action::Load(wanted, way) => {
                    let rules = self.rules.0.clone();
                    // The loader is there as long as this end of its channel.
                    drop(self.outlets.loads.send(Load { wanted, way, rules }));
                }
                Action::Install { generation, loaded, deadline } => {
                    let rules = loaded.rules().clone();
                    let recipe = std::sync::Arc::clone(&rules.recipe);
                    self.rules.1 = Some(rules);
                    let active = Active { lease: Lease::new(generation), recipe, deadline };
                    let change = inference::Change::Install { active, ready: Box::new(loaded) };
                    drop(self.outlets.changes.send(change));
                }
                Action::Unload => drop(self.outlets.changes.send(inference::Change::Unload)),
                Action::Changed { wanted, came } => self.changed(&wanted, came),
                Action::Refused { wanted, cause, is_same_product } => {
                    self.choice = None;
                    if is_same_product {
                        self.refuse_settings(&cause, Asked::Expressly);
                    } else {
                        self.refuse_product(wanted.product.name, cause, wanted.id);
                    }
                }
                Action::Failed { cause } => self.fail(cause),
            }
        }
    }

    fn changed(&mut self, wanted: &Wanted, came: Came) {
        if let Some(rules) = self.rules.1.take() {
            self.rules.0 = Some(rules);
        }
        self.is_begun = true;
        self.last_error = None;
        // What was refused in the gap is still refused when the old product is back.
        if came != Came::Back {
            self.outlets.health.model.set_refused(None);
        }
        let Some(rules) = &self.rules.0 else { return };
        let (product, bundle_sha256) = (wanted.product.name.clone(), rules.recipe.bundle_sha256.clone());
        let device = rules.recipe.device.clone();
        let Wanted { id, changes, .. } = wanted.clone();
        self.outlets.events.tell(match came {
            Came::First | Came::Back if id.is_none() => Event::ModelReady { product, bundle_sha256, device },
            Came::Same if id.is_none() => Event::ConfigApplied { changes: words(changes) },
            // A command is answered, whatever was before.
            Came::First | Came::Back | Came::Same | Came::Other => {
                Event::ProductChanged { product, bundle_sha256, device, id }
            }
        });
        self.keep(wanted);
    }

    /// The choice survives a restart, unless the station file says the same.
    fn keep(&mut self, wanted: &Wanted) {
        let (product, over) = (wanted.product.name.clone(), wanted.said.clone());
        let choice = (product != over).then_some(Choice { product, over });
        if self.choice.as_ref().is_none_or(|pending| pending.product == wanted.product.name) {
            self.choice = None;
        }
        if self.kept == choice {
            return;
        }
        match Choice::keep(choice.as_ref(), &self.built.station.state_dir) {
            Ok(()) => self.kept = choice,
            Err(why) => error!("a restart will not know the product {}: {why}", wanted.product.name),
        }
    }

    fn refuse_settings(&mut self, cause: &str, asked: Asked) {
        if asked == Asked::ByFile && self.last_refusal.as_deref() == Some(cause) {
            return;
        }
        self.outlets.health.model.set_refused(Some(cause.to_owned()));
        self.last_refusal = Some(cause.to_owned());
        self.outlets
            .events
            .tell(Event::ConfigRefused { cause: format!("settings stay as they are: {cause}") });
    }

    fn refuse_product(&mut self, product: String, cause: String, id: Option<String>) {
        self.outlets.health.model.set_refused(Some(format!("product {product}: {cause}")));
        self.outlets.events.tell(Event::ProductRefused { product, cause, id });
    }

    fn fail(&mut self, cause: String) {
        if !self.is_begun {
            self.first_failure = self.last_error.take();
        }
        self.is_begun = true;
        let model = &self.outlets.health.model;
        if model.fault().as_ref() == Some(&cause) {
            warn!("still no product: {cause}");
        } else {
            model.set_fault(cause.clone());
            self.outlets.events.tell(Event::ModelFailed { cause });
        }
    }
}

fn words(changes: String) -> String {
    if changes.is_empty() { "the settings mean what they meant before".into() } else { changes }
}

fn wanted(config: &Config, changes: String, id: Option<String>) -> Wanted {
    Wanted {
        product: config.product.clone(),
        said: config.said_product.clone(),
        config_sha256: config.sha256.clone(),
        stamp: stamp(&config.product.bundle),
        changes,
        id,
    }
}

/// One that cannot be looked at has none; loading it says why.
fn stamp(file: &Path) -> Stamp {
    fs::metadata(file).map_or_else(
        |_| Stamp::default(),
        |found| Stamp {
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            inode: found.ino(),
        },
    )
}
