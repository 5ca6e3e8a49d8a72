//! Camera threads: pull frames, keep the camera alive.
//!
//! [`run`] is the policy: what to do when a camera is lost. A [`FrameSource`] is one life of a camera and
//! knows nothing of that. GStreamer is named in this module and its children alone.

pub mod devices;
pub mod error;
pub mod text;

mod bayer;
mod copy;
mod files;
mod folder;
mod pipeline;

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use rand::SeedableRng;
use rand_pcg::Pcg64;

use crate::backoff::Backoff;
use crate::capture::error::CaptureError;
use crate::capture::files::FilesSource;
use crate::capture::pipeline::{Pipeline, PipelineSource};
use crate::causes;
use crate::clock::{Clock, Moment};
use crate::config::camera::{Camera, Source};
use crate::events::{Event, Events};
use crate::frame::{BufferPool, Captured};
use crate::health::{CameraHealth, CameraState};
use crate::shutdown::Shutdown;

/// How long a stop request may go unseen.
const POLL: Duration = Duration::from_millis(100);

/// A camera that may be silent is there when it has had no error for so long.
const SETTLED: Duration = Duration::from_secs(1);

/// After a loss it must have held for so many times the pause before, if no frame comes to prove it.
const HOLD_PAUSES: u32 = 10;

/// A loss that goes on is told again after this long.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// What a camera's thread is given besides the camera.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub clock: &'a dyn Clock,
    pub shutdown: &'a Shutdown,
    /// This camera's own.
    pub health: &'a CameraHealth,
    pub events: &'a Events<'a>,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("camera", &self.health.id).finish_non_exhaustive()
    }
}

/// One life of a camera, open from its making to its drop.
///
/// `next` waits up to `timeout`, may come back sooner, and neither retries nor watches for a stop request.
/// Frames come in the order of their capture. After an error or [`Pulled::Ended`] there are no more frames.
/// Dropping the source frees the device, so that it can be opened again.
pub trait FrameSource {
    fn next(&mut self, timeout: Duration) -> Result<Pulled, CaptureError>;

    /// What its elements agreed on, from the camera on. Empty until a frame has come.
    fn negotiated(&self) -> Vec<Negotiated> {
        Vec::new()
    }
}

/// What an element of a pipeline hands on to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    pub element: String,
    /// In GStreamer's words: kind, format, size, rate.
    pub caps: String,
}

/// What a source gave.
#[derive(Debug)]
pub enum Pulled {
    /// A part was in view, be its picture good or damaged: this is a trigger.
    Captured(Captured),
    /// Not yet.
    Nothing,
    /// A finite source has given all it had.
    Ended,
}

/// Starts GStreamer. Before anything else here; a second call does nothing.
pub fn init() -> Result<(), CaptureError> {
    gstreamer::init().map_err(CaptureError::Gstreamer)
}

/// Whether pipeline text parses and has the ends that `source` needs. Opens no device.
pub fn check(text: &str, source: &Source) -> Result<(), CaptureError> {
    let pipeline = Pipeline::parse(text)?;
    match source {
        Source::Pipeline => Ok(()),
        Source::Files(_) => pipeline.source().map(drop),
    }
}

/// Opens `camera`. A new kind of source gets its arm here.
pub fn open<'a>(
    camera: &Camera,
    clock: &'a dyn Clock,
    pool: &'a BufferPool,
) -> Result<Box<dyn FrameSource + 'a>, CaptureError> {
    Ok(match &camera.source {
        Source::Pipeline => Box::new(PipelineSource::open(camera, clock, pool)?),
        Source::Files(files) => Box::new(FilesSource::open(camera, files, clock, pool)?),
    })
}

/// Runs one camera until a stop request comes or a finite source ends. A lost camera is opened again for ever.
///
/// `pool` should hold as many buffers as frames of this camera may be under way at once. `deliver` gets each
/// trigger as it comes and must not wait.
pub fn run(camera: &Camera, context: Context<'_>, pool: &BufferPool, deliver: &mut dyn FnMut(Captured)) {
    supervise(camera, context, &mut || open(camera, context.clock, pool), deliver);
}

/// [`run`] with a say in how the camera is opened.
pub fn supervise(
    camera: &Camera,
    context: Context<'_>,
    open: Open<'_, '_>,
    deliver: &mut dyn FnMut(Captured),
) {
    let started = context.clock.now();
    let mut backoff = Backoff::new(camera.retry.0, camera.retry.1);
    // The pauses of cameras that were lost together should differ; nothing more is asked of the seed.
    let mut rng = Pcg64::seed_from_u64(nanoseconds_of(started));
    let mut presence = Presence { camera, context, last_frame: started, away_since: started, told: None };
    let mut pause = Duration::ZERO;
    while !context.shutdown.is_requested() {
        let mut source = None;
        let hold = SETTLED.max(pause * HOLD_PAUSES);
        let life = run_once(camera, context, hold, (open, &mut source), &mut |sign| {
            if presence.sign_came(&sign) {
                backoff.reset();
            }
            if let Sign::Frame(captured) = sign {
                deliver(captured);
            }
        });
        match life {
            Ok(End::Stopped) => return,
            Ok(End::OfSource) => return presence.ended(),
            Err(error) => {
                pause = backoff.next_pause(&mut rng);
                presence.lost(causes::chain(&error), pause);
                // After it was told: a device that hangs may not let go of itself.
                drop(source);
                context.shutdown.sleep(pause);
            }
        }
    }
}

