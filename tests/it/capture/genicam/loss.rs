//! A camera that is silent, loses packets, or is gone in mid-stream.

use std::time::Duration;

use csflowd::capture;
use csflowd::clock::SystemClock;
use csflowd::config::camera::TriggerMode;
use csflowd::config::genicam::Value;
use csflowd::frame::{BufferPool, Captured};
use csflowd::health::CameraState;

use super::super::run;
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

/// How often it is killed; another number is taken from `CSFLOWD_KILLS`.
const KILLS: usize = 2;

/// Frames between two kills.
const FRAMES: usize = 20;

/// The frames of each life of a camera: the longest times without one are between them.
fn lives(frames: &[Captured], losses: usize) -> Vec<&[Captured]> {
    let mut starts: Vec<usize> = (1..frames.len()).collect();
    starts.sort_by_key(|&at| std::cmp::Reverse(frames[at].at.since(frames[at - 1].at)));
    starts.truncate(losses);
    starts.sort_unstable();
    let ends = starts.iter().copied().chain([frames.len()]);
    [0].into_iter().chain(starts.iter().copied()).zip(ends).map(|(start, end)| &frames[start..end]).collect()
}

#[test]
fn a_camera_that_is_killed_and_restarted_in_mid_stream_comes_back_with_its_account_in_order() {
    let Some(mut lens) = Lens::start(&[]) else { return };
    let kills = std::env::var("CSFLOWD_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let camera = genicam_camera(&lens);
    // How many frames there were when it was killed, and how often it had come back.
    let mut killed: Vec<(usize, usize)> = Vec::new();
    let record = run(&camera, &mut |record| {
        let frames = record.frames.len();
        let reconnects = record.reconnects_told();
        let is_back = killed.last().is_none_or(|&(_, before)| reconnects > before);
        if !is_back || frames < killed.last().map_or(0, |&(frames, _)| frames) + FRAMES {
            return false;
        }
        if killed.len() == kills {
            return true;
        }
        lens.kill();
        lens.restart();
        killed.push((frames, reconnects));
        false
    });
    assert!(record.lost() >= kills, "{:?}", record.events);
    // It may be lost once more while it starts.
    let reconnects = record.reconnects_told();
    assert!(reconnects >= kills && record.state == Some(CameraState::Running), "{:?}", record.events);
    let lives = lives(&record.frames, reconnects);
    for frames in &lives {
        check_account(frames);
    }
    assert!(record.frames.iter().any(|frame| number_in(frame).is_some()));
    let mut without: Vec<Duration> =
        lives.windows(2).map(|two| two[1][0].at.since(two[0][two[0].len() - 1].at)).collect();
    without.sort_unstable();
    println!(
        "{kills} kills: without a frame for {:.2?} (p50), {:.2?} (max)",
        without[kills / 2],
        without[kills - 1]
    );
}
