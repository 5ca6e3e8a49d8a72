//! A training that can go on where it was interrupted: its state, in a file beside the bundle it will make.
//!
//! The file is written between epochs and removed when the bundle is there. It is a safetensors file; the figures
//! stand as JSON in its header. Features are not kept: they are extracted again.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::clock::{Clock, Moment};
use crate::model::weights::{Weights, writing};
use crate::progress::say;
use crate::train::error::TrainError;
use crate::train::folds::Fold;
use crate::train::optimise::{Best, Losses, Run};
use crate::train::parameters::{Parameters, Values};

/// Writing takes at most one part in so many of the time.
const SHARE_OF_TIME: u32 = 20;

const KEY: &str = "csflowd-training";

/// What a training is made of, by name: one with another value anywhere is another training.
pub type Settings = BTreeMap<String, String>;

/// Keeps a training's state.
#[expect(missing_debug_implementations, reason = "a clock has none")]
pub struct Saved<'a> {
    file: PathBuf,
    record: Record,
    /// Of the run that was interrupted, until it goes on.
    tensors: Option<Weights>,
    /// When the file was last written, and how long that took.
    written: Option<(Moment, Duration)>,
    clock: &'a dyn Clock,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    settings: Settings,
    /// The folds that are done.
    folds: Vec<Fold>,
    run: Option<Figures>,
}

/// Of a [`Run`], all that is not a tensor.
#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    adam_steps: i32,
    average_updates: u32,
    best: Option<(usize, Option<f64>)>,
    losses: Vec<Losses>,
}

impl<'a> Saved<'a> {
    /// Opens what an interrupted training for `out` left, if it is one with these settings. `restart` removes it:
    /// stopped before its first epoch is kept, a new training would otherwise leave the old one to go on with.
    pub fn open(
        out: &Path,
        settings: Settings,
        restart: bool,
        clock: &'a dyn Clock,
    ) -> Result<Self, TrainError> {
        let mut name = out.as_os_str().to_owned();
        name.push(".training");
        let file = PathBuf::from(name);
        let record = Record { settings, folds: Vec::new(), run: None };
        let fresh = Self { file, record, tensors: None, written: None, clock };
        if restart
            && let Err(source) = fs::remove_file(&fresh.file)
            && source.kind() != ErrorKind::NotFound
        {
            return Err(TrainError::KeepState { file: fresh.file, source });
        }
        if !fresh.file.exists() {
            return Ok(fresh);
        }
        let damaged = || TrainError::DamagedState { file: fresh.file.clone() };
        let mut tensors = Weights::read(&fresh.file).map_err(|_| damaged())?;
        let text = tensors.metadata.remove(KEY).ok_or_else(damaged)?;
        let record: Record = serde_json::from_str(&text).map_err(|_| damaged())?;
        let differences = differences(&record.settings, &fresh.record.settings);
        if !differences.is_empty() {
            return Err(TrainError::OtherSettings { file: fresh.file, differences: differences.join(", ") });
        }
        let tensors = record.run.is_some().then_some(tensors);
        Ok(Self { record, tensors, ..fresh })
    }

    /// Says where an interrupted training goes on.
    pub fn tell(&self) {
        let epochs = self.record.run.as_ref().map_or(0, |figures| figures.losses.len());
        let folds = self.record.folds.len();
        if epochs > 0 || folds > 0 {
            let folds = if folds > 0 { format!("fold {folds} and ") } else { String::new() };
            say(&format!("an interrupted training goes on after {folds}epoch {epochs}"));
        }
    }

    /// The folds that are done.
    pub fn folds(&self) -> &[Fold] {
        &self.record.folds
    }

