//! From a camera's buffer to a frame in the pool: conversion by GStreamer and the copy.
//!
//! Pictures come from the page cache, as from a driver: one read of the whole picture into a new buffer. Beside each row stands
//! what that alone takes, in the same run. Expected: a mono picture of 12 MB is two copies at some 10 GB/s, 2 to 3 ms; Bayer
//! at full size is bound by `bayer2rgb` and `videoconvert`, a core for some 30 frames a second.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use csflowd::capture::{self, Pulled};
use csflowd::clock::{Clock, SystemClock};
use csflowd::config::camera::{Camera, Source, TriggerMode};
use csflowd::frame::{BufferPool, CameraId, PixelFormat, Size};
use gstreamer as gst;
use gstreamer::prelude::*;

/// Pixels of all frames of a measurement: the processor's time is known to a hundredth of a second.
const PIXELS: u32 = 2_000_000_000;

/// What one frame takes.
struct Cost {
    wall: Duration,
    /// Of all threads.
    processor: Duration,
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    capture::init().expect("GStreamer is installed");
    let mut out = std::io::stdout().lock();
    let heading =
        "                        frames/s   CPU ms a frame   of that the source   of a core at 10 frames/s";
    writeln!(out, "{heading}").expect("standard output is there");
    for (width, height) in [(1280, 1024), (4096, 3000)] {
        for (name, caps, convert, format) in [
            ("mono", "video/x-raw,format=GRAY8", "", PixelFormat::Gray8),
            (
                "Bayer to RGB",
                "video/x-bayer,format=rggb",
                "! bayer2rgb ! videoconvert ! video/x-raw,format=RGB",
                PixelFormat::Rgb8,
            ),
        ] {
            let folder = tempfile::tempdir().expect("a folder for a picture");
            let (source, frames) =
                (source(folder.path(), caps, Size { width, height }), PIXELS / (width * height));
            let base = alone(&source, frames);
            let cost = through(&format!("{source} {convert} ! appsink name=frames"), format, frames);
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let line = format!(
                "{:<24}{:>8.0}{:>17.2}{:>21.2}{:>26.1} %",
                format!("{name} {width}x{height}"),
                1.0 / cost.wall.as_secs_f64(),
                ms(cost.processor),
                ms(base.processor),
                ms(cost.processor.saturating_sub(base.processor)) * 10.0 / 1e3 * 100.0,
            );
            writeln!(out, "{line}").expect("standard output is there");
        }
    }
}

/// A source that reads one picture of noise again and again.
fn source(folder: &Path, caps: &str, Size { width, height }: Size) -> String {
    let file = folder.join("picture.raw");
    let length = usize::try_from(width * height).expect("a size");
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    fs::write(&file, noise.take(length).collect::<Vec<u8>>()).expect("room for a picture");
    format!(
        "multifilesrc location={} loop=true caps={caps},width={width},height={height},framerate=30/1",
        file.display()
    )
}

fn alone(source: &str, frames: u32) -> Cost {
    measured(frames, || {
        let text = format!("{source} num-buffers={frames} ! fakesink sync=false");
        let pipeline =
            gst::parse::launch(&text).expect("a pipeline").downcast::<gst::Pipeline>().expect("several");
        pipeline.set_state(gst::State::Playing).expect("it starts");
        let bus = pipeline.bus().expect("a pipeline has a bus");
        let end = bus.timed_pop_filtered(None, &[gst::MessageType::Eos, gst::MessageType::Error]);
        assert_eq!(end.expect("it ends").type_(), gst::MessageType::Eos);
        pipeline.set_state(gst::State::Null).expect("it stops");
    })
}

fn through(pipeline: &str, format: PixelFormat, frames: u32) -> Cost {
    let camera = Camera {
        id: CameraId::new("top").expect("a name"),
        source: Source::Pipeline,
        pipeline: pipeline.into(),
        format,
        size: None,
        trigger: TriggerMode::Free,
        stall: Duration::from_secs(30),
        retry: (Duration::from_secs(1), Duration::from_secs(1)),
        frozen_after: 0,
    };
    let (clock, pool) = (SystemClock::start(), BufferPool::new(2, 0));
    let mut source = capture::open(&camera, &clock, &pool).expect("the camera opens");
    let mut pull = |count: u32| {
        let mut left = count;
        while left > 0 {
            if let Pulled::Captured(frame) = source.next(Duration::from_secs(1)).expect("a frame") {
                frame.image.expect("a picture");
                left -= 1;
            }
        }
    };
    pull(5);
    measured(frames, || pull(frames))
}

fn measured(frames: u32, mut work: impl FnMut()) -> Cost {
    let clock = SystemClock::start();
    let (started, before) = (clock.now(), processor_time());
    work();
    let wall = clock.now().since(started);
    Cost { wall: wall / frames, processor: processor_time().saturating_sub(before) / frames }
}

/// Of all threads of this process so far, to a hundredth of a second.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // Behind the name, which may hold anything, in its brackets.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a count")).sum();
    Duration::from_millis(ticks * 10)
}
