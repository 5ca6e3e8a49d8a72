//! How fast the judging is: from a frame in memory to the payload for the PLC, one batch after another. [`stream`] has it
//! the other way round: frames come when they come.

pub mod stream;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::Serialize;

use crate::clock::{Clock, Moment};
use crate::engine::EngineError;
use crate::engine::detector::Detector;
use crate::frame::{CameraId, CaptureClock, Picture, PixelFormat, Size, Trigger, TriggerKey};
use crate::publish::payload::verdict;
use crate::verdict::regions::{self, RegionRule};
use crate::verdict::{Judge, Judgement, Reason, Verdict};

/// Batches that are not counted: the first calls pick kernels and grow buffers.
const WARM_UP: usize = 3;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub frame: Size,
    pub batch: usize,
    pub runs: usize,
}

/// Times in milliseconds. Serialised as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Times {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    pub max: f64,
}

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub frame_width: u32,
    pub frame_height: u32,
    pub batch: usize,
    pub runs: usize,
    /// From the frames in memory to the last payload of the batch.
    pub latency_ms: Times,
    pub stages_ms: BTreeMap<&'static str, Times>,
    pub frames_per_s: f64,
}

/// Judges frames of noise, and measures.
pub fn run(
    detector: &mut dyn Detector,
    judge: &Judge,
    rule: RegionRule,
    load: Load,
    clock: &dyn Clock,
) -> Result<Figures, EngineError> {
    let mut rng = Pcg64::seed_from_u64(1);
    let frames: Vec<Vec<u8>> = (0..load.batch).map(|_| noise(load.frame, &mut rng)).collect();
    let pictures: Vec<Picture<'_>> =
        frames.iter().map(|pixels| Picture { size: load.frame, format: PixelFormat::Rgb8, pixels }).collect();
    let mut recorders: BTreeMap<&'static str, Recorder> = BTreeMap::new();
    let mut total = Recorder::new();
    for run in 0..WARM_UP + load.runs {
        let start = clock.now();
        let batch = detector.measure(&pictures, clock)?;
        let measured = clock.now();
        for measured in &batch.measured {
            let judgement = Judgement {
                outcome: judge.outcome(measured.score),
                score: Some(measured.score),
                regions: regions::find(&measured.map, load.frame, rule),
                ..Judgement::not_inspected(Reason::NoFrame, None)
            };
            std::hint::black_box(verdict::encode(&verdict_of(judgement, start), measured_at(start)));
        }
        let done = clock.now();
        if run < WARM_UP {
            continue;
        }
        total.record(done.since(start));
        for (stage, time) in [
            ("preprocess", batch.preprocess),
            ("inference", batch.inference),
            ("postprocess", done.since(measured)),
        ] {
            recorders.entry(stage).or_insert_with(Recorder::new).record(time);
        }
    }
    let stages_ms = recorders.into_iter().map(|(stage, recorder)| (stage, recorder.times())).collect();
    #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
    let frames_per_s = (load.batch * load.runs) as f64 / total.sum.as_secs_f64();
    Ok(Figures {
        frame_width: load.frame.width,
        frame_height: load.frame.height,
        batch: load.batch,
        runs: load.runs,
        latency_ms: total.times(),
        stages_ms,
        frames_per_s,
    })
}

fn noise(size: Size, rng: &mut impl Rng) -> Vec<u8> {
    let mut pixels = vec![0; size.pixels() * 3];
    rng.fill(pixels.as_mut_slice());
    pixels
}

fn verdict_of(judgement: Judgement, at: Moment) -> Verdict {
    let camera = CameraId::new("bench").expect("a fitting name");
    let trigger = Trigger {
        key: TriggerKey { camera: 0, number: 0 },
        camera,
        published_number: 0,
        is_numbered_by_plc: false,
        part_id: None,
        captured: at,
        clock: CaptureClock::Arrival,
        deadline: Duration::from_secs(1),
    };
    Verdict { seq: 1, trigger, judgement, decided: at, late: false }
}

fn measured_at(start: Moment) -> Moment {
    Moment { mono: start.mono, utc: SystemTime::UNIX_EPOCH }
}

/// Times with three significant digits.
struct Recorder {
    histogram: Histogram<u64>,
    sum: Duration,
}

impl Recorder {
    fn new() -> Self {
        Self { histogram: Histogram::new(3).expect("3 digits are allowed"), sum: Duration::ZERO }
    }

    fn record(&mut self, time: Duration) {
        self.sum += time;
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.record(nanoseconds).expect("an automatic histogram takes every value");
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
    fn times(&self) -> Times {
        let at = |quantile: f64| self.histogram.value_at_quantile(quantile) as f64 / 1e6;
        let max = self.histogram.max() as f64 / 1e6;
        Times { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max }
    }
}
