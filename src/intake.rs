//! From what a camera delivered to a trigger with an open ledger entry, and on to inference.
//!
//! Of a camera that runs by itself or is fired by a sensor each delivery is one trigger, the damaged and the surplus ones
//! too: those are answered here. Where triggers are commands, [`commanded`] holds frames against them.

pub mod commanded;
pub mod frozen;
pub mod matching;
pub mod queue;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::Sender;
use tracing::debug;

use crate::clock::Moment;
use crate::frame::{
    CameraId, CaptureClock, Captured, Frame, Image, Lease, OWN_NUMBERS, PartId, Trigger, TriggerKey,
};
use crate::health::Health;
use crate::intake::frozen::Watch;
use crate::intake::queue::Queue;
use crate::ledger::Report;
use crate::verdict::{Judgement, Reason};

/// `trig` has 31 bits on the wire and wraps.
const PUBLISHED_BITS: u64 = 0x7fff_ffff;

/// Of a trigger that is answered at once, because nothing is in force that could judge it.
const NO_DEADLINE: Duration = Duration::from_secs(1);

/// A trigger with an open entry in the ledger.
#[derive(Clone, Debug)]
pub struct Opened {
    trigger: Trigger,
    /// Of what was in force when it came; None if there was nothing.
    lease: Option<Lease>,
}

/// What a camera delivered, and whether that shows a frozen camera.
type Shown = (Captured, bool);

/// The way from one camera into the station.
#[derive(Debug)]
pub struct Intake<'a> {
    camera: usize,
    id: CameraId,
    next: u64,
    /// Whether triggers are commands, which may bring their own numbers.
    is_commanded: bool,
    /// Triggers that the station still takes, shared by all cameras; None is no limit.
    remaining: Option<&'a AtomicU64>,
    health: &'a Health,
    reports: Sender<Report>,
    frames: Queue,
    watch: Option<Watch<'a>>,
}

impl<'a> Intake<'a> {
    /// `camera` is the position in the configuration.
    pub fn new(
        camera: usize,
        id: CameraId,
        remaining: Option<&'a AtomicU64>,
        health: &'a Health,
        reports: Sender<Report>,
        frames: Queue,
    ) -> Self {
        Self { camera, id, next: 0, is_commanded: false, remaining, health, reports, frames, watch: None }
    }

    /// Answers `FRAME_FROZEN` where `watch` says so.
    pub fn set_watch(&mut self, watch: Option<Watch<'a>>) {
        self.watch = watch;
    }

    /// Takes a frame that is a trigger by itself. Never waits for inference: when its queue is full, the frame that has
    /// waited longest is dropped.
    pub fn take(&mut self, captured: Captured) {
        let is_frozen = self.is_frozen(&captured);
        if let Some(opened) = self.open((captured.at, captured.clock), captured.part_id, None) {
            self.hand_on(opened, (captured.image, is_frozen));
        }
    }

    /// Opens the entry of a trigger that came, or was captured, at `at`. None if the station takes no more. `number` is
    /// the PLC's own, where it gave one.
    fn open(
        &mut self,
        (captured, clock): (Moment, CaptureClock),
        part_id: Option<PartId>,
        number: Option<u32>,
    ) -> Option<Opened> {
        let is_spent = |left: &AtomicU64| left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_err();
        if self.remaining.is_some_and(is_spent) {
            return None;
        }
        let key = TriggerKey { camera: self.camera, number: self.next };
        self.next += 1;
        // From here on it is decided what judges this trigger.
        let active = self.health.model.active();
        let counted = || {
            let own = if self.is_commanded { key.number | u64::from(OWN_NUMBERS) } else { key.number };
            u32::try_from(own & PUBLISHED_BITS).expect("31 bits")
        };
        let trigger = Trigger {
            key,
            camera: self.id.clone(),
            published_number: number.unwrap_or_else(counted),
            is_numbered_by_plc: number.is_some(),
            part_id,
            captured,
            clock,
            deadline: active.as_ref().map_or(NO_DEADLINE, |active| active.deadline),
        };
        self.report(Report::Opened(trigger.clone()));
        Some(Opened { trigger, lease: active.map(|active| active.lease) })
    }

    /// To be asked of each frame of the camera, and once.
    fn is_frozen(&mut self, captured: &Captured) -> bool {
        let image = captured.image.as_ref().ok();
        self.watch.as_mut().zip(image).is_some_and(|(watch, image)| watch.is_frozen(image))
    }

