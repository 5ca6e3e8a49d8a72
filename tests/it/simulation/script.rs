//! What a seed draws: the station, the parts that pass it, and all that goes wrong.

use std::time::Duration;

use csflowd::config::camera::{Frames, Matching};
use csflowd::config::group::Group;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A camera of the station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each frame is a trigger.
    Free {
        /// Its source names the parts.
        is_named: bool,
    },
    Commanded(Matching),
}

/// What the scripted network sees in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Good,
    /// Good by the rules of some generations, not by those of others.
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shot {
    pub(crate) camera: usize,
    /// The part that is in view, if one is.
    pub(crate) part: Option<usize>,
    pub(crate) class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The process is killed: what is written stays.
    Kill,
    /// The machine loses its power: what is not synced may be lost.
    PowerCut,
    Stop,
}

/// Something that happens to the station.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// The picture of this number arrives.
    Frame(usize),
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
    /// Settings of this generation.
    Rules(usize),
    End {
        how: End,
        away: Duration,
    },
}

/// What one seed means.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) cameras: Vec<Mode>,
    pub(crate) groups: Vec<Group>,
    pub(crate) shots: Vec<Shot>,
    /// By time.
    pub(crate) acts: Vec<(Duration, Act)>,
    /// Deadlines by generation.
    pub(crate) deadlines: Vec<Duration>,
    pub(crate) frame_queue: usize,
    pub(crate) batch_max: usize,
    pub(crate) outbox_bytes: u64,
    /// Parts are so far apart that nothing about them is ambiguous.
    pub(crate) is_spaced: bool,
    /// When everything that went wrong is mended.
    pub(crate) healed: Duration,
}

/// The longest that a pulse or message is under way before it is on the network.
const SKEW_MS: u64 = 30;

const WINDOW_MS: u64 = 60;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Draw {
    rng: Pcg64,
    script: Script,
    length_ms: u64,
}

impl Script {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed);
        let n_cameras = rng.random_range(1..=3);
        let is_spaced = rng.random_bool(0.8);
        let interval_ms = if is_spaced { rng.random_range(170..400) } else { rng.random_range(20..170) };
        let n_parts = rng.random_range(8..40);
        let script = Script {
            cameras: (0..n_cameras).map(|_| mode(&mut rng)).collect(),
            groups: Vec::new(),
            shots: Vec::new(),
            acts: Vec::new(),
            deadlines: (0..4).map(|_| ms(rng.random_range(150..1000))).collect(),
            frame_queue: rng.random_range(1..=8),
            batch_max: rng.random_range(1..=4),
            outbox_bytes: if rng.random_bool(0.2) { rng.random_range(20_000..100_000) } else { 1 << 28 },
            is_spaced,
            healed: Duration::ZERO,
        };
        let mut draw = Draw { rng, script, length_ms: interval_ms * n_parts + 500 };
        draw.groups();
        draw.parts(usize::try_from(n_parts).unwrap(), interval_ms);
        draw.troubles();
        let mut script = draw.script;
        script.acts.sort_by_key(|&(at, _)| at);
        script.healed = script.acts.last().map_or(Duration::ZERO, |&(at, _)| at) + ms(1);
        script
    }
}

fn mode(rng: &mut Pcg64) -> Mode {
    let window = ms(WINDOW_MS);
    match rng.random_range(0..4) {
        0 => Mode::Free { is_named: false },
        1 => Mode::Free { is_named: true },
        2 => Mode::Commanded(Matching { frames: Frames::Pulse, early: ms(2 * SKEW_MS), window }),
        _ => Mode::Commanded(Matching { frames: Frames::Stream, early: Duration::ZERO, window }),
    }
}

