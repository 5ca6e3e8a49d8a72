//! What a seed draws.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::{Act, Class, End, Loading, Mode, SKEW, Script, Shot};

/// How many products there are.
const PRODUCTS: usize = 4;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Draw {
    rng: Pcg64,
    script: Script,
    length_ms: u64,
    shots: usize,
}

impl Script {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed);
        let n_cameras = rng.random_range(1..=3);
        let is_spaced = rng.random_bool(0.8);
        let interval_ms = if is_spaced { rng.random_range(170..400) } else { rng.random_range(20..170) };
        let n_parts = rng.random_range(8..40);
        let script = Script {
            chance: seed.wrapping_add(1 << 63),
            cameras: (0..n_cameras).map(|_| mode(&mut rng)).collect(),
            views: Vec::new(),
            deadlines: (0..PRODUCTS).map(|_| ms(rng.random_range(150..1000))).collect(),
            frame_queue: rng.random_range(1..=8),
            batch_max: rng.random_range(1..=4),
            outbox_bytes: if rng.random_bool(0.2) { rng.random_range(20_000..100_000) } else { 1 << 28 },
            is_spaced,
            may_gap: rng.random_bool(0.5),
            acts: Vec::new(),
        };
        let mut draw = Draw { rng, script, length_ms: interval_ms * n_parts + 500, shots: 0 };
        draw.groups();
        draw.parts(usize::try_from(n_parts).unwrap(), interval_ms);
        draw.changes();
        draw.troubles();
        let mut script = draw.script;
        script.acts.sort_by_key(|&(at, _)| at);
        script
    }
}

fn mode(rng: &mut Pcg64) -> Mode {
    match rng.random_range(0..4) {
        0 => Mode::Free { is_named: false },
        1 => Mode::Free { is_named: true },
        2 => Mode::Pulse,
        _ => Mode::Stream,
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

    fn skew(&mut self) -> Duration {
        ms(self.rng.random_range(0..u64::try_from(SKEW.as_millis()).unwrap()))
    }

    fn any_time(&mut self) -> Duration {
        ms(self.rng.random_range(0..self.length_ms))
    }

    fn groups(&mut self) {
        let n_cameras = self.script.cameras.len();
        if n_cameras > 1 && self.is(0.5) {
            self.script.views = (0..self.rng.random_range(2..=n_cameras)).collect();
        }
    }

    fn parts(&mut self, n_parts: usize, interval_ms: u64) {
        let cameras = self.script.cameras.clone();
        let is_stream = |mode: Mode| mode == Mode::Stream;
        for (camera, _) in cameras.iter().enumerate().filter(|(_, mode)| is_stream(**mode)) {
            self.stream(camera);
        }
        let is_commanded = |mode: &Mode| mode.rule().is_some();
        let asks_all = self.is(0.5);
        let rarely = [0.0, 0.02, 0.1][self.rng.random_range(0..3)];
        for part in 0..n_parts {
            let seen = ms(200 + interval_ms * part as u64);
            for (camera, &mode) in cameras.iter().enumerate() {
                let skew = self.skew();
                if !is_stream(mode) && !self.is(rarely) {
                    self.shot(camera, Some(part), seen + skew);
                }
                let skew = self.skew();
                if is_commanded(&mode) && !asks_all && !self.is(rarely) {
                    self.at(seen + skew, Act::Ask { camera: Some(camera), part });
                }
            }
            if asks_all && cameras.iter().any(is_commanded) && !self.is(rarely) {
                let skew = self.skew();
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
            388 if self.shots.is_multiple_of(4) => Class::LosesDevice,
            388..395 => Class::Damaged,
            _ => Class::Middling,
        };
        // Not on the millisecond, so that moments differ.
        let at = at + Duration::from_nanos(self.rng.random_range(0..1_000_000));
        self.at(at, Act::Frame(Shot { camera, part, class }));
        self.shots += 1;
    }

    /// Other products, and how they are made ready.
    fn changes(&mut self) {
        let takes = self.some(300);
        self.at(Duration::ZERO, Act::Loads(Loading::Works, takes));
        if self.is(0.5) {
            return;
        }
        for _ in 0..self.rng.random_range(1..=6) {
            let at = self.any_time();
            if self.is(0.3) {
                let how = [Loading::Works, Loading::Fails, Loading::FailsWarm][self.rng.random_range(0..3)];
                let (takes, long) = (self.some(2000), self.some(4000));
                self.at(at, Act::Loads(how, takes));
                self.at(at + long, Act::Loads(Loading::Works, takes));
            }
            if self.is(0.3) {
                let long = self.some(4000);
                self.at(at, Act::Room(false));
                self.at(at + long, Act::Room(true));
            }
            let product = self.rng.random_range(0..PRODUCTS);
            self.at(at, Act::Product(product));
        }
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
                let how = [End::Kill, End::PowerCut, End::Stop, End::OfCameras][self.rng.random_range(0..4)];
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
                for _ in 0..self.rng.random_range(1..4) {
                    let (file, at_byte) = (self.rng.random_range(0..100), self.rng.random_range(0..1 << 20));
                    self.at(at, Act::DiskDamage { file, at: at_byte });
                }
            }
        }
    }
}
