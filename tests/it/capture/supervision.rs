//! What becomes of a camera that is lost, falls silent, ends or is asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use csflowd::capture::error::CaptureError;
use csflowd::capture::{FrameSource, Pulled};
use csflowd::clock::{Clock, SystemClock};
use csflowd::config::camera::{Camera, Files, Order, Source, TriggerMode};
use csflowd::events::Event;
use csflowd::frame::{CaptureClock, Captured};
use csflowd::health::CameraState;

use super::{PATIENCE, Record, SteppingClock, camera, run, scripted, size, supervise};

fn lost(cause: &str) -> Result<Pulled, CaptureError> {
    Err(CaptureError::Element { element: "lens".into(), message: cause.into() })
}

fn frame(clock: &dyn Clock) -> Pulled {
    Pulled::Captured(Captured {
        at: clock.now(),
        clock: CaptureClock::Arrival,
        part_id: None,
        image: Err("no picture".into()),
    })
}

/// Cause and pause of each loss that was told.
fn losses(record: &Record) -> Vec<(&str, Duration)> {
    let mut losses = Vec::new();
    for event in &record.events {
        if let Event::CameraLost { cause, retry_in, .. } = event {
            losses.push((cause.as_str(), *retry_in));
        }
    }
    losses
}

fn causes(record: &Record) -> Vec<&str> {
    losses(record).into_iter().map(|(cause, _)| cause).collect()
}

#[test]
fn a_pipeline_that_ends_is_built_again_and_frames_go_on() {
    let camera = camera("videotestsrc num-buffers=3 ! video/x-raw,format=RGB ! appsink name=frames");
    let record = run(&camera, &mut |record| record.frames.len() >= 8);
    assert!(record.frames.len() >= 8);
    assert!(record.frames.iter().all(|frame| frame.image.is_ok()));
    // Three frames from each life: the eighth comes in the third.
    assert!(record.reconnects >= 2, "{record:?}");
    let is_expected = |event: &Event| match event {
        Event::CameraLost { cause, .. } => cause == "the stream has ended",
        event => matches!(event, Event::CameraBack { .. }),
    };
    assert!(record.events.len() >= 4 && record.events.iter().all(is_expected), "{:?}", record.events);
}

#[test]
fn a_pipeline_without_frames_and_without_error_is_lost() {
    let caps = "video/x-raw,format=RGB,width=8,height=8,framerate=1/1";
    let camera = Camera {
        stall: Duration::from_millis(100),
        ..camera(&format!("appsrc caps={caps} format=time is-live=true ! appsink name=frames"))
    };
    let record = run(&camera, &mut |record| record.lost() == 1);
    assert_eq!(causes(&record), ["no frame for 0.1 s"]);
    assert_eq!(record.state, Some(CameraState::Lost));
}

#[test]
fn a_pipeline_that_cannot_be_built_is_tried_again_with_its_reason_told() {
    let record = run(&camera("videotestsrc ! nosuchelement"), &mut |record| record.lost() == 1);
    assert_eq!(causes(&record), ["pipeline does not parse: no element \"nosuchelement\""]);
}

#[test]
fn a_stop_request_ends_a_camera_between_two_frames() {
    let text = "videotestsrc is-live=true ! video/x-raw,format=RGB,framerate=100/1 ! appsink name=frames";
    let record = run(&camera(text), &mut |record| record.frames.len() >= 3);
    assert!(record.events.is_empty());
    assert_eq!(record.state, Some(CameraState::Running));
}

#[test]
fn a_stop_request_interrupts_the_longest_pause() {
    let mut camera = camera("videotestsrc ! nosuchelement");
    camera.retry = (Duration::from_hours(1), Duration::from_hours(1));
    assert_eq!(run(&camera, &mut |record| record.lost() == 1).lost(), 1);
}

#[test]
fn a_finite_source_ends_its_camera() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..3 {
        image::RgbImage::new(4, 4).save(folder.path().join(format!("{n}.png"))).unwrap();
    }
    let files = Files { folder: folder.path().into(), rate_hz: 1000.0, repeat: false, order: Order::Sorted };
    let camera = Camera {
        source: Source::Files(files),
        size: Some(size(4, 4)),
        ..camera("appsrc name=camera ! appsink name=frames")
    };
    let record = run(&camera, &mut |_| false);
    assert_eq!(record.frames.len(), 3);
    assert_eq!(record.state, Some(CameraState::Ended));
    assert_eq!(record.events, [Event::CameraEnded { camera: camera.id, frames: 3 }]);
}

#[test]
fn pauses_grow_until_frames_come_again() {
    let mut camera = camera("");
    camera.retry = (Duration::from_millis(4), Duration::from_millis(16));
    let clock = SystemClock::start();
    let mut life = 0;
    let open = &mut || {
        life += 1;
        // Each cause is a new one, so that each is told.
        let end = lost(&life.to_string());
        Ok(if life == 5 { scripted([Ok(frame(&clock)), end]) } else { scripted([end]) })
    };
    let record = supervise(&camera, &clock, open, &mut |record| record.lost() >= 6);
    let pauses: Vec<u128> = losses(&record).iter().map(|(_, pause)| pause.as_micros()).collect();
    for (pause, full) in pauses.iter().zip([4000, 8000, 16000, 16000, 4000, 8000]) {
        assert!((full * 3 / 4..=full).contains(pause), "{pauses:?}");
    }
    assert_eq!(record.frames.len(), 1);
}

#[test]
fn a_loss_that_goes_on_is_told_once_a_minute() {
    let clock = SteppingClock::new(Duration::from_secs(1));
    let open = &mut || Ok(scripted([lost("unplugged")]));
    let record = supervise(&camera(""), &clock, open, &mut |record| record.lost() >= 3);
    assert!(clock.now().mono >= Duration::from_mins(2), "three times, a minute apart");
    assert!(causes(&record).iter().all(|&cause| cause == "lens: unplugged"));
    assert_eq!(record.reconnects, 0, "it never came back");
}