impl Draw {
    fn is(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    /// A duration up to about `max_ms`, short ones as often as long ones.
    fn some(&mut self, max_ms: u64) -> Duration {
        let max_us = (max_ms * 1000) >> self.rng.random_range(0..12);
        Duration::from_micros(self.rng.random_range(0..=max_us.max(100)))
    }

    fn at(&mut self, at: Duration, act: Act) {
        self.script.acts.push((at, act));
    }

    fn any_time(&mut self) -> Duration {
        ms(self.rng.random_range(0..self.length_ms))
    }

    fn groups(&mut self) {
        let n_cameras = self.script.cameras.len();
        if n_cameras > 1 && self.is(0.5) {
            let cameras = (0..self.rng.random_range(2..=n_cameras)).collect();
            let window = ms(SKEW_MS + WINDOW_MS);
            self.script.groups.push(Group { name: "part".into(), cameras, window });
        }
    }

    fn parts(&mut self, n_parts: usize, interval_ms: u64) {
        let cameras = self.script.cameras.clone();
        let is_stream =
            |mode: &Mode| matches!(mode, Mode::Commanded(Matching { frames: Frames::Stream, .. }));
        for (camera, _) in cameras.iter().enumerate().filter(|(_, mode)| is_stream(mode)) {
            self.stream(camera);
        }
        let is_commanded = |mode: &Mode| matches!(mode, Mode::Commanded(_));
        let asks_all = self.is(0.5);
        let rarely = [0.0, 0.02, 0.1][self.rng.random_range(0..3)];
        for part in 0..n_parts {
            let seen = ms(200 + interval_ms * part as u64);
            for (camera, mode) in cameras.iter().enumerate() {
                let skew = ms(self.rng.random_range(0..SKEW_MS));
                if !is_stream(mode) && !self.is(rarely) {
                    self.shot(camera, Some(part), seen + skew);
                }
                let skew = ms(self.rng.random_range(0..SKEW_MS));
                if is_commanded(mode) && !asks_all && !self.is(rarely) {
                    self.at(seen + skew, Act::Ask { camera: Some(camera), part });
                }
            }
            if asks_all && cameras.iter().any(is_commanded) && !self.is(rarely) {
                let skew = ms(self.rng.random_range(0..SKEW_MS));
                self.at(seen + skew, Act::Ask { camera: None, part });
            }
        }
    }

    fn stream(&mut self, camera: usize) {
        let period_ms = self.rng.random_range(15..50);
        let mut at_ms = self.rng.random_range(0..period_ms);
        while at_ms < self.length_ms {
            self.shot(camera, None, ms(at_ms));
            // Now and then a camera skips a few.
            at_ms += if self.is(0.02) { 5 * period_ms } else { period_ms };
        }
    }

    fn shot(&mut self, camera: usize, part: Option<usize>, at: Duration) {
        let class = match self.rng.random_range(0..400) {
            0..240 => Class::Good,
            300..370 => Class::Anomalous,
            370..380 => Class::NotANumber,
            380..388 => Class::Fails,
            388 if self.script.shots.len().is_multiple_of(4) => Class::LosesDevice,
            388..395 => Class::Damaged,
            _ => Class::Middling,
        };
        // Not on the millisecond, so that moments differ.
        let at = at + Duration::from_nanos(self.rng.random_range(0..1_000_000));
        self.at(at, Act::Frame(self.script.shots.len()));
        self.script.shots.push(Shot { camera, part, class });
    }

    fn troubles(&mut self) {
        let pace = self.some(200);
        self.at(Duration::ZERO, Act::Pace(pace));
        for _ in 0..self.rng.random_range(0..=8) {
            let (at, long) = (self.any_time(), self.some(4000));
            self.trouble(at, long);
        }
        if self.is(0.5) {
            for _ in 0..self.rng.random_range(1..=3) {
                let how = [End::Kill, End::PowerCut, End::Stop][self.rng.random_range(0..3)];
                let (at, away) = (self.any_time(), self.some(1000));
                self.at(at, Act::End { how, away });
            }
        }
    }

    fn trouble(&mut self, at: Duration, long: Duration) {
        match self.rng.random_range(0..14) {
            0 => self.at(at, Act::Hang(long)),
            1 => {
                // For ever: the watchdog ends it.
                self.at(at, Act::Hang(Duration::from_hours(1)));
                self.at(at + ms(3000), Act::End { how: End::Kill, away: ms(200) });
            }
            2 => {
                let pace = self.some(400);
                self.at(at, Act::Pace(pace));
            }
            3 => self.at(at, Act::DiskHangs(long)),
            4 => {
                self.at(at, Act::DiskFull(true));
                self.at(at + long, Act::DiskFull(false));
            }
            5 => {
                let bytes = self.rng.random_range(0..20_000);
                self.at(at, Act::DiskRoom(bytes));
                self.at(at + long, Act::DiskRoom(u64::MAX));
            }
            6 => {
                self.at(at, Act::DiskReadsFail(true));
                self.at(at + long, Act::DiskReadsFail(false));
            }
            7 => {
                let bytes = self.rng.random_range(0..3000);
                self.at(at, Act::DiskTears(bytes));
            }
            8 => {
                let forgets = self.is(0.5);
                self.at(at, Act::BrokerGone { forgets });
                self.at(at + long, Act::BrokerBack);
            }
            9 => {
                let noticed_after = self.some(3000);
                self.at(at, Act::Cut { noticed_after });
            }
            10 => {
                self.at(at, Act::BrokerMute(true));
                self.at(at + long, Act::BrokerMute(false));
            }
            11 => {
                let step = self.rng.random_range(-7_200_000..7_200_000);
                self.at(at, Act::ClockStep(step));
            }
            12 => self.at(at, Act::Junk),
            _ => {
                let generation = self.rng.random_range(0..self.script.deadlines.len());
                self.at(at, Act::Rules(generation));
            }
        }
    }
}
