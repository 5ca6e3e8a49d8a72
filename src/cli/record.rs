//! `csflowd record`.

use std::io::{self, BufRead};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, bounded};

use super::camera::CameraChoice;
use super::exit;
use crate::capture;
use crate::clock::{Clock, Moment, SystemClock};
use crate::commission::record::{self, Order, Pace, Summary};
use crate::progress::say;

pub(super) const LONG: &str = "Record pictures to train on, through the pipeline that will judge

Each frame of a camera is a part, and is recorded unless it looks like an earlier one; of a camera that streams past
parts, take frames by time or by key. Pictures are PNG files with every pixel as it came, in the folders that train and
evaluate look for, and each has a line in manifest.jsonl. Nothing is ever written over: recording into the same folder
again adds to it. Ctrl-C ends the recording. The station file must have the camera's section; whatever else is
missing or wrong in it does not matter.";

/// Keys pressed and not yet answered.
const KEYS: usize = 8;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    choice: CameraChoice,
    /// Folder of the data set, made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where in it: train/good, test/good or test/<kind of defect>
    #[arg(long, value_name = "FOLDER", default_value = "train/good", value_parser = class)]
    into: PathBuf,
    /// End after so many pictures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Record one frame in this time, not each
    #[arg(long, value_name = "SECONDS", value_parser = super::snapshot::seconds, conflicts_with = "key")]
    every: Option<Duration>,
    /// Record the next frame when Enter is pressed, not each
    #[arg(long)]
    key: bool,
    /// Record what looks like an earlier picture too
    #[arg(long)]
    keep_alike: bool,
}

/// Ends with 66 if there is no picture, or fewer than asked for and nobody ended it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one does not wait for the picture in hand.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    capture::init()?;
    let camera = arguments.choice.find()?;
    let clock = SystemClock::start();
    let keys = if arguments.key { Some(keys(clock)?) } else { None };
    let pace = match (&keys, arguments.every) {
        (Some(keys), _) => Pace::Asked(keys),
        (None, Some(time)) => Pace::Every(time),
        (None, None) => Pace::Each,
    };
    if keys.is_some() {
        say("Enter records the next frame, Ctrl-C ends");
    }
    let order = Order {
        root: &arguments.out,
        class: &arguments.into,
        pace,
        count: arguments.count.map(|count| count as usize),
        keep_alike: arguments.keep_alike,
    };
    let Summary { recorded, alike, .. } = record::run(&camera, order, &stop, &clock)?;
    if alike > recorded as u64 {
        say(
            "most pictures looked like an earlier one: if they were different parts, record with --keep-alike",
        );
    }
    let is_stopped = stop.load(std::sync::atomic::Ordering::Relaxed);
    let is_short = order.count.is_some_and(|count| recorded < count);
    Ok(if recorded == 0 || is_short && !is_stopped { exit::NO_INPUT } else { exit::OK })
}

/// A moment for each line of standard input, until it ends.
fn keys(clock: SystemClock) -> io::Result<Receiver<Moment>> {
    // Full: further keys wait.
    let (pressed, keys) = bounded(KEYS);
    // It sits in a read that nothing interrupts, and ends with the process.
    thread::Builder::new().name("keys".into()).spawn(move || {
        for _ in io::stdin().lock().lines().map_while(Result::ok) {
            if pressed.send(clock.now()).is_err() {
                return;
            }
        }
    })?;
    Ok(keys)
}

fn class(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let parts: Vec<_> = path.components().collect();
    match parts.as_slice() {
        [Component::Normal(first), Component::Normal(second)]
            if *first == "test" || (*first == "train" && *second == "good") =>
        {
            Ok(path.into())
        }
        _ => Err("must be train/good, test/good or test/<kind of defect>".into()),
    }
}
