//! What leaves a camera: one picture, packed rows, in a buffer that returns to its pool.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::clock::Moment;

/// A camera's name: 1 to 32 of `[A-Za-z0-9_-]`, so that it can stand in an MQTT topic. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CameraId(Arc<str>);

/// A part's name as the PLC gave it: 1 to 64 printable ASCII characters without `"` and `\`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PartId(Arc<str>);

/// A name that breaks the rules of its type; the text says which rule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{kind} \"{given}\" must be {rule}")]
pub struct BadName {
    kind: &'static str,
    given: String,
    rule: &'static str,
}

impl CameraId {
    pub fn new(name: &str) -> Result<Self, BadName> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if (1..=32).contains(&name.len()) && name.chars().all(fits) && !is_reserved(name) {
            return Ok(Self(name.into()));
        }
        let rule =
            "1 to 32 characters of A-Z a-z 0-9 _ - and not a topic of its own (cmd, part, status, ...)";
        Err(BadName { kind: "camera id", given: name.into(), rule })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Camera topics and station topics share one level: these names are taken.
fn is_reserved(name: &str) -> bool {
    ["cmd", "part", "status", "heartbeat", "counters", "event"].contains(&name)
}

/// Whether a character of a name can stand in a payload as it is: printable ASCII without `"` and `\`.
pub fn is_plain(c: char) -> bool {
    (' '..='~').contains(&c) && c != '"' && c != '\\'
}

impl PartId {
    pub fn new(name: &str) -> Result<Self, BadName> {
        if (1..=64).contains(&name.len()) && name.chars().all(is_plain) {
            return Ok(Self(name.into()));
        }
        let rule = "1 to 64 printable ASCII characters without \" and \\";
        Err(BadName { kind: "part id", given: name.chars().take(80).collect(), rule })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Debug for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Names one trigger within this run of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TriggerKey {
    /// Position of the camera in the configuration.
    pub camera: usize,
    /// Counts the camera's triggers from 0.
    pub number: u64,
}

/// The event that a part is in view.
#[derive(Clone, Debug)]
pub struct Trigger {
    pub key: TriggerKey,
    pub camera: CameraId,
    /// The number published as `trig`: the PLC's own if it gave one, else counted from 0; 31 bits, wraps.
    pub published_number: u32,
    /// Whether that number is the PLC's.
    pub is_numbered_by_plc: bool,
    pub part_id: Option<PartId>,
    /// When the frame was captured, or, until it is, when the trigger came.
    pub captured: Moment,
    /// What told that.
    pub clock: CaptureClock,
    /// How long the answer may take from then on: that of the product in force when the trigger came.
    pub deadline: Duration,
}

/// Where the PLC may give numbers, the station's own have this bit: the upper half of 31 bits.
pub const OWN_NUMBERS: u32 = 0x4000_0000;

/// An answer is given so much before its deadline at the latest, that it is there in time.
const ON_ITS_WAY: Duration = Duration::from_millis(5);

impl Trigger {
    /// When the answer is given at the latest: 5 ms before the deadline, of a short one a tenth.
    pub fn due(&self) -> Duration {
        self.captured.mono + self.deadline.saturating_sub(ON_ITS_WAY.min(self.deadline / 10))
    }
}

/// Counts the changes of what frames are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// Says which generation a frame is of, from its trigger on. What judges a generation stays as long as somebody else
/// holds a lease of it.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Generation>);

impl Lease {
    /// The first lease of a generation; clones are the others.
    pub fn new(generation: Generation) -> Self {
        Self(Arc::new(generation))
    }

    pub fn generation(&self) -> Generation {
        *self.0
    }

    /// Whether nobody else holds one: then nobody can come by one either.
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// What told when a frame was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureClock {
    /// The machine's, when the frame reached csflowd.
    #[default]
    Arrival,
    /// One that the stream brought along, as RTP does from a sender that knows the time of day.
    Reference,
    /// The camera's own, held by PTP or the like.
    Camera,
}

/// How pixels lie in memory, 8 bits a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    Gray8,
    Rgb8,
    Bgr8,
}

impl PixelFormat {
    /// Bytes of one pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Gray8 => 1,
            Self::Rgb8 | Self::Bgr8 => 3,
        }
    }
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl Size {
    pub fn pixels(self) -> usize {
        self.width as usize * self.height as usize
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A picture that somebody else owns: rows without padding, `size.pixels() * format.channels()` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    pub size: Size,
    pub format: PixelFormat,
    pub pixels: &'a [u8],
}

/// A picture in a pooled buffer.
#[derive(Debug)]
pub struct Image {
    pub size: Size,
    pub format: PixelFormat,
    pub pixels: PooledBuffer,
}

impl Image {
    pub fn picture(&self) -> Picture<'_> {
        Picture { size: self.size, format: self.format, pixels: &self.pixels }
    }
}

/// What a camera delivered when a part was in view.
#[derive(Debug)]
pub struct Captured {
    /// Deadlines run from its monotonic half, which is that of the arrival; people read the other one.
    pub at: Moment,
    /// What told the time of day in `at`.
    pub clock: CaptureClock,
    /// Known only where the source names its parts, as a folder of files does.
    pub part_id: Option<PartId>,
    /// The picture, or what is wrong with it.
    pub image: Result<Image, String>,
}

/// One image from one camera, with the trigger it answers.
#[derive(Debug)]
pub struct Frame {
    pub trigger: Trigger,
    pub lease: Lease,
    pub image: Image,
}

/// Buffers made once and used again: in steady state a frame costs no allocation.
#[derive(Debug)]
pub struct BufferPool {
    free: Receiver<Vec<u8>>,
    give_back: Sender<Vec<u8>>,
}

impl BufferPool {
    /// A pool that keeps at most `capacity` buffers of `bytes` each.
    pub fn new(capacity: usize, bytes: usize) -> Self {
        // Full means that more buffers are on their way home than the pool keeps: the extra ones are freed.
        let (give_back, free) = bounded(capacity);
        for _ in 0..capacity {
            if give_back.try_send(Vec::with_capacity(bytes)).is_err() {
                break;
            }
        }
        Self { free, give_back }
    }

