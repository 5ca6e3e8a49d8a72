//! Pictures to train on, through the pipeline that will judge.
//!
//! The camera has a thread of its own, as in the daemon, and is opened again when it is lost. Pictures are written here.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select};

use crate::appearance::Appearance;
use crate::capture;
use crate::clock::{Clock, Moment};
use crate::commission::CommissionError;
use crate::commission::alike::Seen;
use crate::commission::shutter::Shutter;
use crate::commission::store::Store;
use crate::config::camera::{Camera, Frames, Matching, Source, TriggerMode};
use crate::events::{Events, Told};
use crate::frame::{BufferPool, Captured};
use crate::health::Health;
use crate::progress::Progress;
use crate::shutdown;

/// Pictures that may wait to be written.
const WAITING: usize = 8;

/// The stop request is looked for this often.
const POLL: Duration = Duration::from_millis(100);

/// Which frames are recorded.
#[derive(Clone, Copy, Debug)]
pub enum Pace<'a> {
    /// All: each is a trigger.
    Each,
    /// The first, and then one as soon as so much time has passed.
    Every(Duration),
    /// The next one after each of these moments, until there are no more.
    Asked(&'a Receiver<Moment>),
}

#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Folder of the data set.
    pub root: &'a Path,
    /// Folder below it, as `train/good`.
    pub class: &'a Path,
    pub pace: Pace<'a>,
    /// End after so many.
    pub count: Option<usize>,
    /// Record what looks like an earlier picture too.
    pub keep_alike: bool,
}

/// How a recording went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub recorded: usize,
    /// Not recorded, because they look like an earlier picture.
    pub alike: u64,
    pub damaged: u64,
    /// Came faster than they could be written.
    pub missed: u64,
}

/// Records until there are enough, the source ends, or `stop` is set.
pub fn run(
    camera: &Camera,
    order: Order<'_>,
    stop: &AtomicBool,
    clock: &dyn Clock,
) -> Result<Summary, CommissionError> {
    let is_stream = matches!(camera.trigger, TriggerMode::Command(Matching { frames: Frames::Stream, .. }));
    if (is_stream || camera.is_fired()) && matches!(order.pace, Pace::Each) {
        return Err(CommissionError::NoTrigger { camera: camera.id.clone() });
    }
    let store = Store::open(order.root, order.class, camera.id.clone())?;
    let pool = BufferPool::new(WAITING + 2, 0);
    let health = Health::new([camera.id.clone()]);
    // Full: the event is lost, and another tells the same in a minute.
    let (told_in, told) = bounded(WAITING);
    let events = Events::new(told_in, clock, &health);
    // Full: files wait, and a frame of any other camera is missed and counted.
    let (frames_in, frames) = bounded(WAITING);
    let (handle, shutdown) = shutdown::channel();
    let missed = AtomicU64::new(0);
    let waits = matches!(camera.source, Source::Files(_));
    let (shutter, fire) = Shutter::of(camera);
    thread::scope(|scope| {
        let context = capture::Context {
            clock,
            shutdown: &shutdown,
            health: &health.cameras[0],
            events: &events,
            fire: fire.as_ref(),
        };
        let (pool, missed) = (&pool, &missed);
        let mut deliver = move |captured| {
            // Nobody receives any more: the recording ends.
            if waits {
                drop(frames_in.send(captured));
            } else if frames_in.try_send(captured).is_err() {
                missed.fetch_add(1, Relaxed);
            }
        };
        thread::Builder::new()
            .name(format!("camera-{}", camera.id))
            .spawn_scoped(scope, move || capture::run(camera, context, pool, &mut deliver))
            .map_err(CommissionError::Thread)?;
        let progress = match order.count {
            Some(count) => Progress::start("pictures", count),
            None => Progress::start_open("pictures"),
        };
        let recorder = Recorder {
            camera,
            order,
            store,
            seen: Seen::default(),
            progress,
            summary: Summary::default(),
            damage: String::new(),
            shutter,
            clock,
        };
        // Whoever waits to hand a frame on must not wait for ever.
        let result = { recorder }.receive(&frames, &told, (stop, missed));
        drop((frames, handle));
        result
    })
}

