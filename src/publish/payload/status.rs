//! `status`: whether a trigger now would be judged, and if not, why. Retained; also the last will.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Origin, VERSION, text, to_json, unix_time};
use crate::clock::Moment;
use crate::health::{CameraState, Health, ModelState};

/// Inference that is at one piece of work for longer than this keeps a trigger waiting.
const STALLED: Duration = Duration::from_secs(3);

/// READY: a trigger now would be judged. BUSY: it would wait. `NOT_READY`: not yet, csflowd is on its way.
/// ERROR: somebody should look. OFFLINE: nobody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    Ready,
    Busy,
    NotReady,
    Error,
    Offline,
}

/// How the station is.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "csflowd status", deny_unknown_fields)]
pub struct Status<'a> {
    /// Version of this layout.
    #[schemars(range(min = 1, max = 1))]
    v: u8,
    state: State,
    #[schemars(length(max = 64))]
    station: &'a str,
    #[schemars(length(max = 64))]
    product: &'a str,
    /// Names the run of the daemon.
    #[schemars(length(max = 64))]
    boot_id: &'a str,
    /// Why the state is not READY: a stable word, and a camera's name behind it where it is about one.
    reasons: Vec<String>,
    /// Empty when OFFLINE.
    cameras: Vec<Camera<'a>>,
    /// When it was sent, seconds since 1970, UTC. Absent in the last will: nobody knows when that is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts_s: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Camera<'a> {
    #[schemars(length(max = 64))]
    camera: &'a str,
    /// STARTING, RUNNING, LOST or ENDED.
    state: &'static str,
    /// Frames since start, as of this message.
    frames: u64,
    /// How often it was lost and came back.
    reconnects: u64,
}

/// The status of running stages.
pub fn of<'a>(health: &'a Health, origin: &Origin<'a>, now: Moment) -> Status<'a> {
    let mut found: Vec<(State, String)> = Vec::new();
    match health.model.state() {
        ModelState::Loading => found.push((State::NotReady, "MODEL_LOADING".into())),
        ModelState::Failed => found.push((State::Error, "MODEL_FAILED".into())),
        ModelState::Ready if health.inference.age(now) > STALLED => {
            found.push((State::Busy, "INFERENCE_STALLED".into()));
        }
        ModelState::Ready => {}
    }
    for camera in &health.cameras {
        match camera.state() {
            CameraState::Starting => found.push((State::NotReady, format!("CAMERA_STARTING {}", camera.id))),
            CameraState::Lost => found.push((State::Error, format!("CAMERA_LOST {}", camera.id))),
            CameraState::Running | CameraState::Ended => {}
        }
    }
    let worst_first = [State::Error, State::NotReady, State::Busy];
    Status {
        v: VERSION,
        state: worst_first
            .into_iter()
            .find(|&state| found.iter().any(|(of, _)| *of == state))
            .unwrap_or(State::Ready),
        station: text(origin.station),
        product: text(origin.product),
        boot_id: text(origin.boot_id),
        reasons: found.into_iter().map(|(_, reason)| reason).collect(),
        cameras: cameras(health),
        ts_s: Some(unix_time(now.utc).0),
    }
}

/// The status of a station that stopped as it was told to.
pub fn stopped<'a>(origin: &Origin<'a>, now: Moment) -> Status<'a> {
    Status { ts_s: Some(unix_time(now.utc).0), ..offline(origin, "STOPPED") }
}

/// What the broker publishes when the connection breaks.
pub fn last_will<'a>(origin: &Origin<'a>) -> Status<'a> {
    offline(origin, "CONNECTION_LOST")
}

impl Status<'_> {
    pub fn encode(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Whether the two tell an operator the same; frames and times go on by themselves.
    pub fn tells_the_same_as(&self, other: &Self) -> bool {
        let conditions = |status: &Self| -> Vec<_> {
            status.cameras.iter().map(|camera| (camera.state, camera.reconnects)).collect()
        };
        (self.state, &self.reasons) == (other.state, &other.reasons) && conditions(self) == conditions(other)
    }
}

fn offline<'a>(origin: &Origin<'a>, reason: &str) -> Status<'a> {
    Status {
        v: VERSION,
        state: State::Offline,
        station: text(origin.station),
        product: text(origin.product),
        boot_id: text(origin.boot_id),
        reasons: vec![reason.into()],
        cameras: Vec::new(),
        ts_s: None,
    }
}

fn cameras(health: &Health) -> Vec<Camera<'_>> {
    let state = |state| match state {
        CameraState::Starting => "STARTING",
        CameraState::Running => "RUNNING",
        CameraState::Lost => "LOST",
        CameraState::Ended => "ENDED",
    };
    health
        .cameras
        .iter()
        .map(|camera| Camera {
            camera: camera.id.as_str(),
            state: state(camera.state()),
            frames: camera.frames.load(Relaxed),
            reconnects: camera.reconnects.load(Relaxed),
        })
        .collect()
}
