//! Cameras at the other end of a network or a USB cable: which there are, and what is lost on the way from them.

/// A GenICam camera that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What `source.device` takes.
    pub id: String,
    pub vendor: String,
    pub model: String,
    pub serial: String,
    /// IP address, or the place on the USB.
    pub address: String,
    /// "GigEVision" or "USB3Vision".
    pub protocol: String,
}

/// What was lost on the way. Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Frames of which nothing arrived.
    pub frames_lost: u64,
    /// Frames of which a part arrived.
    pub frames_incomplete: u64,
    pub packets_lost: u64,
    /// Packets that were lost first and came when they were asked for.
    pub packets_resent: u64,
}

impl Losses {
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            frames_lost: self.frames_lost.saturating_sub(earlier.frames_lost),
            frames_incomplete: self.frames_incomplete.saturating_sub(earlier.frames_incomplete),
            packets_lost: self.packets_lost.saturating_sub(earlier.packets_lost),
            packets_resent: self.packets_resent.saturating_sub(earlier.packets_resent),
        }
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            frames_lost: self.frames_lost + other.frames_lost,
            frames_incomplete: self.frames_incomplete + other.frames_incomplete,
            packets_lost: self.packets_lost + other.packets_lost,
            packets_resent: self.packets_resent + other.packets_resent,
        }
    }
}
