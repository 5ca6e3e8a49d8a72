//! The frames that wait for inference. There is room for few: beyond that the one that has waited longest gives way. It is the
//! nearest to its deadline, and what is judged instead is as fresh as it can be.

use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::frame::Frame;

/// Of one camera: the frame in the making, and the one that is about to be handed on.
const IN_HAND: usize = 2;

/// The way into the queue, for all cameras.
#[derive(Clone, Debug)]
pub struct Queue {
    into: Sender<Frame>,
    /// The end that inference takes from, for as long as it does.
    waiting: Weak<Receiver<Frame>>,
}

/// There is nobody to judge a frame.
#[derive(Clone, Copy, Debug)]
pub struct Gone;

/// A queue with so much room, and the end that inference takes from. It ends with the last [`Queue`].
pub fn queue(room: usize) -> (Queue, Arc<Receiver<Frame>>) {
    let (into, waiting) = bounded(room);
    let waiting = Arc::new(waiting);
    (Queue { into, waiting: Arc::downgrade(&waiting) }, waiting)
}

/// Buffers for all frames of a camera that may be under way at once, behind the camera itself.
pub fn buffers(room: usize, batch_max: usize) -> usize {
    room + batch_max + IN_HAND
}

impl Queue {
    /// Puts a frame last, and hands to `no_room` what gives way for it. Never waits.
    pub fn push(&self, mut frame: Frame, no_room: impl Fn(&Frame)) -> Result<(), Gone> {
        loop {
            frame = match self.into.try_send(frame) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(Gone),
                Err(TrySendError::Full(frame)) => frame,
            };
            // Inference, or another camera, may have made room meanwhile.
            if let Some(oldest) = self.waiting.upgrade().and_then(|waiting| waiting.try_recv().ok()) {
                no_room(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::clock::Moment;
    use crate::frame::{
        BufferPool, CameraId, CaptureClock, Generation, Image, Lease, PixelFormat, Size, Trigger, TriggerKey,
    };

    fn frame(number: u64) -> Frame {
        let captured = Moment { mono: Duration::ZERO, utc: SystemTime::UNIX_EPOCH };
        let trigger = Trigger {
            key: TriggerKey { camera: 0, number },
            camera: CameraId::new("top").unwrap(),
            published_number: 0,
            is_numbered_by_plc: false,
            part_id: None,
            captured,
            clock: CaptureClock::Arrival,
            deadline: Duration::from_secs(1),
        };
        let size = Size { width: 0, height: 0 };
        let image = Image { size, format: PixelFormat::Gray8, pixels: BufferPool::new(1, 0).take() };
        Frame { trigger, lease: Lease::new(Generation(1)), image }
    }

    #[test]
    fn the_frame_that_has_waited_longest_gives_way() {
        let (queue, waiting) = queue(2);
        let dropped = RefCell::new(Vec::new());
        for number in 0..5 {
            queue.push(frame(number), |frame| dropped.borrow_mut().push(frame.trigger.key.number)).unwrap();
        }
        assert_eq!(dropped.into_inner(), [0, 1, 2]);
        drop(queue);
        assert_eq!(waiting.iter().map(|frame| frame.trigger.key.number).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn without_inference_it_is_told() {
        let (queue, waiting) = queue(1);
        queue.push(frame(0), |_| panic!("there is room")).unwrap();
        drop(waiting);
        assert!(queue.push(frame(1), |_| panic!("nobody waits")).is_err());
    }
}
