//! What was written in the files, and what it means.
//!
//! Two layers. The `raw` structs hold the keys as people write them: in the station file, over it the variables
//! `CSFLOWD__SECTION__KEY` of the environment, over both the command line. [`load`] checks every key of them,
//! tells every problem it finds, and gives a [`Config`] only where there is none. Stages see the second layer
//! alone, each its own section.

pub mod camera;
pub mod choice;
pub mod engine;
pub mod genicam;
pub mod group;
pub mod mqtt;
pub mod outbox;
pub mod problem;
pub mod product;
pub mod reload;
pub mod schema;
pub mod station;

mod layers;
mod raw;
mod reader;
mod roi;
mod section;
mod suggest;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::hex;
use sha2::{Digest, Sha256};

use camera::{Camera, Matching, Pipelines, Source, TriggerMode};
use choice::Choice;
use engine::Engine;
use group::Group;
use mqtt::Mqtt;
use outbox::Outbox;
use problem::{Findings, Problem, Problems};
use product::Product;
use raw::Key;
use section::Section;
use station::Station;

/// Everything that can be set, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub station: Station,
    pub mqtt: Mqtt,
    pub outbox: Outbox,
    pub engine: Engine,
    /// At least one; ids are unique.
    pub cameras: Vec<Camera>,
    pub groups: Vec<Group>,
    /// The active one.
    pub product: Product,
    /// What the station file says is the active one.
    pub said_product: String,
    /// Why it is another, if it is.
    pub choice: Option<Choice>,
    pub products_dir: PathBuf,
    /// Of all that went into this: the files' text and what was laid over it. In hexadecimal digits.
    pub sha256: String,
}

/// Where settings come from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The station file.
    pub file: &'a Path,
    /// The process's environment, see [`process_environment`].
    pub environment: &'a HashMap<String, String>,
    /// `section.key` and value, from the command line. The last one wins.
    pub overrides: &'a [(String, String)],
    pub pipelines: &'a Pipelines<'a>,
    /// The active product, in place of what the station file says and of what was chosen before.
    pub product: Option<&'a str>,
}

/// The variables of this process that are UTF-8; others cannot be settings.
pub fn process_environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// What is right in settings that are not: enough to go on looking for problems, never to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sound {
    pub engine: Option<Engine>,
    pub cameras: Vec<Camera>,
    /// The active one, if nothing is wrong with its file.
    pub product: Option<Product>,
}

/// Reads and checks the station file, the pipelines that it names, and all products.
pub fn load(sources: &Sources<'_>) -> Result<Config, Problems> {
    examine(sources).0
}

/// Like [`load`], and beside it what has no problems.
pub fn examine(sources: &Sources<'_>) -> (Result<Config, Problems>, Sound) {
    let mut findings = Findings::new(sources.file);
    let (mut of_products, mut sound) = (Vec::new(), Sound::default());
    let config = read(sources, &mut findings, &mut of_products, &mut sound);
    let mut problems = findings.into_problems();
    problems.extend(of_products);
    let has_problem = |product: &Product| {
        let file = product.file.display().to_string();
        problems.iter().any(|problem| problem.file == file)
    };
    sound.product = sound.product.filter(|product| !has_problem(product));
    let config = match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems(problems)),
    };
    (config, sound)
}

fn read(
    sources: &Sources<'_>,
    findings: &mut Findings,
    of_products: &mut Vec<Problem>,
    sound: &mut Sound,
) -> Option<Config> {
    let text = layers::read_text(sources.file, findings)?;
    let file = layers::parse(&text, findings)?;
    let table = layers::lay_over(file, sources.environment, sources.overrides, findings)?;
    let raw: raw::File = reader::read(table, findings);

    let said = section("station", raw.station, findings, station::read);
    let name = said.as_ref().and_then(|said| said.station.as_ref()).map(|station| station.name.clone());
    let mqtt = section("mqtt", raw.mqtt, findings, |raw, section| {
        mqtt::read(raw, section, name.as_deref(), sources.environment)
    });
    let outbox = section("outbox", raw.outbox, findings, outbox::read);
    let engine = section("engine", raw.engine, findings, engine::read);
    let cameras = cameras(raw.camera, findings, sources.pipelines);
    (sound.engine, sound.cameras) = (engine, cameras.clone());
    let takes_commands = mqtt.as_ref().and_then(Option::as_ref).is_none_or(|mqtt| mqtt.commands);
    for camera in cameras.iter().filter(|camera| matches!(camera.trigger, TriggerMode::Command(_))) {
        if !takes_commands {
            findings.add(&format!("camera.{}.trigger", camera.id), "\"command\" needs mqtt.commands = true");
        }
    }
    let groups = groups(raw.group, &cameras, findings);
    let said = said?;
    let choice = choice(&said, sources.product, findings);
    let (product, product_text) = active_product(&said, choice.as_ref(), findings, of_products)?;
    sound.product = Some(product.clone());

    fit_together(&product, &cameras, &groups, of_products);
    let mut config = Config {
        station: said.station?,
        mqtt: mqtt??,
        outbox: outbox?,
        engine: engine?,
        cameras,
        groups,
        product,
        said_product: said.product?,
        choice,
        products_dir: said.products_dir,
        sha256: String::new(),
    };
    let roi = config.product.roi.as_ref().map_or("", |roi| roi.sha256());
    config.sha256 = sha256(&text, [&product_text, roi], &config.cameras, sources);
    Some(config)
}

