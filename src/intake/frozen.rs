//! Whether a live camera shows what it sees now: noise makes each of its pictures another, to the bit.

use crc32fast::Hasher;
use tracing::debug;

use crate::events::{Event, Events};
use crate::frame::{CameraId, Image, Picture, Size};

/// At most so many rows of a picture are compared.
const ROWS: usize = 256;

/// What the last picture was, and how often it has come again.
#[derive(Debug)]
pub struct Watch<'a> {
    camera: CameraId,
    /// So many repetitions make a frozen camera.
    after: u32,
    last: Option<(Size, u32)>,
    repeats: u32,
    events: Events<'a>,
}

impl<'a> Watch<'a> {
    /// None if a camera may show the same for ever: `after` is 0.
    pub fn new(camera: CameraId, after: u32, events: Events<'a>) -> Option<Self> {
        (after > 0).then_some(Self { camera, after, last: None, repeats: 0, events })
    }

    /// Whether the camera is frozen, now that it has sent this.
    pub fn is_frozen(&mut self, image: &Image) -> bool {
        let this = Some((image.size, checksum(image.picture())));
        if self.last != this {
            self.last = this;
            self.repeats = 0;
            return false;
        }
        self.repeats = self.repeats.saturating_add(1);
        if self.repeats == self.after {
            self.events.tell(Event::CameraFrozen { camera: self.camera.clone() });
        }
        debug!(camera = %self.camera, repeats = self.repeats, "the same picture again");
        self.repeats >= self.after
    }
}

/// Over rows that are spread over the picture.
pub fn checksum(picture: Picture<'_>) -> u32 {
    let row = picture.size.width as usize * picture.format.channels();
    let step = (picture.size.height as usize).div_ceil(ROWS).max(1);
    let mut hasher = Hasher::new();
    for bytes in picture.pixels.chunks(row.max(1)).step_by(step) {
        hasher.update(bytes);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::clock::StoppedClock;
    use crate::frame::{BufferPool, PixelFormat};
    use crate::health::Health;

    #[test]
    fn the_same_picture_so_many_times_again_is_a_frozen_camera_until_another_comes() {
        let camera = CameraId::new("top").unwrap();
        let health = Health::new([camera.clone()]);
        let (told_in, told) = bounded(8);
        let events = Events::new(told_in, &StoppedClock, &health);
        let pool = BufferPool::new(1, 0);
        let image = |value: u8, at: usize| {
            let mut pixels = pool.take();
            pixels.resize(3000 * 4, 7);
            pixels[at] = value;
            Image { size: Size { width: 4, height: 3000 }, format: PixelFormat::Gray8, pixels }
        };
        let mut watch = Watch::new(camera.clone(), 2, events.clone()).unwrap();
        let shown = [(1, 0), (1, 0), (1, 0), (1, 0), (2, 0), (1, 0), (1, 0), (1, 3), (1, 3), (1, 3)];
        let frozen = shown.map(|(value, at)| watch.is_frozen(&image(value, at)));
        assert_eq!(frozen, [false, false, true, true, false, false, false, false, false, true]);
        assert_eq!(told.try_iter().count(), 2, "each freeze is told once");
        assert!(Watch::new(camera, 0, events).is_none());
    }
}
