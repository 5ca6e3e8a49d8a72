//! When a frame was captured: by the camera's clock where that counts the time of day, else when it arrived.

use std::time::Duration;

use aravis::Buffer;

use crate::capture::genicam::device::Device;
use crate::capture::time;
use crate::clock::Moment;
use crate::config::genicam::ClockChoice;
use crate::frame::CaptureClock;

/// Whether PTP holds the camera's clock is asked this often.
const ASK_AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct CameraTime {
    choice: ClockChoice,
    is_held: bool,
    asked: Option<Moment>,
}

impl CameraTime {
    pub(super) fn new(choice: ClockChoice) -> Self {
        Self { choice, is_held: choice == ClockChoice::Camera, asked: None }
    }

    /// The moment of a frame that came at `arrived`.
    pub(super) fn of(&mut self, buffer: &Buffer, arrived: Moment, device: &Device) -> (Moment, CaptureClock) {
        if self.choice == ClockChoice::Auto && self.asked.is_none_or(|at| arrived.since(at) >= ASK_AGAIN) {
            self.asked = Some(arrived);
            self.is_held = device.is_held_by_ptp();
        }
        let counted = self.is_held.then(|| Duration::from_nanos(buffer.timestamp()));
        match counted.and_then(|counted| time::utc(counted, arrived.utc)) {
            Some(utc) => (Moment { utc, ..arrived }, CaptureClock::Camera),
            None => (arrived, CaptureClock::Arrival),
        }
    }
}
