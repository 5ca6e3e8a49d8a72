//! `csflowd snapshot`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::camera::CameraChoice;
use super::{exit, print};
use crate::capture;
use crate::clock::SystemClock;
use crate::commission::snapshot::{self, Look};
use crate::frame::BufferPool;

pub(super) const LONG: &str = "Take one frame of a camera, as the daemon would get it

Writes it as a PNG file with every pixel as it came, and says what the pipeline's elements agreed on: format, size and
rate. The station file must have the camera's section; whatever else is missing or wrong in it does not matter.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    choice: CameraChoice,
    /// The file to write, which must not be there yet [default: <camera>.png]
    #[arg(long, value_name = "FILE.png")]
    out: Option<PathBuf>,
    /// Pass over so many frames first, for a camera whose exposure settles
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
    /// How long to wait for a frame [default: `stall_s` of a camera that streams, 60 for one that is fired]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    wait: Option<Duration>,
}

/// A camera that is fired waits for a part.
const FIRED: Duration = Duration::from_mins(1);

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    capture::init()?;
    let camera = arguments.choice.find()?;
    let usual = if camera.trigger.allows_silence() { FIRED } else { camera.stall };
    let wait = arguments.wait.unwrap_or(usual);
    let pool = BufferPool::new(2, 0);
    let look = snapshot::look(&camera, (arguments.skip, wait), &SystemClock::start(), &pool)?;
    let name = format!("{}.png", camera.id);
    let saved = look.save(&camera, arguments.out.as_deref().unwrap_or(Path::new(&name)));
    // What was agreed on tells why a frame does not fit.
    let pipeline = Look::pipeline(&look);
    match &saved {
        Ok(said) => print(&format!("camera {}: {said}\n{pipeline}", camera.id))?,
        Err(_) => print(&pipeline)?,
    }
    saved?;
    Ok(exit::OK)
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|number| (0.01..=86_400.0).contains(number));
    number.map(Duration::from_secs_f64).ok_or_else(|| "must be 0.01 to 86400 seconds".to_owned())
}
