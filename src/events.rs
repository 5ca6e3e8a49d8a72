//! What an operator should know. Loss is an event, never a silence: [`Events::tell`] logs, and hands on to the
//! broker, in one call.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::Sender;
use tracing::{error, info, warn};

use crate::clock::{Clock, Moment};
use crate::frame::CameraId;
use crate::health::Health;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// Something that happened to the station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    CameraLost {
        camera: CameraId,
        cause: String,
        retry_in: Duration,
    },
    CameraBack {
        camera: CameraId,
        away: Duration,
    },
    CameraEnded {
        camera: CameraId,
        frames: u64,
    },
    /// The same picture, again and again.
    CameraFrozen {
        camera: CameraId,
    },
    PictureOutOfRange {
        camera: CameraId,
        cause: String,
    },
    /// Good parts become other than they were.
    Drifting {
        camera: CameraId,
        what: String,
    },
    /// Since this was last told.
    FramesDamaged {
        camera: CameraId,
        frames_lost: u64,
        frames_incomplete: u64,
        packets_lost: u64,
        advice: String,
    },
    BrokerBack {
        away: Duration,
    },
    ResultsDropped {
        count: u64,
    },
    OutboxFailed {
        cause: String,
    },
    OutboxBack {
        after: Duration,
    },
    OutboxDamaged {
        torn_tails: u64,
        lost: u64,
        unreadable: u64,
    },
    CountersLost {
        cause: String,
    },
    ModelReady {
        product: String,
        bundle_sha256: String,
        device: String,
    },
    ModelFailed {
        cause: String,
    },
    ProductChanged {
        product: String,
        bundle_sha256: String,
        device: String,
        id: Option<String>,
    },
    ProductRefused {
        product: String,
        cause: String,
        id: Option<String>,
    },
    ConfigApplied {
        changes: String,
    },
    ConfigRefused {
        cause: String,
    },
    /// `is_repeat`: an earlier one with the same id is carried out, and this one is not.
    CommandAccepted {
        command: String,
        id: Option<String>,
        is_repeat: bool,
    },
    /// `untold` more were refused since the last refusal that was told.
    CommandRefused {
        command: String,
        id: Option<String>,
        cause: String,
        untold: u64,
    },
    /// Commands do not reach the station for a while.
    CommandsUnheard {
        cause: String,
        retry_in: Duration,
    },
}

/// What an event says about the command that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// What its topic ended with.
    pub command: &'a str,
    /// The id that came with it.
    pub id: Option<&'a str>,
    /// Why it was refused.
    pub cause: Option<&'a str>,
    /// It was carried out before.
    pub is_repeat: bool,
}

/// An event and when it was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub event: Event,
    pub at: Moment,
}

/// An event in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub level: Level,
    /// The stable word published as `event`.
    pub name: &'static str,
    /// A sentence for people, without the camera's name.
    pub text: String,
}

impl Event {
    pub fn said(&self) -> Said {
        let (level, name, text) = match self {
            Self::CameraLost { cause, retry_in, .. } => {
                (Level::Warning, "CAMERA_LOST", format!("{cause}; next try in {}", seconds(*retry_in)))
            }
            Self::CameraBack { away, .. } => {
                (Level::Info, "CAMERA_BACK", format!("frames again after {}", seconds(*away)))
            }
            Self::CameraEnded { frames, .. } => {
                let text = format!("the source has given its last frame, {frames} in all");
                (Level::Info, "CAMERA_ENDED", text)
            }
            Self::CameraFrozen { .. } => {
                let text = "the camera sends the same picture again: parts are not judged by it".into();
                (Level::Error, "CAMERA_FROZEN", text)
            }
            Self::PictureOutOfRange { cause, .. } => {
                (Level::Warning, "PICTURE_OUT_OF_RANGE", format!("parts are not judged: {cause}"))
            }
            Self::Drifting { what, .. } => (Level::Warning, "DRIFT", what.clone()),
            Self::FramesDamaged { .. } => (Level::Warning, "FRAMES_DAMAGED", self.damage()),
            Self::BrokerBack { away } => {
                (Level::Info, "BROKER_BACK", format!("connected again after {}", seconds(*away)))
            }
            Self::ResultsDropped { count } => {
                let text = format!("{count} results given up: the outbox was full, the oldest had to go");
                (Level::Error, "RESULTS_DROPPED", text)
            }
            Self::OutboxFailed { cause } => {
                let text = format!("results go on from memory, the disk does not take them: {cause}");
                (Level::Error, "OUTBOX_FAILED", text)
            }
            Self::OutboxBack { after } => {
                (Level::Info, "OUTBOX_BACK", format!("results go to disk again after {}", seconds(*after)))
            }
            Self::OutboxDamaged { torn_tails, lost, unreadable } => {
                (Level::Error, "OUTBOX_DAMAGED", damaged(*torn_tails, *lost, *unreadable))
            }
            Self::CountersLost { cause } => {
                let text = format!("lifetime counters begin at zero, the old ones cannot be read: {cause}");
                (Level::Warning, "COUNTERS_LOST", text)
            }
            Self::ModelReady { product, bundle_sha256, device } => {
                (Level::Info, "MODEL_READY", of_product(product, bundle_sha256, device))
            }
            Self::ModelFailed { cause } => (Level::Error, "MODEL_FAILED", cause.clone()),
            Self::ProductChanged { product, bundle_sha256, device, .. } => {
                (Level::Info, "PRODUCT_CHANGED", of_product(product, bundle_sha256, device))
            }
            Self::ProductRefused { product, cause, .. } => {
                (Level::Warning, "PRODUCT_REFUSED", format!("product {product} is not taken: {cause}"))
            }
            Self::ConfigApplied { changes } => (Level::Info, "CONFIG_APPLIED", changes.clone()),
            Self::ConfigRefused { cause } => (Level::Warning, "CONFIG_REFUSED", cause.clone()),
            Self::CommandAccepted { command, is_repeat, .. } => {
                (Level::Info, "COMMAND_ACCEPTED", accepted(command, *is_repeat))
            }
            Self::CommandRefused { command, cause, untold, .. } => {
                let more = if *untold > 0 { format!(" (and {untold} more before)") } else { String::new() };
                (Level::Warning, "COMMAND_REFUSED", format!("command {command} refused{more}: {cause}"))
            }
            Self::CommandsUnheard { cause, retry_in } => {
                let text = format!("{cause}; commands are not heard for {:.0} s", retry_in.as_secs_f64());
                (Level::Warning, "COMMANDS_UNHEARD", text)
            }
        };
        Said { level, name, text }
    }

