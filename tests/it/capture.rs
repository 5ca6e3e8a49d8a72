//! Cameras, with real GStreamer: what the tests of sources and of supervision share.

mod contract;
mod files;
#[cfg(feature = "aravis")]
mod genicam;
mod kills;
mod pipelines;
mod rtsp;
mod supervision;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, select};
use csflowd::capture::error::CaptureError;
use csflowd::capture::{self, Context, FrameSource, Pulled};
use csflowd::clock::{Clock, Moment, SystemClock};
use csflowd::config::camera::{Camera, Source, TriggerMode};
use csflowd::events::{Event, Events};
use csflowd::frame::{BufferPool, CameraId, Captured, PixelFormat, Size};
use csflowd::health::{CameraState, Health};
use csflowd::shutdown;

/// Nothing here takes this long: who waits in vain fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// A camera that is lost and opened again quickly.
fn camera(pipeline: &str) -> Camera {
    Camera {
        id: CameraId::new("top").unwrap(),
        source: Source::Pipeline,
        pipeline: pipeline.into(),
        format: PixelFormat::Rgb8,
        size: None,
        trigger: TriggerMode::Free,
        stall: PATIENCE,
        retry: (Duration::from_millis(1), Duration::from_millis(1)),
        frozen_after: 0,
    }
}

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

/// The next `count` frames of a camera, opened here and not watched over.
fn frames(camera: &Camera, count: usize) -> Vec<Captured> {
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(count, 0));
    let mut source = capture::open(camera, &clock, &pool).unwrap();
    (0..count).map(|_| next(source.as_mut(), &clock)).collect()
}

fn next(source: &mut dyn FrameSource, clock: &SystemClock) -> Captured {
    let started = clock.now();
    while clock.now().since(started) < PATIENCE {
        match source.next(Duration::from_millis(100)).unwrap() {
            Pulled::Captured(captured) => return captured,
            Pulled::Nothing => {}
            Pulled::Ended => panic!("the source has ended"),
        }
    }
    panic!("no frame");
}

/// The error with which a camera does not open or ends, and its causes.
fn failure(camera: &Camera) -> String {
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(0, 0));
    let mut source = match capture::open(camera, &clock, &pool) {
        Ok(source) => source,
        Err(error) => return whole_text(&error),
    };
    let started = clock.now();
    while clock.now().since(started) < PATIENCE {
        if let Err(error) = source.next(Duration::from_millis(100)) {
            return whole_text(&error);
        }
    }
    panic!("no error");
}

fn whole_text(error: &CaptureError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or(error.to_string(), |cause| format!("{error}: {cause}"))
}

/// What a supervised camera did.
#[derive(Debug, Default)]
struct Record {
    frames: Vec<Captured>,
    events: Vec<Event>,
    state: Option<CameraState>,
    reconnects: u64,
}

impl Record {
    fn lost(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::CameraLost { .. })).count()
    }

    fn reconnects_told(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::CameraBack { .. })).count()
    }
}

type Open<'a> = dyn FnMut() -> Result<Box<dyn FrameSource + 'a>, CaptureError> + Send + 'a;

/// Supervises a camera until `enough`, then asks it to stop; also ends when the camera ends by itself.
fn supervise<'a>(
    camera: &Camera,
    clock: &dyn Clock,
    open: &mut Open<'a>,
    enough: &mut dyn FnMut(&Record) -> bool,
) -> Record {
    let health = Health::new([camera.id.clone()]);
    let (told_in, told) = bounded(1000);
    let (frames_in, frames) = bounded(1000);
    let events = Events::new(told_in, clock, &health);
    let (handle, shutdown) = shutdown::channel();
    let mut handle = Some(handle);
    let mut record = Record::default();
    thread::scope(|scope| {
        let context =
            Context { clock, shutdown: &shutdown, health: &health.cameras[0], events: &events, fire: None };
        scope.spawn(move || {
            capture::supervise(camera, context, open, &mut |captured| frames_in.send(captured).unwrap());
        });
        loop {
            select! {
                recv(frames) -> frame => match frame {
                    Ok(frame) => record.frames.push(frame),
                    Err(_) => break,
                },
                recv(told) -> told => record.events.push(told.unwrap().event),
                default(PATIENCE) => {
                    drop(handle.take());
                    panic!("nothing happens after {record:?}");
                }
            }
            if enough(&record) {
                drop(handle.take());
            }
        }
    });
    record.events.extend(told.try_iter().map(|told| told.event));
    record.state = Some(health.cameras[0].state());
    record.reconnects = health.cameras[0].reconnects.load(std::sync::atomic::Ordering::Relaxed);
    record
}

/// [`supervise`] with the real sources and the real clock.
fn run(camera: &Camera, enough: &mut dyn FnMut(&Record) -> bool) -> Record {
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(4, 0));
    supervise(camera, &clock, &mut || capture::open(camera, &clock, &pool), enough)
}

/// A source that does what is written; at the end of its script it is silent.
struct Scripted(VecDeque<Result<Pulled, CaptureError>>);

fn scripted<'a>(script: impl IntoIterator<Item = Result<Pulled, CaptureError>>) -> Box<dyn FrameSource + 'a> {
    Box::new(Scripted(script.into_iter().collect()))
}

impl FrameSource for Scripted {
    fn next(&mut self, _timeout: Duration) -> Result<Pulled, CaptureError> {
        self.0.pop_front().unwrap_or(Ok(Pulled::Nothing))
    }
}

/// A clock that moves on by a fixed step each time it is read.
struct SteppingClock {
    now: Mutex<Moment>,
    step: Duration,
}

impl SteppingClock {
    fn new(step: Duration) -> Self {
        Self {
            now: Mutex::new(Moment { mono: Duration::ZERO, utc: std::time::SystemTime::UNIX_EPOCH }),
            step,
        }
    }
}

impl Clock for SteppingClock {
    fn now(&self) -> Moment {
        let mut now = self.now.lock().unwrap();
        now.mono += self.step;
        now.utc += self.step;
        *now
    }
}