/// Converts a section of the station file. One that is absent is read too, for its required keys; one that is no
/// table is one problem, not many.
fn section<R: Default, T>(
    name: &str,
    raw: Key<R>,
    findings: &mut Findings,
    convert: impl FnOnce(R, &mut Section<'_>) -> T,
) -> Option<T> {
    let raw = match raw {
        Key::Absent => R::default(),
        given => Section::new("", findings).get(name, given)?,
    };
    Some(convert(raw, &mut Section::new(name, findings)))
}

fn cameras(
    raw: Key<Vec<Key<raw::Camera>>>,
    findings: &mut Findings,
    pipelines: &Pipelines<'_>,
) -> Vec<Camera> {
    let given = !raw.is_absent();
    let raws = Section::new("", findings).get("camera", raw).unwrap_or_default();
    if !given || raws.is_empty() && findings.is_clean("camera") {
        findings.add("camera", "there is none: add at least one [[camera]]");
    }
    let mut cameras = Vec::new();
    let mut ids = HashSet::new();
    for (index, raw) in raws.into_iter().enumerate() {
        let id = match &raw {
            Key::Given(raw::Camera { id: Key::Given(id), .. }) => Some(id.clone()),
            _ => None,
        };
        let name = reader::element_key("camera", index, id.as_deref());
        let camera = section(&name, raw, findings, |raw, section| camera::read(raw, section, pipelines));
        cameras.extend(camera.flatten());
        if id.is_some_and(|id| !ids.insert(id)) {
            findings.add(&name, "two cameras have this id");
        }
    }
    one_section_for_each_device(&cameras, findings);
    cameras
}

fn one_section_for_each_device(cameras: &[Camera], findings: &mut Findings) {
    let mut owners = HashMap::new();
    for Camera { id, source, pipeline, .. } in cameras {
        let (device, key) = match source {
            Source::Genicam(genicam) => (Some(genicam.device.clone()), "source.device"),
            Source::Pipeline => (device_of(pipeline), "pipeline"),
            Source::Files(_) => continue,
        };
        let Some(device) = device else { continue };
        if let Some(owner) = owners.insert(device, id) {
            let text = format!("camera {owner} has this device already: give each device one section");
            findings.add(&format!("camera.{id}.{key}"), text);
        }
    }
}

/// The device file that pipeline text opens, by the name that all its other names lead to.
fn device_of(pipeline: &str) -> Option<String> {
    let device = pipeline.split_whitespace().find_map(|word| word.strip_prefix("device="))?.trim_matches('"');
    let device = Path::new(device);
    let device =
        device.starts_with("/dev").then(|| device.canonicalize().unwrap_or_else(|_| device.into()))?;
    Some(device.display().to_string())
}

fn groups(raw: Key<Vec<Key<raw::Group>>>, cameras: &[Camera], findings: &mut Findings) -> Vec<Group> {
    let raws = Section::new("", findings).get("group", raw).unwrap_or_default();
    // Where a camera is wrong, whether a group names it rightly is not known.
    if !findings.is_clean("camera") {
        return Vec::new();
    }
    let (mut groups, mut taken): (Vec<Group>, _) = (Vec::new(), HashSet::new());
    for (index, raw) in raws.into_iter().enumerate() {
        let name = reader::element_key("group", index, None);
        let group =
            section(&name, raw, findings, |raw, section| group::read(raw, cameras, &mut taken, section));
        let Some(group) = group.flatten() else { continue };
        if groups.iter().any(|other| other.name == group.name) {
            findings.add(&name, "two groups have this name");
        }
        groups.push(group);
    }
    groups
}

/// What was chosen over what the station file says, if that still says the same.
fn choice(said: &station::Said, chosen: Option<&str>, findings: &mut Findings) -> Option<Choice> {
    let over = said.product.clone()?;
    if let Some(product) = chosen {
        return Some(Choice { product: product.into(), over });
    }
    match Choice::read(&said.state_dir) {
        Ok(kept) => kept.filter(|kept| kept.over == over),
        Err(why) => {
            let file = Choice::file(&said.state_dir);
            findings.add("station.state_dir", format!("{}: {}", file.display(), layers::explain(&why)));
            None
        }
    }
}

/// The active product and the text of its file.
fn active_product(
    said: &station::Said,
    choice: Option<&Choice>,
    findings: &mut Findings,
    of_products: &mut Vec<Problem>,
) -> Option<(Product, String)> {
    let (folder, bundles_dir) = (&said.products_dir, said.state_dir.join("bundles"));
    let files = match product::read_all(folder, &bundles_dir, of_products) {
        Ok(files) => files,
        Err(why) => {
            let text = format!("{}: {}", folder.display(), layers::explain(&why));
            findings.add("station.products_dir", text);
            return None;
        }
    };
    let active = choice.map(|choice| &choice.product).or(said.product.as_ref())?;
    let names: Vec<_> = files.iter().map(|file| file.name.clone()).collect();
    if let Some(file) = files.into_iter().find(|file| file.name == *active) {
        return Some((file.product?, file.text));
    }
    let there =
        if names.is_empty() { "there is none".into() } else { format!("there are: {}", names.join(", ")) };
    let by_command = match choice {
        Some(_) => {
            format!(" (chosen by a command: {} says so)", Choice::file(&said.state_dir).display())
        }
        None => String::new(),
    };
    let (active, folder) = (active.escape_debug(), folder.display());
    findings.add("station.product", format!("no product \"{active}\" in {folder}{by_command}; {there}"));
    None
}

/// What is found missing must still be told before the deadline.
const SPARE: Duration = Duration::from_millis(30);

/// What misses its window must be told before the deadline; cameras whose size is set must give what the active product's ROI is drawn on.
fn fit_together(product: &Product, cameras: &[Camera], groups: &[Group], problems: &mut Vec<Problem>) {
    let commanded = cameras.iter().filter_map(|camera| match camera.trigger {
        TriggerMode::Command(Matching { early, window, .. }) => {
            Some((format!("early_ms and window_ms of camera {}", camera.id), early + window))
        }
        TriggerMode::Free | TriggerMode::Hardware => None,
    });
    let grouped = groups.iter().map(|group| (format!("window_ms of group {}", group.name), group.window));
    for (of, longest) in commanded.chain(grouped).filter(|(_, longest)| *longest + SPARE > product.deadline) {
        let (least, deadline) = ((longest + SPARE).as_millis(), product.deadline.as_millis());
        let text = format!(
            "must be at least {least}, which is {} ms more than {of}; is {deadline}",
            SPARE.as_millis()
        );
        problems.push(Problem { file: product.file.display().to_string(), key: "deadline_ms".into(), text });
    }
    let Some(roi) = &product.roi else { return };
    for camera in cameras {
        if let Some(size) = camera.size.filter(|&size| size != roi.size()) {
            let text = format!("is drawn on frames of {}, but camera {} gives {size}", roi.size(), camera.id);
            problems.push(Problem { file: product.file.display().to_string(), key: "roi".into(), text });
        }
    }
}

/// Over the station file, the active product with what its ROI's mask shows, the filled-in pipelines and what was laid over the file. Other
/// products do not count: they judge nothing.
fn sha256(text: &str, product: [&str; 2], cameras: &[Camera], sources: &Sources<'_>) -> String {
    let mut laid_over: Vec<_> =
        sources.environment.iter().filter(|(name, _)| name.to_lowercase().starts_with("csflowd__")).collect();
    laid_over.sort();
    laid_over.extend(sources.overrides.iter().map(|(key, value)| (key, value)));
    let laid_over = laid_over.into_iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
    let pipelines = cameras.iter().map(|camera| camera.pipeline.as_str());

    let mut hasher = Sha256::new();
    for part in [text].into_iter().chain(product).chain(pipelines).chain(laid_over) {
        // Lengths keep text from moving between parts unseen.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())
}