/// A sign that a camera is there.
enum Sign {
    Frame(Captured),
    /// It is open without an error, and its silence is none.
    Settled,
    /// It has been so for long enough to be called back.
    Held(Moment),
}

enum End {
    Stopped,
    OfSource,
}

type Open<'s, 'a> = &'s mut dyn FnMut() -> Result<Box<dyn FrameSource + 'a>, CaptureError>;

/// One life: from opening the camera to its loss or end. After `hold` a silent camera counts as back. `source` is where
/// the camera stays, for its caller to drop.
fn run_once<'a>(
    camera: &Camera,
    context: Context<'_>,
    hold: Duration,
    (open, source): (Open<'_, 'a>, &mut Option<Box<dyn FrameSource + 'a>>),
    tell: &mut dyn FnMut(Sign),
) -> Result<End, CaptureError> {
    let stall = longest_silence(camera);
    let source = source.insert(open()?);
    let mut last_sign = context.clock.now();
    let (mut is_settled, mut is_held) = (false, false);
    while !context.shutdown.is_requested() {
        match source.next(POLL.min(stall))? {
            Pulled::Captured(captured) => {
                last_sign = captured.at;
                tell(Sign::Frame(captured));
            }
            Pulled::Nothing if camera.trigger.allows_silence() => {
                let now = context.clock.now();
                if !is_settled && now.since(last_sign) >= SETTLED {
                    is_settled = true;
                    tell(Sign::Settled);
                }
                if !is_held && now.since(last_sign) >= hold {
                    is_held = true;
                    tell(Sign::Held(now));
                }
            }
            // A camera can fall silent without an error.
            Pulled::Nothing if context.clock.now().since(last_sign) >= stall => {
                return Err(CaptureError::Stalled(stall));
            }
            Pulled::Nothing => {}
            Pulled::Ended => return Ok(End::OfSource),
        }
    }
    Ok(End::Stopped)
}

/// Files may be replayed slower than a live camera would be called stalled.
fn longest_silence(camera: &Camera) -> Duration {
    match &camera.source {
        Source::Pipeline => camera.stall,
        Source::Files(files) => camera.stall.saturating_add(files::period(files.rate_hz)),
    }
}

/// Whether the camera is there, and what of it has been told.
struct Presence<'a> {
    camera: &'a Camera,
    context: Context<'a>,
    /// When the last frame came; before the first one, when the camera's thread started.
    last_frame: Moment,
    /// While the camera is lost: since when.
    away_since: Moment,
    /// While the camera is lost: the cause that was told, and when.
    told: Option<(String, Moment)>,
}

impl Presence<'_> {
    /// Counts a frame. True if this ends a loss.
    fn sign_came(&mut self, sign: &Sign) -> bool {
        let health = self.context.health;
        health.set_state(CameraState::Running);
        let at = match sign {
            Sign::Frame(captured) => {
                health.frames.fetch_add(1, Relaxed);
                self.last_frame = captured.at;
                captured.at
            }
            Sign::Settled => return false,
            Sign::Held(at) => *at,
        };
        let was_lost = self.told.take().is_some();
        if was_lost {
            health.reconnects.fetch_add(1, Relaxed);
            let away = at.since(self.away_since);
            self.context.events.tell(Event::CameraBack { camera: self.camera.id.clone(), away });
        }
        was_lost
    }

    /// Told at once, and again when the cause changes or much time has passed: a camera that is away over
    /// night must not fill the journal.
    fn lost(&mut self, cause: String, retry_in: Duration) {
        self.context.health.set_state(CameraState::Lost);
        let now = self.context.clock.now();
        if self.told.is_none() {
            self.away_since = if self.camera.trigger.allows_silence() { now } else { self.last_frame };
        }
        if let Some((told, at)) = &self.told
            && *told == cause
            && now.since(*at) < TELL_AGAIN
        {
            return;
        }
        let camera = self.camera.id.clone();
        self.context.events.tell(Event::CameraLost { camera, cause: cause.clone(), retry_in });
        self.told = Some((cause, now));
    }

    fn ended(&self) {
        let health = self.context.health;
        health.set_state(CameraState::Ended);
        let frames = health.frames.load(Relaxed);
        self.context.events.tell(Event::CameraEnded { camera: self.camera.id.clone(), frames });
    }
}

fn nanoseconds_of(moment: Moment) -> u64 {
    moment.utc.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos().into())
}