struct Recorder<'a> {
    camera: &'a Camera,
    order: Order<'a>,
    store: Store,
    seen: Seen,
    progress: Progress,
    summary: Summary,
    /// What was said last of a damaged frame.
    damage: String,
    shutter: Shutter,
    clock: &'a dyn Clock,
}

impl Recorder<'_> {
    fn receive(
        mut self,
        frames: &Receiver<Captured>,
        told: &Receiver<Told>,
        (stop, missed): (&AtomicBool, &AtomicU64),
    ) -> Result<Summary, CommissionError> {
        let nobody_asks = crossbeam_channel::never();
        let asked = if let Pace::Asked(asked) = self.order.pace { asked } else { &nobody_asks };
        // The next frame that is captured from then on is recorded.
        let mut due = match self.order.pace {
            Pace::Each | Pace::Every(_) => Some(Duration::ZERO),
            Pace::Asked(_) => None,
        };
        let count = self.order.count;
        let is_enough = |summary: &Summary| count.is_some_and(|count| summary.recorded >= count);
        while !stop.load(Relaxed) && !is_enough(&self.summary) {
            let now = self.clock.now().mono;
            if due.is_some_and(|due| now >= due) {
                self.shutter.press(now);
            }
            select! {
                recv(asked) -> moment => match moment {
                    Ok(moment) => due = Some(moment.mono),
                    Err(_) => break,
                },
                recv(frames) -> captured => match captured {
                    Ok(captured) => {
                        self.shutter.release();
                        let at = captured.at.mono;
                        if due.is_some_and(|due| at >= due) && self.take(&captured)? {
                            due = match self.order.pace {
                                Pace::Each => due,
                                Pace::Every(time) => Some(at + time),
                                Pace::Asked(_) => None,
                            };
                        }
                    }
                    Err(_) => break,
                },
                default(POLL) => {}
            }
            self.summary.missed = missed.load(Relaxed);
            for Told { event, .. } in told.try_iter() {
                self.progress.say(&format!("camera {}: {}", self.camera.id, event.said().text));
            }
        }
        let folder = self.order.root.join(self.order.class);
        self.progress.finish(&format!("{} in {}", self.summary, folder.display()));
        Ok(self.summary)
    }

    /// False if the frame is damaged, and another must come in its place.
    fn take(&mut self, captured: &Captured) -> Result<bool, CommissionError> {
        let image = match &captured.image {
            Ok(image) => image,
            Err(cause) => {
                self.summary.damaged += 1;
                if *cause != self.damage {
                    self.damage.clone_from(cause);
                    self.progress.say(&format!("camera {}: not recorded: {cause}", self.camera.id));
                }
                return Ok(false);
            }
        };
        let picture = image.picture();
        let appearance = Appearance::of(picture);
        if !self.order.keep_alike && !self.seen.is_new(picture) {
            self.summary.alike += 1;
            if matches!(self.order.pace, Pace::Asked(_)) {
                self.progress.say("not recorded: it looks like an earlier picture");
            }
        } else {
            let recorded = self.summary.recorded;
            let kept = self.store.keep(picture, appearance, (captured.at, captured.part_id.as_ref()));
            kept.map_err(|source| CommissionError::Stopped { recorded, source })?;
            self.summary.recorded += 1;
        }
        let note = format!(
            "brightness {:.0}, {:.1} % white, {} alike, {} missed",
            appearance.brightness,
            100.0 * appearance.bright,
            self.summary.alike,
            self.summary.missed
        );
        self.progress.set(self.summary.recorded, &note);
        Ok(true)
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { recorded, alike, damaged, missed } = self;
        write!(f, "{recorded} recorded, {alike} skipped as alike, {damaged} damaged, {missed} missed")
    }
}
