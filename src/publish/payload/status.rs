//! `status`: whether a trigger now would be judged, and if not, why. Retained; also the last will.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::{MAX_SENTENCE, Origin, VERSION, cut, text, to_json, unix_time};
use crate::clock::Moment;
use crate::health::{CameraState, Health, ModelState};

/// Inference that is at one piece of work for longer than this keeps a trigger waiting, and the outbox its results.
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
    /// What parts are judged as, or shall be.
    #[schemars(length(max = 64))]
    product: String,
    /// Why nothing can be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    fault: Option<String>,
    /// Why the last change of product or settings was not taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    refused: Option<String>,
    /// Names the run of the daemon.
    #[schemars(length(max = 64))]
    boot_id: &'a str,
    /// Why the state is not READY, and what somebody should look at though it is: a stable word, and a camera's name
    /// behind it where it is about one.
    reasons: Vec<String>,
    /// Empty when OFFLINE.
    cameras: Vec<View<'a>>,
    /// When it was sent, seconds since 1970, UTC. Absent in the last will: nobody knows when that is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts_s: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Camera", deny_unknown_fields)]
struct View<'a> {
    #[schemars(length(max = 64))]
    camera: &'a str,
    /// STARTING, RUNNING, LOST or ENDED.
    state: &'static str,
    /// Frames since start, as of this message.
    frames: u64,
    /// How often it was lost and came back.
    reconnects: u64,
    /// Frames of which nothing arrived, since start. Like the next three, absent while it is 0 or not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    frames_lost: Option<u64>,
    /// Frames of which a part arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    frames_incomplete: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_lost: Option<u64>,
    /// Packets that were lost first and came when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_resent: Option<u64>,
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
    // Parts are judged all the same.
    if health.outbox.in_memory.load(Relaxed) {
        found.push((State::Ready, "OUTBOX_IN_MEMORY".into()));
    } else if health.outbox.beat.age(now) > STALLED {
        found.push((State::Ready, "OUTBOX_STALLED".into()));
    }
    if health.seq_unreserved.load(Relaxed) {
        found.push((State::Ready, "SEQ_UNRESERVED".into()));
    }
    let sentence = |text: Option<String>| text.map(|text| cut(&text, MAX_SENTENCE).to_owned());
    let (active, refused) = (health.model.active(), sentence(health.model.refused()));
    if refused.is_some() {
        found.push((State::Ready, "CHANGE_REFUSED".into()));
    }
    let worst_first = [State::Error, State::NotReady, State::Busy];
    Status {
        v: VERSION,
        state: worst_first
            .into_iter()
            .find(|&state| found.iter().any(|(of, _)| *of == state))
            .unwrap_or(State::Ready),
        station: text(origin.station),
        product: text(active.as_ref().map_or(origin.product, |active| &active.recipe.product)).to_owned(),
        fault: if active.is_some() { None } else { sentence(health.model.fault()) },
        refused,
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
        let words = |status: &Self| {
            let Self { product, fault, refused, .. } = status.clone();
            (product, fault, refused)
        };
        (self.state, &self.reasons) == (other.state, &other.reasons)
            && conditions(self) == conditions(other)
            && words(self) == words(other)
    }
}

fn offline<'a>(origin: &Origin<'a>, reason: &str) -> Status<'a> {
    Status {
        v: VERSION,
        state: State::Offline,
        station: text(origin.station),
        product: text(origin.product).to_owned(),
        fault: None,
        refused: None,
        boot_id: text(origin.boot_id),
        reasons: vec![reason.into()],
        cameras: Vec::new(),
        ts_s: None,
    }
}

