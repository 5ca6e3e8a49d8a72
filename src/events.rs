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

impl Event {
    /// The stable word published as `event`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CameraLost { .. } => "CAMERA_LOST",
            Self::CameraBack { .. } => "CAMERA_BACK",
            Self::CameraEnded { .. } => "CAMERA_ENDED",
            Self::BrokerBack { .. } => "BROKER_BACK",
            Self::ResultsDropped { .. } => "RESULTS_DROPPED",
            Self::OutboxFailed { .. } => "OUTBOX_FAILED",
            Self::OutboxBack { .. } => "OUTBOX_BACK",
            Self::OutboxDamaged { .. } => "OUTBOX_DAMAGED",
            Self::CountersLost { .. } => "COUNTERS_LOST",
            Self::ModelReady { .. } => "MODEL_READY",
            Self::ModelFailed { .. } => "MODEL_FAILED",
            Self::ProductChanged { .. } => "PRODUCT_CHANGED",
            Self::ProductRefused { .. } => "PRODUCT_REFUSED",
            Self::ConfigApplied { .. } => "CONFIG_APPLIED",
            Self::ConfigRefused { .. } => "CONFIG_REFUSED",
            Self::CommandAccepted { .. } => "COMMAND_ACCEPTED",
            Self::CommandRefused { .. } => "COMMAND_REFUSED",
            Self::CommandsUnheard { .. } => "COMMANDS_UNHEARD",
        }
    }

    pub fn level(&self) -> Level {
        match self {
            Self::CameraBack { .. }
            | Self::CameraEnded { .. }
            | Self::BrokerBack { .. }
            | Self::OutboxBack { .. }
            | Self::ModelReady { .. }
            | Self::ProductChanged { .. }
            | Self::ConfigApplied { .. }
            | Self::CommandAccepted { .. } => Level::Info,
            Self::CameraLost { .. }
            | Self::ProductRefused { .. }
            | Self::ConfigRefused { .. }
            | Self::CountersLost { .. }
            | Self::CommandRefused { .. }
            | Self::CommandsUnheard { .. } => Level::Warning,
            Self::ResultsDropped { .. }
            | Self::OutboxFailed { .. }
            | Self::OutboxDamaged { .. }
            | Self::ModelFailed { .. } => Level::Error,
        }
    }

    pub fn camera(&self) -> Option<&CameraId> {
        match self {
            Self::CameraLost { camera, .. }
            | Self::CameraBack { camera, .. }
            | Self::CameraEnded { camera, .. } => Some(camera),
            Self::BrokerBack { .. }
            | Self::ResultsDropped { .. }
            | Self::OutboxFailed { .. }
            | Self::OutboxBack { .. }
            | Self::OutboxDamaged { .. }
            | Self::CountersLost { .. }
            | Self::ModelReady { .. }
            | Self::ModelFailed { .. }
            | Self::ProductChanged { .. }
            | Self::ProductRefused { .. }
            | Self::ConfigApplied { .. }
            | Self::ConfigRefused { .. }
            | Self::CommandAccepted { .. }
            | Self::CommandRefused { .. }
            | Self::CommandsUnheard { .. } => None,
        }
    }

    /// What it answers, if it is an answer.
    pub fn answer(&self) -> Option<Answer<'_>> {
        match self {
            Self::CommandAccepted { command, id, is_repeat } => {
                Some(Answer { command, id: id.as_deref(), cause: None, is_repeat: *is_repeat })
            }
            Self::CommandRefused { command, id, cause, .. } => {
                Some(Answer { command, id: id.as_deref(), cause: Some(cause), is_repeat: false })
            }
            // The product may have been changed by a file: then there is no id.
            Self::ProductChanged { id: Some(id), .. } => {
                Some(Answer { command: "product", id: Some(id), cause: None, is_repeat: false })
            }
            Self::ProductRefused { cause, id, .. } => {
                Some(Answer { command: "product", id: id.as_deref(), cause: Some(cause), is_repeat: false })
            }
            Self::CameraLost { .. }
            | Self::CameraBack { .. }
            | Self::CameraEnded { .. }
            | Self::BrokerBack { .. }
            | Self::ResultsDropped { .. }
            | Self::OutboxFailed { .. }
            | Self::OutboxBack { .. }
            | Self::OutboxDamaged { .. }
            | Self::CountersLost { .. }
            | Self::ModelReady { .. }
            | Self::ModelFailed { .. }
            | Self::ProductChanged { id: None, .. }
            | Self::ConfigApplied { .. }
            | Self::ConfigRefused { .. }
            | Self::CommandsUnheard { .. } => None,
        }
    }

    /// A sentence for people, without the camera's name.
    pub fn text(&self) -> String {
        match self {
            Self::CameraLost { cause, retry_in, .. } => {
                format!("{cause}; next try in {:.1} s", retry_in.as_secs_f64())
            }
            Self::CameraBack { away, .. } => format!("frames again after {:.1} s", away.as_secs_f64()),
            Self::CameraEnded { frames, .. } => {
                format!("the source has given its last frame, {frames} in all")
            }
            Self::BrokerBack { away } => format!("connected again after {:.1} s", away.as_secs_f64()),
            Self::ResultsDropped { count } => {
                format!("{count} results given up: the outbox was full, the oldest had to go")
            }
            Self::OutboxFailed { cause } => {
                format!("results go on from memory, the disk does not take them: {cause}")
            }
            Self::OutboxBack { after } => {
                format!("results go to disk again after {:.1} s", after.as_secs_f64())
            }
            Self::OutboxDamaged { torn_tails, lost, unreadable } => {
                format!(
                    "{torn_tails} writes that a crash cut short, {lost} results lost to damage, {unreadable} files that cannot be read"
                )
            }
            Self::CountersLost { cause } => {
                format!("lifetime counters begin at zero, the old ones cannot be read: {cause}")
            }
            Self::ModelReady { product, bundle_sha256, device }
            | Self::ProductChanged { product, bundle_sha256, device, .. } => {
                format!(
                    "product {product}, bundle {}, on {device}",
                    &bundle_sha256[..8.min(bundle_sha256.len())]
                )
            }
            Self::ProductRefused { product, cause, .. } => format!("product {product} is not taken: {cause}"),
            Self::ModelFailed { cause } | Self::ConfigRefused { cause } => cause.clone(),
            Self::ConfigApplied { changes } => changes.clone(),
            Self::CommandAccepted { command, is_repeat: true, .. } => {
                format!("command {command} was accepted before under this id and is not carried out again")
            }
            Self::CommandAccepted { command, .. } => format!("command {command} accepted"),
            Self::CommandRefused { command, cause, untold, .. } => {
                let more = if *untold > 0 { format!(" (and {untold} more before)") } else { String::new() };
                format!("command {command} refused{more}: {cause}")
            }
            Self::CommandsUnheard { cause, retry_in } => {
                format!("{cause}; commands are not heard for {:.0} s", retry_in.as_secs_f64())
            }
        }
    }
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
        let (name, text) = (event.name(), event.text());
        let camera = event.camera().map_or("", CameraId::as_str);
        match event.level() {
            Level::Info => info!(event = name, camera, "{text}"),
            Level::Warning => warn!(event = name, camera, "{text}"),
            Level::Error => error!(event = name, camera, "{text}"),
        }
        if self.sender.try_send(Told { event, at: self.clock.now() }).is_err() {
            self.health.counters.events_dropped.fetch_add(1, Relaxed);
        }
    }
}
