//! What happens to a station: the station itself, the parts that pass it, and all that goes wrong. Drawn from a seed, or read
//! from a file.

mod draw;

use std::time::Duration;

use csflowd::config::camera::{Frames, Matching};
use csflowd::config::group::Group;
use serde::{Deserialize, Serialize};

/// A camera of the station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// Each frame is a trigger.
    Free {
        /// Its source names the parts.
        is_named: bool,
    },
    /// Triggered by command, and fired by a sensor.
    Pulse,
    /// The same, and it streams.
    Stream,
}

/// What the scripted network sees in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Class {
    Good,
    /// Good by the rules of some products, not by those of others.
    Middling,
    Anomalous,
    /// The score is not a number.
    NotANumber,
    /// The network fails on it, and on all that it is judged with.
    Fails,
    LosesDevice,
    /// It does not get as far as the network.
    Damaged,
}

/// A picture that a camera delivers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Shot {
    pub(crate) camera: usize,
    /// The part that is in view, if one is.
    pub(crate) part: Option<usize>,
    pub(crate) class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// The process is killed: what is written stays.
    Kill,
    /// The machine loses its power: what is not synced may be lost.
    PowerCut,
    Stop,
    /// The cameras end by themselves.
    OfCameras,
}

/// How products are made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Loading {
    Works,
    Fails,
    /// Only the thread that judges finds that it does not work.
    FailsWarm,
}

/// Something that happens to the station.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Act {
    /// A picture arrives. Pictures are numbered in their order.
    Frame(Shot),
    /// Somebody sends what is no command.
    Junk,
    /// The PLC asks for a verdict on this part; None means all cameras that are triggered by command.
    Ask {
        camera: Option<usize>,
        part: usize,
    },
    /// From now on the network takes so long.
    Pace(Duration),
    /// The network's next run takes so much longer.
    Hang(Duration),
    /// The disk does not return for so long.
    DiskHangs(Duration),
    DiskFull(bool),
    /// It has room for so many more bytes.
    DiskRoom(u64),
    DiskReadsFail(bool),
    DiskTears(usize),
    /// A bit flips in a file of the outbox: the remainders say in which, and where.
    DiskDamage {
        file: usize,
        at: usize,
    },
    BrokerGone {
        forgets: bool,
    },
    BrokerBack,
    /// The connection breaks; the client may notice late.
    Cut {
        noticed_after: Duration,
    },
    /// The broker stands still: nothing is lost.
    BrokerMute(bool),
    /// UTC jumps by so many milliseconds.
    ClockStep(i64),
    /// Somebody wants this product.
    Product(usize),
    /// From now on products are made ready so, and it takes so long.
    Loads(Loading, Duration),
    /// Whether there is room for two networks.
    Room(bool),
    End {
        how: End,
        away: Duration,
    },
}

/// A station and what happens to it. As text: a line for the station, and one for each act.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Script {
    /// Draws what is left open: delays, and what comes first of what comes together.
    pub(crate) chance: u64,
    pub(crate) cameras: Vec<Mode>,
    /// Cameras that see the same parts.
    pub(crate) views: Vec<usize>,
    /// Of the products.
    pub(crate) deadlines: Vec<Duration>,
    pub(crate) frame_queue: usize,
    pub(crate) batch_max: usize,
    pub(crate) outbox_bytes: u64,
    /// Parts are so far apart that nothing about them is ambiguous.
    pub(crate) is_spaced: bool,
    /// Where there is no room for two networks, one goes before the other comes.
    pub(crate) may_gap: bool,
    /// By time.
    #[serde(skip)]
    pub(crate) acts: Vec<(Duration, Act)>,
}

/// The longest that a pulse or message is under way before it is on the network.
const SKEW: Duration = Duration::from_millis(30);

const WINDOW: Duration = Duration::from_millis(60);

impl Mode {
    /// How frames are held against commands, where there are any.
    pub(crate) fn rule(self) -> Option<Matching> {
        let window = WINDOW;
        match self {
            Self::Free { .. } => None,
            Self::Pulse => Some(Matching { frames: Frames::Pulse, early: 2 * SKEW, window }),
            Self::Stream => Some(Matching { frames: Frames::Stream, early: Duration::ZERO, window }),
        }
    }
}

impl Script {
    pub(crate) fn parse(text: &str) -> serde_json::Result<Self> {
        let (station, acts) = text.split_once('\n').unwrap_or((text, ""));
        let acts = acts.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?;
        Ok(Self { acts, ..serde_json::from_str(station)? })
    }

    pub(crate) fn text(&self) -> serde_json::Result<String> {
        let acts = self.acts.iter().map(serde_json::to_string);
        let lines: Vec<String> =
            [serde_json::to_string(self)].into_iter().chain(acts).collect::<serde_json::Result<_>>()?;
        Ok(lines.join("\n") + "\n")
    }

    /// All pictures, by number.
    pub(crate) fn shots(&self) -> Vec<Shot> {
        let shot = |&(_, act): &(Duration, Act)| match act {
            Act::Frame(shot) => Some(shot),
            _ => None,
        };
        self.acts.iter().filter_map(shot).collect()
    }

    /// The parts that several cameras see.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let group = Group { name: "part".into(), cameras: self.views.clone(), window: SKEW + WINDOW };
        if self.views.is_empty() { Vec::new() } else { vec![group] }
    }
}