fn cameras(health: &Health) -> Vec<View<'_>> {
    let state = |state| match state {
        CameraState::Starting => "STARTING",
        CameraState::Running => "RUNNING",
        CameraState::Lost => "LOST",
        CameraState::Ended => "ENDED",
    };
    let counted = |counter: &AtomicU64| Some(counter.load(Relaxed)).filter(|&count| count > 0);
    health
        .cameras
        .iter()
        .map(|camera| View {
            camera: camera.id.as_str(),
            state: state(camera.state()),
            frames: camera.frames.load(Relaxed),
            reconnects: camera.reconnects.load(Relaxed),
            frames_lost: counted(&camera.link.frames_lost),
            frames_incomplete: counted(&camera.link.frames_incomplete),
            packets_lost: counted(&camera.link.packets_lost),
            packets_resent: counted(&camera.link.packets_resent),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{ORIGIN, moment};
    use std::sync::Arc;

    use super::*;
    use crate::frame::{CameraId, Generation, Lease};
    use crate::health::Active;
    use crate::publish::schema::{Kind, assert_valid};
    use crate::verdict::Recipe;

    fn station() -> Health {
        let health = Health::new(["top", "side"].map(|name| CameraId::new(name).unwrap()));
        health.inference.beat(moment(0));
        health
    }

    fn active() -> Active {
        let recipe = Arc::new(Recipe { product: "lid".into(), ..Recipe::default() });
        Active { lease: Lease::new(Generation(1)), recipe, deadline: Duration::from_secs(1) }
    }

    fn text_of(status: &Status<'_>) -> String {
        assert_valid(Kind::Status, &status.encode());
        String::from_utf8(status.encode()).unwrap()
    }

    #[test]
    fn a_station_is_ready_when_the_model_is_and_no_camera_is_missing() {
        let health = station();
        let state = || of(&health, &ORIGIN, moment(0)).state;
        assert_eq!(state(), State::NotReady);
        health.model.activate(active());
        assert_eq!(state(), State::NotReady);
        health.cameras[0].set_state(CameraState::Running);
        health.cameras[1].set_state(CameraState::Ended);
        assert_eq!(state(), State::Ready);
        assert_eq!(of(&health, &ORIGIN, moment(3001)).state, State::Busy);
        health.cameras[0].set_state(CameraState::Lost);
        assert_eq!(state(), State::Error);
        health.cameras[0].set_state(CameraState::Running);
        health.model.deactivate();
        health.model.set_fault("no bundle".into());
        assert_eq!(state(), State::Error);
    }

    #[test]
    fn every_reason_is_told_not_only_the_worst() {
        let health = station();
        health.cameras[1].set_state(CameraState::Lost);
        health.cameras[1].link.packets_lost.store(7, Relaxed);
        assert_snapshot!(text_of(&of(&health, &ORIGIN, moment(0))), @r#"{"v":1,"state":"ERROR","station":"cell-2","product":"cover","boot_id":"01K7000000000000000000BOOT","reasons":["MODEL_LOADING","CAMERA_STARTING top","CAMERA_LOST side"],"cameras":[{"camera":"top","state":"STARTING","frames":0,"reconnects":0},{"camera":"side","state":"LOST","frames":0,"reconnects":0,"packets_lost":7}],"ts_s":1760000000}"#);
    }

    #[test]
    fn the_last_will_knows_no_time_and_no_cameras() {
        assert_snapshot!(text_of(&last_will(&ORIGIN)), @r#"{"v":1,"state":"OFFLINE","station":"cell-2","product":"cover","boot_id":"01K7000000000000000000BOOT","reasons":["CONNECTION_LOST"],"cameras":[]}"#);
        assert_snapshot!(text_of(&stopped(&ORIGIN, moment(0))), @r#"{"v":1,"state":"OFFLINE","station":"cell-2","product":"cover","boot_id":"01K7000000000000000000BOOT","reasons":["STOPPED"],"cameras":[],"ts_s":1760000000}"#);
    }

    #[test]
    fn a_station_whose_results_wait_in_memory_is_ready_and_says_so() {
        let health = station();
        health.model.activate(active());
        health.cameras.iter().for_each(|camera| camera.set_state(CameraState::Running));
        health.outbox.in_memory.store(true, Relaxed);
        let reasons = |ms| {
            health.inference.beat(moment(ms));
            let status = of(&health, &ORIGIN, moment(ms));
            assert_eq!(status.state, State::Ready);
            status.reasons
        };
        assert_eq!(reasons(0), ["OUTBOX_IN_MEMORY"]);
        health.outbox.in_memory.store(false, Relaxed);
        assert_eq!(reasons(1000), [""; 0]);
        assert_eq!(reasons(4000), ["OUTBOX_STALLED"]);
        health.seq_unreserved.store(true, Relaxed);
        assert_eq!(reasons(1000), ["SEQ_UNRESERVED"]);
    }

    #[test]
    fn frames_and_time_going_on_are_no_change_of_status() {
        let health = station();
        let before = of(&health, &ORIGIN, moment(0));
        health.cameras[0].frames.fetch_add(1, Relaxed);
        assert!(of(&health, &ORIGIN, moment(2000)).tells_the_same_as(&before));
        health.cameras[0].reconnects.fetch_add(1, Relaxed);
        assert!(!of(&health, &ORIGIN, moment(2000)).tells_the_same_as(&before));
    }
}
