//! `csflowd run` and `csflowd check`: the same settings, read the same way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{exit, print};
use crate::capture::{self, Pulled};
use crate::causes::chain;
use crate::clock::{Clock, SystemClock};
use crate::config::camera::{Camera, Pipelines};
use crate::config::engine::Engine;
use crate::config::problem::Problems;
use crate::config::product::Product;
use crate::config::{self, Config, Sound, Sources};
use crate::daemon;
use crate::engine::{LoadError, threads};
use crate::frame::BufferPool;
use crate::inference::Inspector;
use crate::inference::rules::Limits;
use crate::model::bundle::Bundle;
use crate::model::bundle::roi::CalibratedRoi;
use crate::model::score::area::Inspected;
use crate::progress::say;
use crate::publish;
use crate::roi::Roi;
use crate::telemetry;

/// Where the package puts pipelines that a station does not bring itself.
const SHARED_PIPELINES: &str = "/usr/share/csflowd/pipelines";

/// Where settings come from.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// The station file
    #[arg(long, default_value = "/etc/csflowd/csflowd.toml", value_name = "FILE")]
    config: PathBuf,
    /// Override a key of the station file, such as mqtt.port=1884; may stand several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    settings: Settings,
    /// Stop after so many triggers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// error, warn, info, debug or trace, or target=level,... [env: `CSFLOWD_LOG`]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    settings: Settings,
    /// Neither load the network onto its device nor open a camera
    #[arg(long)]
    no_hardware: bool,
}

pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<u8> {
    let filter = arguments.log.clone().or_else(|| std::env::var("CSFLOWD_LOG").ok());
    telemetry::start(filter.as_deref())?;
    capture::init()?;
    let load = |product: Option<&str>| arguments.settings.with(product, config::load);
    let config = match load(None) {
        Ok(config) => config,
        Err(problems) => return Ok(refuse(&problems)),
    };
    let given =
        daemon::Given { config: &config, station_file: &arguments.settings.config, frames: arguments.frames };
    daemon::run(given, &load, &SystemClock::start())?;
    Ok(exit::OK)
}

pub(super) fn check(arguments: &CheckArguments) -> anyhow::Result<u8> {
    capture::init()?;
    let (config, Sound { engine, cameras, product }) = arguments.settings.with(None, config::examine);
    // Where the settings have mistakes, what is sound may have problems of another kind: whoever repairs the one hears
    // of the others now.
    let sha256 = config.as_ref().map_or("", |config| &config.sha256);
    let looked = look_further((product.as_ref(), engine.as_ref(), sha256), &cameras, arguments.no_hardware);
    let certificates = config.as_ref().map_or(Ok(()), |config| publish::check(&config.mqtt));
    if let Err(problems) = &config {
        say(&problems.to_string());
    }
    if let Err(problems) = &looked {
        say(&problems.join("\n"));
    }
    if let Err(failure) = &certificates {
        say(&format!("mqtt.tls: {}", failure.explain()));
    }
    let (Ok(config), Ok(inspected), Ok(())) = (config, looked, certificates) else {
        return Ok(exit::CONFIG);
    };
    print(&format!(
        "{}: station {}, cameras: {}, product {}: nothing is wrong",
        arguments.settings.config.display(),
        config.station.name,
        config.cameras.iter().map(|camera| camera.id.as_str()).collect::<Vec<_>>().join(" "),
        config.product.name,
    ))?;
    if let Some(inspected) = inspected {
        print(&format!("ROI: {inspected}"))?;
    }
    Ok(exit::OK)
}

/// Looks at the bundle, and at the hardware if it may: how much of the ROI is inspected, or every problem.
fn look_further(
    (product, engine, config_sha256): (Option<&Product>, Option<&Engine>, &str),
    cameras: &[Camera],
    no_hardware: bool,
) -> Result<Option<Inspected>, Vec<String>> {
    let (mut problems, mut inspected) = (Vec::new(), None);
    let looked = match (product, engine) {
        (Some(product), Some(engine)) if !no_hardware => {
            threads::set(engine.threads.unwrap_or_else(threads::beside_cameras));
            Inspector::load(product, engine, config_sha256).map(|inspector| inspector.inspected())
        }
        (Some(product), _) => read_bundle(product),
        (None, _) => Ok(None),
    };
    match looked {
        Ok(found) => inspected = found,
        Err(error) => problems.push(chain(&error)),
    }
    if !no_hardware {
        let roi = product.and_then(|product| product.roi.as_deref());
        problems.extend(cameras.iter().filter_map(|camera| try_camera(camera, roi).err()));
    }
    if problems.is_empty() { Ok(inspected) } else { Err(problems) }
}

impl Settings {
    pub(super) fn load(&self) -> Result<Config, Problems> {
        self.with(None, config::load)
    }

    /// What `read` makes of the settings.
    pub(super) fn with<T>(&self, product: Option<&str>, read: impl FnOnce(&Sources<'_>) -> T) -> T {
        let pipelines = Pipelines {
            shared_dir: Path::new(SHARED_PIPELINES),
            fill: &|text, parameters| {
                capture::text::fill(text, parameters).map_err(|error| error.to_string())
            },
            check: &|camera| capture::check(&camera.pipeline, &camera.source).map_err(|error| chain(&error)),
        };
        read(&Sources {
            file: &self.config,
            environment: &config::process_environment(),
            overrides: &self.overrides,
            pipelines: &pipelines,
            product,
        })
    }
}

/// The bundle as the daemon would take it, but for its device, and how much of the ROI it inspects.
fn read_bundle(product: &Product) -> Result<Option<Inspected>, LoadError> {
    let bundle = Bundle::read(&product.bundle)?;
    let calibrated = CalibratedRoi::of(&bundle.manifest);
    Limits::new(Some(product), &bundle.manifest.calibration, &calibrated)?;
    Ok(product.roi.as_deref().map(|roi| calibrated.inspected(roi)))
}

/// Opens the camera and waits for one picture, which must be one that `roi` is drawn on; none may come of a camera that is
/// fired.
fn try_camera(camera: &Camera, roi: Option<&Roi>) -> Result<(), String> {
    let named = |text: String| format!("camera {}: {text}", camera.id);
    let clock = SystemClock::start();
    let pool = BufferPool::new(1, 0);
    let mut source = capture::open(camera, &clock, &pool).map_err(|error| named(chain(&error)))?;
    while clock.now().mono < camera.stall {
        match source.next(Duration::from_millis(100)).map_err(|error| named(chain(&error)))? {
            Pulled::Captured(captured) => {
                let found = captured.image.map_err(named)?.size;
                return match roi.map(Roi::size) {
                    Some(expected) if expected != found => Err(named(format!(
                        "frames are {found}, but the product's ROI is drawn on {expected}"
                    ))),
                    Some(_) | None => Ok(()),
                };
            }
            Pulled::Nothing => {}
            Pulled::Ended => return Err(named("the source ended without a picture".into())),
        }
    }
    // One that waits for its trigger is as it should be.
    if camera.trigger.allows_silence() {
        return Ok(());
    }
    Err(named(format!("no picture within {} s", camera.stall.as_secs_f64())))
}

fn refuse(problems: &Problems) -> u8 {
    say(&problems.to_string());
    exit::CONFIG
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE, such as mqtt.port=1884")?;
    Ok((key.to_owned(), value.to_owned()))
}
