//! Camera threads: pull frames, keep the camera alive.
//!
//! [`run`] is the policy: what to do when a camera is lost. A [`FrameSource`] is one life of a camera and
//! knows nothing of that. GStreamer is named in this module and its children alone.

pub mod devices;
pub mod error;
pub mod link;
pub mod text;

mod bayer;
mod copy;
mod files;
mod folder;
#[cfg(feature = "aravis")]
mod genicam;
mod pipeline;
mod time;
mod under_way;

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use rand::SeedableRng;
use rand_pcg::Pcg64;

use crate::backoff::Backoff;
use crate::capture::error::CaptureError;
use crate::capture::files::FilesSource;
#[cfg(feature = "aravis")]
use crate::capture::genicam::GenicamSource;
use crate::capture::link::{Found, Losses};
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
    /// Asks for a frame of a camera that csflowd fires.
    pub fire: Option<&'a Receiver<()>>,
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

    /// What the way from the camera has lost in this life, where that is known.
    fn losses(&self) -> Losses {
        Losses::default()
    }

    /// What to change if frames are lost, damaged or stay away.
    fn advice(&self) -> Option<String> {
        None
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

/// The GenICam cameras that answer, on all networks and on the USB; takes about a second. One caller at a time.
pub fn genicam_cameras() -> Result<Vec<Found>, CaptureError> {
    #[cfg(feature = "aravis")]
    return Ok(genicam::list::connected());
    #[cfg(not(feature = "aravis"))]
    Err(CaptureError::NoGenicam)
}

/// Whether pipeline text parses and has the ends that `source` needs. Opens no device.
pub fn check(text: &str, source: &Source) -> Result<(), CaptureError> {
    let pipeline = Pipeline::parse(text)?;
    match source {
        Source::Pipeline => Ok(()),
        Source::Files(_) | Source::Genicam(_) => pipeline.source().map(drop),
    }
}

/// Opens `camera`, which nobody will fire.
pub fn open<'a>(
    camera: &Camera,
    clock: &'a dyn Clock,
    pool: &'a BufferPool,
) -> Result<Box<dyn FrameSource + 'a>, CaptureError> {
    open_fired(camera, clock, pool, None)
}

/// Opens `camera`; `fire` asks for a frame if csflowd is to fire it. A new kind of source gets its arm here.
#[cfg_attr(not(feature = "aravis"), expect(unused_variables, reason = "no other source is fired"))]
pub fn open_fired<'a>(
    camera: &Camera,
    clock: &'a dyn Clock,
    pool: &'a BufferPool,
    fire: Option<&Receiver<()>>,
) -> Result<Box<dyn FrameSource + 'a>, CaptureError> {
    Ok(match &camera.source {
        Source::Pipeline => Box::new(PipelineSource::open(camera, clock, pool)?),
        Source::Files(files) => Box::new(FilesSource::open(camera, files, clock, pool)?),
        #[cfg(feature = "aravis")]
        Source::Genicam(genicam) => Box::new(GenicamSource::open(camera, genicam, clock, pool, fire)?),
        #[cfg(not(feature = "aravis"))]
        Source::Genicam(_) => return Err(CaptureError::NoGenicam),
    })
}

/// Runs one camera until a stop request comes or a finite source ends. A lost camera is opened again for ever.
///
/// `pool` should hold as many buffers as frames of this camera may be under way at once. `deliver` gets each
/// trigger as it comes and must not wait.
pub fn run(camera: &Camera, context: Context<'_>, pool: &BufferPool, deliver: &mut dyn FnMut(Captured)) {
    supervise(camera, context, &mut || open_fired(camera, context.clock, pool, context.fire), deliver);
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
    let mut presence = Presence {
        camera,
        context,
        last_frame: started,
        away_since: started,
        told: None,
        untold: Losses::default(),
        told_losses: None,
    };
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
    /// Something was lost on the way from it, and what may be done about that.
    Losses(Losses, Option<String>),
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
    let mut counted = Losses::default();
    let mut last_sign = context.clock.now();
    let (mut is_settled, mut is_held) = (false, false);
    while !context.shutdown.is_requested() {
        let pulled = source.next(POLL.min(stall));
        let losses = source.losses();
        if losses != counted {
            tell(Sign::Losses(losses.since(counted), source.advice()));
            counted = losses;
        }
        match pulled? {
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
                return Err(CaptureError::Stalled(stall, source.advice()));
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
        Source::Pipeline | Source::Genicam(_) => camera.stall,
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
    /// What was lost on the way since it was last told, and when that was.
    untold: Losses,
    told_losses: Option<Moment>,
}

impl Presence<'_> {
    /// Counts a frame. True if this ends a loss.
    fn sign_came(&mut self, sign: &Sign) -> bool {
        let health = self.context.health;
        if let Sign::Losses(losses, advice) = sign {
            self.losses(*losses, advice.as_deref());
            return false;
        }
        health.set_state(CameraState::Running);
        let at = match sign {
            Sign::Frame(captured) => {
                health.frames.fetch_add(1, Relaxed);
                self.last_frame = captured.at;
                captured.at
            }
            Sign::Settled | Sign::Losses(..) => return false,
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

    /// Counted at once, told once a minute.
    fn losses(&mut self, losses: Losses, advice: Option<&str>) {
        let link = &self.context.health.link;
        link.frames_lost.fetch_add(losses.frames_lost, Relaxed);
        link.frames_incomplete.fetch_add(losses.frames_incomplete, Relaxed);
        link.packets_lost.fetch_add(losses.packets_lost, Relaxed);
        link.packets_resent.fetch_add(losses.packets_resent, Relaxed);
        self.untold = self.untold.plus(losses);
        let now = self.context.clock.now();
        let is_worth_telling = self.untold.frames_lost + self.untold.frames_incomplete > 0;
        if is_worth_telling && self.told_losses.is_none_or(|at| now.since(at) >= TELL_AGAIN) {
            let Losses { frames_lost, frames_incomplete, packets_lost, .. } =
                std::mem::take(&mut self.untold);
            self.told_losses = Some(now);
            let (camera, advice) = (self.camera.id.clone(), advice.unwrap_or("check the cable").to_owned());
            self.context.events.tell(Event::FramesDamaged {
                camera,
                frames_lost,
                frames_incomplete,
                packets_lost,
                advice,
            });
        }
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
