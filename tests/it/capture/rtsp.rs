//! Network cameras by RTSP, through the pipeline that is shipped for them.

use std::collections::BTreeMap;
use std::time::Duration;

use csflowd::capture::{self, text};
use csflowd::clock::SystemClock;
use csflowd::config::camera::Camera;
use csflowd::frame::{BufferPool, CaptureClock, Captured, PixelFormat};

use super::kills::{Kills, with_kills};
use super::{camera, next, size};
use crate::rtsp::{self, RtspCamera, number_in};

const PIPELINE: &str = include_str!("../../../pipelines/rtsp.launch");

fn rtsp_camera(lens: &RtspCamera) -> Camera {
    let parameters = [("location", lens.location()), ("format", "GRAY8".into())];
    let parameters: BTreeMap<String, String> = parameters.map(|(key, value)| (key.into(), value)).into();
    let (width, height) = rtsp::SIZE;
    Camera {
        format: PixelFormat::Gray8,
        size: Some(size(width, height)),
        stall: Duration::from_secs(1),
        ..camera(&text::fill(PIPELINE, &parameters).unwrap())
    }
}

/// Each picture of one connection once, and none left out.
#[track_caller]
fn check_account(frames: &[Captured]) {
    let numbers: Vec<u8> = frames.iter().map(|frame| number_in(frame.image.as_ref().unwrap())).collect();
    assert!(numbers.windows(2).all(|two| two[0].wrapping_add(1) == two[1]), "{numbers:?}");
    assert!(frames.is_sorted_by_key(|frame| frame.at.mono), "in the order of their arrival");
}

#[test]
fn frames_come_each_once_and_get_the_time_that_the_camera_says() {
    let lens = RtspCamera::start();
    let camera = rtsp_camera(&lens);
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(4, 0));
    let mut source = capture::open(&camera, &clock, &pool).unwrap();
    let mut frames = Vec::new();
    // The camera says what time it is every few seconds.
    while frames.len() < 50
        || frames.last().is_none_or(|frame: &Captured| frame.clock != CaptureClock::Reference)
    {
        frames.push(next(source.as_mut(), &clock));
        assert!(frames.len() < 1500, "the camera has not said what time it is");
    }
    check_account(&frames);
}

#[test]
fn a_camera_that_is_killed_and_restarted_in_mid_stream_comes_back() {
    let mut lens = RtspCamera::start();
    let camera = rtsp_camera(&lens);
    let kills = with_kills(&camera, Kills::asked_for(2), &mut || {
        lens.kill();
        lens.restart();
    });
    for frames in &kills.lives {
        check_account(frames);
    }
    kills.tell("killed and restarted");
}

#[test]
fn a_camera_that_freezes_is_noticed_and_comes_back_when_it_thaws() {
    let lens = RtspCamera::start();
    let camera = rtsp_camera(&lens);
    let mut is_frozen = false;
    let kills = with_kills(&camera, Kills::asked_for(2), &mut || {
        lens.freeze();
        // Longer than frames may fail to come, so that it is opened anew while it is frozen.
        crate::mosquitto::pause_for(Duration::from_millis(1500));
        lens.thaw();
        is_frozen = true;
    });
    assert!(is_frozen);
    for frames in &kills.lives {
        check_account(frames);
    }
    kills.tell("frozen for 1.5 s");
}