    /// An empty buffer; a new one when all are out.
    pub fn take(&self) -> PooledBuffer {
        let mut bytes = self.free.try_recv().unwrap_or_default();
        bytes.clear();
        PooledBuffer { bytes, give_back: self.give_back.clone() }
    }
}

/// A buffer that goes back to its pool when dropped.
#[derive(Debug)]
pub struct PooledBuffer {
    bytes: Vec<u8>,
    give_back: Sender<Vec<u8>>,
}

impl Deref for PooledBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        // A full or closed pool has no use for it: it is freed here.
        drop(self.give_back.try_send(std::mem::take(&mut self.bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_comes_back_with_its_capacity() {
        let pool = BufferPool::new(1, 16);
        let mut buffer = pool.take();
        buffer.extend_from_slice(&[1; 16]);
        let address = buffer.as_ptr();
        drop(buffer);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), address);
        assert!(pool.take().capacity() == 0, "a second buffer is a new one");
    }

    #[test]
    fn names_that_cannot_stand_in_a_topic_or_payload_are_refused() {
        for name in ["", "a/b", "top camera", "cmd", "ü", &"x".repeat(33)] {
            assert!(CameraId::new(name).is_err(), "{name:?}");
        }
        for name in ["", "a\"b", "a\\b", "ü", "a\nb", &"x".repeat(65)] {
            assert!(PartId::new(name).is_err(), "{name:?}");
        }
        assert_eq!(CameraId::new("top-1").unwrap().as_str(), "top-1");
        assert_eq!(PartId::new("A1 B2.png").unwrap().as_str(), "A1 B2.png");
    }
}