    /// Gives a run that has not begun the state of the one that was interrupted, if there is one.
    pub fn go_on(&mut self, run: &mut Run) -> Result<(), TrainError> {
        let Some((weights, figures)) = self.tensors.take().zip(self.record.run.as_ref()) else {
            return Ok(());
        };
        let values = |kind: &str, parameters: &Parameters| {
            values(&weights, kind, parameters)
                .ok_or_else(|| TrainError::DamagedState { file: self.file.clone() })
        };
        let now = values("now", &run.parameters)?;
        run.adam.first = values("first", &run.parameters)?;
        run.adam.second = values("second", &run.parameters)?;
        run.adam.steps = figures.adam_steps;
        if let Some(average) = &mut run.average {
            average.values = values("average", &run.parameters)?;
            average.updates = figures.average_updates;
        }
        if let Some((epoch, watched_loss)) = figures.best {
            run.best = Some(Best { epoch, watched_loss, values: values("best", &run.parameters)? });
        }
        run.losses.clone_from(&figures.losses);
        run.parameters.set(&now);
        Ok(())
    }

    /// Writes the state of a run between two epochs, unless that was done a moment ago.
    pub fn keep(&mut self, run: &Run) -> Result<(), TrainError> {
        let is_recent = |(at, took): (Moment, Duration)| self.clock.now().since(at) < took * SHARE_OF_TIME;
        if self.written.is_some_and(is_recent) {
            return Ok(());
        }
        let start = self.clock.now();
        self.record.run = Some(Figures {
            adam_steps: run.adam.steps,
            average_updates: run.average.as_ref().map_or(0, |average| average.updates),
            best: run.best.as_ref().map(|best| (best.epoch, best.watched_loss)),
            losses: run.losses.clone(),
        });
        let now = run.parameters.values();
        let mut kinds = vec![("now", &now), ("first", &run.adam.first), ("second", &run.adam.second)];
        kinds.extend(run.average.as_ref().map(|average| ("average", &average.values)));
        kinds.extend(run.best.as_ref().map(|best| ("best", &best.values)));
        let names = run.parameters.names();
        let named = |(kind, values): (&str, &Values)| {
            let name =
                |(name, tensor): (&String, &Tensor)| (format!("{kind}.{name}"), tensor.shallow_clone());
            names.iter().zip(&values.0).map(name).collect::<Vec<_>>()
        };
        self.write(&kinds.into_iter().flat_map(named).collect::<Vec<_>>())?;
        let end = self.clock.now();
        self.written = Some((end, end.since(start)));
        Ok(())
    }

    /// A fold is done, and its run with it.
    pub fn keep_fold(&mut self, fold: Fold) -> Result<(), TrainError> {
        self.record.folds.push(fold);
        self.record.run = None;
        self.write(&[])
    }

    /// The bundle is there: the state is no longer needed.
    pub fn remove(self) {
        // Left over, it would be refused or gone on with, both of which are told.
        drop(fs::remove_file(&self.file));
    }

    fn write(&self, tensors: &[(String, Tensor)]) -> Result<(), TrainError> {
        let failed = |source| TrainError::KeepState { file: self.file.clone(), source };
        let record = serde_json::to_string(&self.record).map_err(|error| failed(error.into()))?;
        writing::write(&self.file, tensors, (KEY, record)).map_err(failed)
    }
}

/// In the order of `parameters`; none unless all are there and fit.
fn values(weights: &Weights, kind: &str, parameters: &Parameters) -> Option<Values> {
    let zeros = parameters.zeros();
    let one = |(name, zeros): (&String, &Tensor)| {
        let tensor = weights.tensors.get(&format!("{kind}.{name}"))?;
        let fits = tensor.size() == zeros.size() && tensor.kind() == zeros.kind();
        fits.then(|| tensor.to_device(zeros.device()))
    };
    parameters.names().iter().zip(&zeros.0).map(one).collect::<Option<_>>().map(Values)
}

/// What differs, each in a few words.
fn differences(then: &Settings, now: &Settings) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let differs = |key: &&String| then.get(*key) != now.get(*key);
    let tell = |key: &String| match (then.get(key), now.get(key)) {
        (Some(then), Some(now)) if then.len() + now.len() < 40 => format!("{key} was {then} and is {now}"),
        _ => format!("{key} is another"),
    };
    keys.into_iter().filter(differs).map(tell).collect()
}
