//! GigE Vision cameras, with libaravis' own on loopback.
//!
//! Its pictures are ramps that begin with the frame's number, so that each picture tells which frame it is of.

mod loss;
mod settings;

use std::time::Duration;

use crossbeam_channel::bounded;
use csflowd::capture::{self, FrameSource, Pulled};
use csflowd::clock::{Clock, SystemClock};
use csflowd::config::camera::{Camera, Frames, Matching, Source, TriggerMode};
use csflowd::config::genicam::{Genicam, Value};
use csflowd::frame::{BufferPool, Captured, PixelFormat};

use super::{PATIENCE, camera, next, size};
use crate::lens::Lens;

const PIPELINE: &str = "appsrc name=camera ! appsink name=frames";

fn genicam_camera(lens: &Lens) -> Camera {
    let genicam = Genicam { device: lens.id.clone(), packet_size: Some(4000), ..Genicam::default() };
    let camera = camera(PIPELINE);
    Camera {
        source: Source::Genicam(genicam),
        format: PixelFormat::Gray8,
        size: Some(size(512, 512)),
        ..camera
    }
}

fn genicam_of(camera: &mut Camera) -> &mut Genicam {
    let Source::Genicam(genicam) = &mut camera.source else { panic!("not a GenICam camera") };
    genicam
}

fn fired(camera: &mut Camera) {
    genicam_of(camera).trigger_source = Some("Software".into());
    let (early, window) = (Duration::ZERO, Duration::from_secs(1));
    camera.trigger = TriggerMode::Command(Matching { frames: Frames::Pulse, early, window });
}

/// The number that a picture shows, modulo 255; every pixel must agree.
fn number_in(frame: &Captured) -> Option<u32> {
    let image = frame.image.as_ref().ok()?;
    let first = u32::from(image.pixels[0]);
    for (at, &pixel) in image.pixels.iter().enumerate() {
        let (x, y) = (at % 512, at / 512);
        let expected = (u32::try_from(x + y).unwrap() + first) % 255;
        assert_eq!(u32::from(pixel), expected, "pixel {x}, {y} of a picture that begins with {first}");
    }
    Some(first)
}

/// Each frame is there once: as its picture, or as what became of it.
fn check_account(frames: &[Captured]) {
    let mut last = None;
    let mut between = 0;
    for frame in frames {
        let Some(number) = number_in(frame) else {
            between += 1;
            continue;
        };
        if let Some(last) = last {
            // The counter goes from 65535 to 1, and both begin the ramp at the same place or one on.
            let steps = (number + 255 - last) % 255;
            assert_eq!(steps, between + 1, "from a picture of {last} to one of {number}: {frames:?}");
        }
        (last, between) = (Some(number), 0);
    }
    assert!(frames.is_sorted_by_key(|frame| frame.at.mono), "in the order of their capture");
}

fn take(source: &mut dyn FrameSource, clock: &SystemClock, count: usize) -> Vec<Captured> {
    (0..count).map(|_| next(source, clock)).collect()
}

#[test]
fn frames_of_a_free_running_camera_come_each_once_under_their_own_numbers() {
    let Some(lens) = Lens::start(&[]) else { return };
    let mut camera = genicam_camera(&lens);
    genicam_of(&mut camera).features.insert("AcquisitionFrameRate".into(), Value::Number(50.0));
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(4, 512 * 512));
    for _life in 0..2 {
        let mut source = capture::open(&camera, &clock, &pool).unwrap();
        let frames = take(source.as_mut(), &clock, 60);
        check_account(&frames);
        let whole = frames.iter().filter(|frame| frame.image.is_ok()).count();
        assert!(whole > 0, "not one frame came whole: {:?}", frames[0].image);
    }
}

#[test]
fn a_camera_that_csflowd_fires_takes_one_picture_each_time_and_is_silent_between() {
    let Some(lens) = Lens::start(&[]) else { return };
    let mut camera = genicam_camera(&lens);
    fired(&mut camera);
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(4, 512 * 512));
    let (fire_in, fire) = bounded(4);
    let mut source = capture::open_fired(&camera, &clock, &pool, Some(&fire)).unwrap();
    let mut frames = Vec::new();
    for _ in 0..5 {
        let asked = clock.now();
        fire_in.send(()).unwrap();
        let frame = next(source.as_mut(), &clock);
        assert!(frame.at.mono >= asked.mono, "it was taken before it was asked for");
        frames.push(frame);
        let silent_from = clock.now();
        while clock.now().since(silent_from) < Duration::from_millis(400) {
            let pulled = source.next(Duration::from_millis(100)).unwrap();
            assert!(matches!(pulled, Pulled::Nothing), "{pulled:?}");
        }
    }
    check_account(&frames);
    assert!(clock.now().mono < PATIENCE);
}
