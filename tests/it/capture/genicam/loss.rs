//! A camera that is silent, loses packets, or is gone in mid-stream.

use std::time::Duration;

use csflowd::capture;
use csflowd::clock::SystemClock;
use csflowd::config::camera::TriggerMode;
use csflowd::config::genicam::Value;
use csflowd::frame::BufferPool;

use super::super::kills::{Kills, with_kills};
use super::{check_account, genicam_camera, genicam_of, number_in, take};
use crate::lens::Lens;

#[test]
fn a_camera_that_nobody_fires_is_waited_for_without_a_fault() {
    let Some(lens) = Lens::start(&[]) else { return };
    let mut camera = genicam_camera(&lens);
    camera.trigger = TriggerMode::Hardware;
    camera.stall = Duration::from_millis(100);
    genicam_of(&mut camera).trigger_source = Some("Line0".into());
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(1, 0));
    let mut source = capture::open(&camera, &clock, &pool).unwrap();
    // Longer than libaravis' heartbeat and GStreamer's own source would wait.
    for _ in 0..30 {
        let pulled = source.next(Duration::from_millis(100));
        assert!(matches!(pulled, Ok(capture::Pulled::Nothing)), "{pulled:?}");
    }
}

#[test]
fn with_packets_lost_on_the_way_each_frame_is_still_there_once() {
    let Some(lens) = Lens::start(&["--gvsp-lost-ratio", "10"]) else { return };
    let mut camera = genicam_camera(&lens);
    genicam_of(&mut camera).features.insert("AcquisitionFrameRate".into(), Value::Number(50.0));
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(4, 512 * 512));
    let mut source = capture::open(&camera, &clock, &pool).unwrap();
    let frames = take(source.as_mut(), &clock, 150);
    check_account(&frames);
    let broken: Vec<&String> = frames.iter().filter_map(|frame| frame.image.as_ref().err()).collect();
    // Each of 66 packets is lost with a probability of 1 %.
    assert!(broken.len() > 20, "{broken:?}");
    let is_named =
        |text: &&String| text.contains(" is damaged: packets") || text.contains(" is lost: nothing");
    assert!(broken.iter().all(is_named), "{broken:?}");
    let losses = source.losses();
    assert!(losses.packets_lost >= losses.frames_incomplete && losses.frames_incomplete > 0, "{losses:?}");
    assert!(losses.frames_incomplete + losses.frames_lost >= broken.len() as u64, "{losses:?}");
    assert!(source.advice().is_some());
}

#[test]
fn a_camera_that_is_killed_and_restarted_in_mid_stream_comes_back_with_its_account_in_order() {
    let Some(mut lens) = Lens::start(&[]) else { return };
    let camera = genicam_camera(&lens);
    let kills = with_kills(&camera, Kills::asked_for(2), &mut || {
        lens.kill();
        lens.restart();
    });
    for frames in &kills.lives {
        check_account(frames);
    }
    assert!(kills.lives.iter().flatten().any(|frame| number_in(frame).is_some()));
    kills.tell("killed and restarted");
}