    fn damage(&self) -> String {
        let Self::FramesDamaged { frames_lost, frames_incomplete, packets_lost, advice, .. } = self else {
            return String::new();
        };
        format!(
            "{frames_lost} frames lost and {frames_incomplete} damaged on the way from the camera, \
             {packets_lost} packets in all: {advice}"
        )
    }

    /// The camera it happened to, if it was one.
    pub fn camera(&self) -> Option<&CameraId> {
        match self {
            Self::CameraLost { camera, .. }
            | Self::CameraBack { camera, .. }
            | Self::CameraEnded { camera, .. }
            | Self::CameraFrozen { camera }
            | Self::PictureOutOfRange { camera, .. }
            | Self::Drifting { camera, .. }
            | Self::FramesDamaged { camera, .. } => Some(camera),
            _ => None,
        }
    }

    /// What it answers, if it is an answer.
    pub fn answer(&self) -> Option<Answer<'_>> {
        let (command, id, cause, is_repeat) = match self {
            Self::CommandAccepted { command, id, is_repeat } => (command.as_str(), id, None, *is_repeat),
            Self::CommandRefused { command, id, cause, .. } => (command.as_str(), id, Some(cause), false),
            // The product may have been changed by a file: then there is no id.
            Self::ProductChanged { id: id @ Some(_), .. } => ("product", id, None, false),
            Self::ProductRefused { id, cause, .. } => ("product", id, Some(cause), false),
            _ => return None,
        };
        Some(Answer { command, id: id.as_deref(), cause: cause.map(String::as_str), is_repeat })
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn accepted(command: &str, is_repeat: bool) -> String {
    if is_repeat {
        return format!("command {command} was accepted before under this id and is not carried out again");
    }
    format!("command {command} accepted")
}

fn damaged(torn_tails: u64, lost: u64, unreadable: u64) -> String {
    format!(
        "{torn_tails} writes that a crash cut short, {lost} results lost to damage, {unreadable} files that cannot be read"
    )
}

fn of_product(product: &str, bundle_sha256: &str, device: &str) -> String {
    let bundle = &bundle_sha256[..8.min(bundle_sha256.len())];
    format!("product {product}, bundle {bundle}, on {device}")
}

/// The way from a stage to the operator.
#[derive(Clone)]
pub struct Events<'a> {
    sender: Sender<Told>,
    clock: &'a dyn Clock,
    health: &'a Health,
}

impl std::fmt::Debug for Events<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl<'a> Events<'a> {
    pub fn new(sender: Sender<Told>, clock: &'a dyn Clock, health: &'a Health) -> Self {
        Self { sender, clock, health }
    }

    /// Logs the event and queues it for the broker. Never waits: when the queue is full the event stays in the
    /// log alone and is counted.
    pub fn tell(&self, event: Event) {
        let Said { level, name, text } = event.said();
        let camera = event.camera().map_or("", CameraId::as_str);
        match level {
            Level::Info => info!(event = name, camera, "{text}"),
            Level::Warning => warn!(event = name, camera, "{text}"),
            Level::Error => error!(event = name, camera, "{text}"),
        }
        if self.sender.try_send(Told { event, at: self.clock.now() }).is_err() {
            self.health.counters.events_dropped.fetch_add(1, Relaxed);
        }
    }
}