    /// Hands the frame of an open trigger on to inference, or answers for it.
    fn hand_on(&self, Opened { trigger, lease }: Opened, (image, is_frozen): (Result<Image, String>, bool)) {
        let key = trigger.key;
        let image = match image {
            Ok(image) => image,
            Err(cause) => {
                debug!(camera = %self.id, number = key.number, cause, "frame is damaged");
                return self.answer(key, Reason::FrameCorrupt);
            }
        };
        if is_frozen {
            return self.answer(key, Reason::FrameFrozen);
        }
        let Some(lease) = lease else { return self.answer(key, Reason::NotReady) };
        let no_room = |oldest: &Frame| self.answer(oldest.trigger.key, Reason::FrameDropped);
        if self.frames.push(Frame { trigger, lease, image }, no_room).is_err() {
            self.answer(key, Reason::NotReady);
        }
    }

    /// The frame of a trigger that was opened before it came.
    fn show(&self, mut opened: Opened, (captured, is_frozen): Shown, sure_from: Duration) {
        (opened.trigger.captured, opened.trigger.clock) = (captured.at, captured.clock);
        let (key, captured_by) = (opened.trigger.key, (captured.at, captured.clock));
        self.report(Report::Seen { key, captured: captured_by, sure_from });
        self.hand_on(opened, (captured.image, is_frozen));
    }

    fn answer(&self, key: TriggerKey, reason: Reason) {
        self.report(Report::Closed { key, judgement: Judgement::not_inspected(reason, None) });
    }

    fn report(&self, report: Report) {
        // The ledger outlives every intake: it ends when the last sender is gone.
        drop(self.reports.send(report));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::frame::{BufferPool, Generation, PixelFormat, Size};
    use crate::health::Active;
    use crate::verdict::{Outcome, Recipe};

    fn captured(image: Result<Image, String>) -> Captured {
        let at = Moment { mono: Duration::ZERO, utc: SystemTime::UNIX_EPOCH };
        Captured { at, clock: CaptureClock::Arrival, part_id: None, image }
    }

    fn image(pool: &BufferPool) -> Image {
        let mut pixels = pool.take();
        pixels.push(0);
        Image { size: Size { width: 1, height: 1 }, format: PixelFormat::Gray8, pixels }
    }

    /// What became of three pictures, by number, the last of them damaged, with room for one frame.
    fn reasons(is_ready: bool, limit: u64) -> (Vec<Option<(u64, Reason)>>, usize) {
        let id = CameraId::new("top").unwrap();
        let health = Health::new([id.clone()]);
        if is_ready {
            let (recipe, deadline) = (Arc::new(Recipe::default()), Duration::from_secs(2));
            health.model.activate(Active { lease: Lease::new(Generation(1)), recipe, deadline });
        }
        let pool = BufferPool::new(4, 1);
        let remaining = AtomicU64::new(limit);
        let (reports_in, reports) = bounded(16);
        let (frames_in, frames) = queue::queue(1);
        let mut intake = Intake::new(0, id, Some(&remaining), &health, reports_in, frames_in);
        intake.take(captured(Ok(image(&pool))));
        intake.take(captured(Ok(image(&pool))));
        intake.take(captured(Err("torn".into())));
        drop(intake);
        let reasons = reports
            .iter()
            .map(|report| match report {
                Report::Closed { key, judgement } => match judgement.outcome {
                    Outcome::NotInspected(reason) => Some((key.number, reason)),
                    Outcome::Good | Outcome::Anomalous | Outcome::Undecidable => None,
                },
                Report::Opened(_) | Report::Seen { .. } => None,
            })
            .collect();
        (reasons, frames.len())
    }

    #[test]
    fn a_full_queue_and_a_damaged_frame_are_answered_at_once() {
        let (reasons, queued) = reasons(true, 10);
        let expected = [None, None, Some((0, Reason::FrameDropped)), None, Some((2, Reason::FrameCorrupt))];
        assert_eq!((reasons.as_slice(), queued), (expected.as_slice(), 1));
    }

    #[test]
    fn nothing_waits_for_a_model_that_is_not_ready() {
        let (reasons, queued) = reasons(false, 10);
        let not_ready = |number| Some((number, Reason::NotReady));
        assert_eq!((reasons[1], reasons[3], queued), (not_ready(0), not_ready(1), 0));
    }

    #[test]
    fn beyond_its_limit_the_station_takes_no_trigger() {
        assert_eq!(reasons(true, 1).0.len(), 1);
    }
}