#[test]
fn the_time_away_is_counted_from_the_last_frame() {
    let clock = SteppingClock::new(Duration::from_secs(1));
    let camera = Camera { stall: Duration::from_secs(10), ..camera("") };
    let open = &mut || Ok(scripted([Ok(frame(&clock))]));
    let record = supervise(&camera, &clock, open, &mut |record| record.frames.len() >= 2);
    assert_eq!(causes(&record)[0], "no frame for 10.0 s");
    let Some(Event::CameraBack { away, .. }) = record.events.get(1) else { panic!("{:?}", record.events) };
    assert!(*away >= Duration::from_secs(10), "{away:?}");
    assert!(record.reconnects >= 1);
}

#[test]
fn a_camera_that_a_sensor_fires_may_be_silent_and_is_there() {
    let clock = SteppingClock::new(Duration::from_secs(1));
    let camera = Camera { trigger: TriggerMode::Hardware, stall: Duration::from_secs(2), ..camera("") };
    let mut lives = 0;
    let open = &mut || {
        lives += 1;
        let quiet = (0..20).map(|_| Ok(Pulled::Nothing));
        let end = if lives == 1 { lost("unplugged") } else { Ok(frame(&clock)) };
        Ok(scripted(quiet.chain([end]).collect::<Vec<_>>()))
    };
    let record = supervise(&camera, &clock, open, &mut |record| !record.frames.is_empty());
    assert_eq!(causes(&record), ["lens: unplugged"], "its silence is none");
    assert!(matches!(record.events[1], Event::CameraBack { .. }), "before a frame: {:?}", record.events);
    assert_eq!((record.reconnects, record.state), (1, Some(CameraState::Running)));
}

/// A camera that fails, and is let go of only when somebody has seen that.
struct Stubborn {
    seen: Receiver<()>,
    was_seen: Arc<AtomicBool>,
}

impl FrameSource for Stubborn {
    fn next(&mut self, _timeout: Duration) -> Result<Pulled, CaptureError> {
        lost("unplugged")
    }
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        let seen = self.seen.recv_timeout(PATIENCE / 2);
        self.was_seen.store(seen != Err(RecvTimeoutError::Timeout), Relaxed);
    }
}

#[test]
fn a_loss_is_told_before_a_device_is_let_go_of_which_may_hang() {
    let clock = SystemClock::start();
    let (see, seen) = bounded::<()>(0);
    let (mut see, was_seen) = (Some(see), Arc::new(AtomicBool::new(false)));
    let mut first = Some(Stubborn { seen, was_seen: Arc::clone(&was_seen) });
    let open = &mut || match first.take() {
        Some(stubborn) => Ok(Box::new(stubborn) as Box<dyn FrameSource>),
        None => Ok(scripted([lost("unplugged")])),
    };
    supervise(&camera(""), &clock, open, &mut |_| {
        see = None;
        true
    });
    assert!(was_seen.load(Relaxed));
}

fn silent(n: usize, end: Result<Pulled, CaptureError>) -> Vec<Result<Pulled, CaptureError>> {
    (0..n).map(|_| Ok(Pulled::Nothing)).chain([end]).collect()
}

/// The clock moves on by a millisecond with each look for a frame.
fn triggered() -> (Camera, SteppingClock) {
    let retry = (Duration::from_millis(200), Duration::from_millis(200));
    let camera = Camera { trigger: TriggerMode::Hardware, retry, ..camera("") };
    (camera, SteppingClock::new(Duration::from_millis(1)))
}

#[test]
fn a_silent_camera_that_fails_again_and_again_is_back_when_it_has_held_for_long_against_the_pause() {
    let (camera, clock) = triggered();
    let mut lives = 0;
    let open = &mut || {
        lives += 1;
        // More than the second after which it counts as there, less than ten pauses.
        let n = if lives < 4 { 1300 } else { 2500 };
        Ok(scripted(silent(n, if lives < 4 { lost("loose plug") } else { Ok(Pulled::Nothing) })))
    };
    let is_back = |event: &Event| matches!(event, Event::CameraBack { .. });
    let record = supervise(&camera, &clock, open, &mut |record| record.events.iter().any(is_back));
    assert_eq!(causes(&record), ["lens: loose plug"], "once");
    assert_eq!((record.events.len(), record.reconnects), (2, 1), "{:?}", record.events);
    assert_eq!(record.state, Some(CameraState::Running));
}

#[test]
fn a_frame_of_a_camera_that_may_be_silent_ends_its_loss_at_once() {
    let (camera, clock) = triggered();
    let mut lives = 0;
    let open = &mut || {
        lives += 1;
        Ok(if lives == 1 { scripted([lost("loose plug")]) } else { scripted([Ok(frame(&clock))]) })
    };
    let record = supervise(&camera, &clock, open, &mut |record| !record.frames.is_empty());
    assert_eq!(record.reconnects, 1);
}

#[test]
fn the_time_that_opening_takes_does_not_count_as_silence_without_an_error() {
    let (mut camera, clock) = triggered();
    camera.retry = (Duration::from_millis(1), Duration::from_millis(1));
    let mut lives = 0;
    let open = &mut || {
        lives += 1;
        for _ in 0..1500 {
            clock.now();
        }
        // Each cause is a new one, so that each is told.
        Ok(scripted(silent(1, lost(&lives.to_string()))))
    };
    let record = supervise(&camera, &clock, open, &mut |record| record.lost() >= 3);
    assert_eq!(record.reconnects, 0, "{:?}", record.events);
}
