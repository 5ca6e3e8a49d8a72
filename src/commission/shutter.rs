//! Fires a camera that waits for csflowd to do so; no other camera hears of it.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config::camera::Camera;

/// A frame that was asked for and has not come for so long is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Shutter {
    /// None where something else fires the camera.
    fire: Option<Sender<()>>,
    /// When a frame was asked for that has not come yet.
    asked: Option<Duration>,
}

impl Shutter {
    /// And the camera's end of it.
    pub(super) fn of(camera: &Camera) -> (Self, Option<Receiver<()>>) {
        // Full: the camera is away, and is asked again.
        let (fire, asked) = camera.is_fired().then(|| bounded(1)).unzip();
        (Self { fire, asked: None }, asked)
    }

    /// A frame is wanted at `now`.
    pub(super) fn press(&mut self, now: Duration) {
        let waits = self.asked.is_some_and(|asked| now.saturating_sub(asked) < AGAIN);
        if let Some(fire) = &self.fire
            && !waits
            && fire.try_send(()).is_ok()
        {
            self.asked = Some(now);
        }
    }

    /// A frame has come.
    pub(super) fn release(&mut self) {
        self.asked = None;
    }
}
