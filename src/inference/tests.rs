//! The thread against detectors that do what is written, in the thread of the test.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{bounded, never};

use super::*;
use crate::calibrate::evidence::Evidence;
use crate::calibrate::{Calibration, Shortfall, Target, calibrate};
use crate::clock::Moment;
use crate::engine::Batch;
use crate::frame::{BufferPool, CameraId, Image, PixelFormat, Size, Trigger, TriggerKey};
use crate::inference::rules::Limits;
use crate::model::score::area::Grids;
use crate::model::score::scoring::ScoreKind;
use crate::roi::{Roi, Shapes};
use crate::verdict::Threshold;
use crate::verdict::regions::AnomalyMap;

const SIZE: Size = Size { width: 1, height: 1 };

/// Pixels that are not scored by their value.
const NAN: u8 = 255;
const INFINITE: u8 = 254;
const FAILS: u8 = 253;
const LOSES_DEVICE: u8 = 252;

/// Sides of frames whose ROI cannot be set.
const FAILS_AT: u32 = 7;
const LOST_AT: u32 = 8;

/// Scores a picture by its pixel.
struct Scripted {
    /// The pixels of each batch.
    batches: Sender<Vec<u8>>,
    /// Done in the middle of the first batch.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
    clock: ManualClock,
    /// How long a batch takes.
    takes_ms: u64,
}

impl Detector for Scripted {
    fn set_roi(&mut self, roi: Option<&Roi>) -> Result<(), EngineError> {
        match roi.map(|roi| roi.size().width) {
            Some(FAILS_AT) => Err(EngineError::Failed("no room".into())),
            Some(LOST_AT) => Err(EngineError::DeviceLost { device: "cuda:0".into(), cause: "gone".into() }),
            Some(_) | None => Ok(()),
        }
    }

    fn measure(&mut self, pictures: &[Picture<'_>], _: &dyn Clock) -> Result<Batch, EngineError> {
        let pixels: Vec<u8> = pictures.iter().map(|picture| picture.pixels[0]).collect();
        self.batches.send(pixels.clone()).unwrap();
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
        self.clock.0.fetch_add(self.takes_ms, Relaxed);
        if pixels.contains(&FAILS) {
            return Err(EngineError::Failed("out of order".into()));
        }
        if pixels.contains(&LOSES_DEVICE) {
            return Err(EngineError::DeviceLost { device: "cuda:0".into(), cause: "gone".into() });
        }
        let measured = |pixel| {
            let score = match pixel {
                NAN => f64::NAN,
                INFINITE => f64::INFINITY,
                pixel => f64::from(pixel),
            };
            let map = AnomalyMap { width: 2, height: 1, values: vec![f32::from(pixel), 0.0] };
            Measured { score, map, cell_px: 32.0 }
        };
        Ok(Batch {
            measured: pixels.into_iter().map(measured).collect(),
            preprocess: Duration::from_millis(2),
            inference: Duration::from_millis(3),
        })
    }
}

/// Milliseconds, moved on by the detector.
#[derive(Clone)]
struct ManualClock(Arc<AtomicU64>);

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment { mono: Duration::from_millis(self.0.load(Relaxed)), utc: SystemTime::UNIX_EPOCH }
    }
}

fn rules(threshold: f64) -> Rules {
    rules_with(threshold, None)
}

fn product(threshold: f64) -> Product {
    Product {
        name: "tile".into(),
        file: "tile.toml".into(),
        bundle: "tile.csflow".into(),
        threshold: Threshold::new(threshold),
        guard_band: None,
        deadline: Duration::from_secs(1),
        map_threshold: Some(threshold),
        min_area_px: 0.0,
        mm_per_px: None,
        roi: None,
    }
}

fn calibration() -> Calibration {
    calibrate(&Evidence::ungrouped(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), Target::default(), Shortfall::Flag)
        .unwrap()
}

/// Of a bundle that was calibrated without an ROI.
fn whole() -> CalibratedRoi {
    CalibratedRoi::new(None, Grids { cells: vec![[1, 1]], steps: 8 }, ScoreKind::Mean)
}

fn rules_with(threshold: f64, roi: Option<Arc<Roi>>) -> Rules {
    let product = Product { roi, ..product(threshold) };
    Rules::new(&product, (calibration(), whole()), Recipe::default()).unwrap()
}

/// What became of frames with these pixels, threshold 10.
struct Run {
    answers: Vec<(u64, Judgement)>,
    batches: Vec<Vec<u8>>,
    /// Frames that nobody took up.
    left: usize,
    end: Result<(), DeviceLost>,
}

impl Run {
    fn outcomes(&self) -> Vec<Outcome> {
        self.answers.iter().map(|(_, judgement)| judgement.outcome).collect()
    }
}

fn run_on(pixels: &[u8], batch_max: usize) -> Run {
    run_with(pixels, batch_max, Surroundings { changes: &never(), meanwhile: None, takes_ms: 0 })
}

/// What happens beside the frames.
struct Surroundings<'a> {
    changes: &'a Receiver<Rules>,
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
    takes_ms: u64,
}

fn run_with(pixels: &[u8], batch_max: usize, surroundings: Surroundings<'_>) -> Run {
    let Surroundings { changes, meanwhile, takes_ms } = surroundings;
    let camera = CameraId::new("top").unwrap();
    let health = Health::new([camera.clone()]);
    let pool = BufferPool::new(0, 1);
    let (frames_in, frames) = bounded(pixels.len());
    for (number, &pixel) in (0..).zip(pixels) {
        let key = TriggerKey { camera: 0, number };
        let captured = Moment { mono: Duration::from_millis(1), utc: SystemTime::UNIX_EPOCH };
        let trigger = Trigger {
            key,
            camera: camera.clone(),
            published_number: 0,
            is_numbered_by_plc: false,
            part_id: None,
            captured,
        };
        let mut pixels = pool.take();
        pixels.push(pixel);
        let image = Image { size: SIZE, format: PixelFormat::Gray8, pixels };
        frames_in.send(Frame { trigger, image }).unwrap();
    }
    // The cameras have ended; what they left is still to be judged.
    drop(frames_in);
    let (batches_in, batches) = bounded(pixels.len());
    let (reports_in, reports) = bounded(pixels.len());
    let clock = ManualClock(Arc::new(AtomicU64::new(5)));
    let detector = Box::new(Scripted { batches: batches_in, meanwhile, clock: clock.clone(), takes_ms });
    let inspector = Inspector::new(detector, rules(10.0)).unwrap();
    let context = Context { frames: &frames, changes, reports: &reports_in, health: &health, clock: &clock };
    let end = judge_all(inspector, batch_max, context);
    drop(reports_in);
    let answers = reports.iter().map(|report| match report {
        Report::Closed { key, judgement } => (key.number, judgement),
        Report::Opened(_) | Report::Seen { .. } | Report::Deadline(_) => {
            panic!("inference neither opens nor sets deadlines")
        }
    });
    Run { answers: answers.collect(), batches: batches.iter().collect(), left: frames.len(), end }
}

#[test]
fn frames_are_judged_in_their_order_and_at_most_so_many_together() {
    let run = run_on(&[5, 20, 5, 5, 20], 2);
    assert_eq!(run.batches, [vec![5, 20], vec![5, 5], vec![20]]);
    assert_eq!(run.answers.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let (good, bad) = (Outcome::Good, Outcome::Anomalous);
    assert_eq!(run.outcomes(), [good, bad, good, good, bad]);
    assert!(run.end.is_ok());
}

#[test]
fn when_no_camera_is_left_it_ends() {
    assert!(run_on(&[], 4).end.is_ok());
}

#[test]
fn a_score_that_is_not_finite_is_never_good() {
    let run = run_on(&[5, NAN, INFINITE, 5], 4);
    let error = Outcome::NotInspected(Reason::ModelError);
    assert_eq!(run.outcomes(), [Outcome::Good, error, error, Outcome::Good]);
    for (_, judgement) in &run.answers[1..3] {
        assert_eq!((judgement.score, judgement.p_value), (None, None));
    }
}

#[test]
fn a_failure_is_an_answer_for_the_whole_batch_and_the_next_is_judged() {
    let run = run_on(&[5, FAILS, 5, 20], 2);
    let error = Outcome::NotInspected(Reason::ModelError);
    assert_eq!(run.outcomes(), [error, error, Outcome::Good, Outcome::Anomalous]);
    assert!(run.answers.iter().all(|(_, judgement)| judgement.recipe.is_some()));
    assert!(run.end.is_ok());
}

#[test]
fn a_lost_device_answers_for_its_batch_and_ends_the_thread_with_the_cause() {
    let run = run_on(&[5, 5, LOSES_DEVICE, 5, 5], 2);
    let lost = Outcome::NotInspected(Reason::DeviceLost);
    assert_eq!(run.outcomes(), [Outcome::Good, Outcome::Good, lost, lost]);
    assert_eq!(run.left, 1);
    let DeviceLost(cause) = run.end.unwrap_err();
    assert_eq!(cause.to_string(), "device cuda:0 lost: gone");
}

#[test]
fn new_rules_wait_for_the_batch_in_hand_and_hold_for_every_later_one() {
    let (rules_in, changes) = bounded(1);
    let meanwhile = Box::new(move || rules_in.send(rules(3.0)).unwrap());
    let run =
        run_with(&[5, 5, 5], 1, Surroundings { changes: &changes, meanwhile: Some(meanwhile), takes_ms: 0 });
    assert_eq!(run.outcomes(), [Outcome::Good, Outcome::Anomalous, Outcome::Anomalous]);
    let thresholds: Vec<_> = run.answers.iter().map(|(_, j)| j.recipe.as_ref().unwrap().threshold).collect();
    assert_eq!(thresholds, [10.0, 3.0, 3.0], "a verdict tells the rules that it was judged by");
}

/// The whole of a frame of this side.
fn drawn_on(side: u32) -> Arc<Roi> {
    Arc::new(Roi::new(Size { width: side, height: side }, &Shapes::default()).unwrap())
}

#[test]
fn an_roi_that_the_detector_cannot_take_over_leaves_nothing_judged_by_the_old_one() {
    for (side, reason) in [(FAILS_AT, Reason::ModelError), (LOST_AT, Reason::DeviceLost)] {
        let (rules_in, changes) = bounded(1);
        rules_in.send(rules_with(10.0, Some(drawn_on(side)))).unwrap();
        let run = run_with(&[5, 5], 2, Surroundings { changes: &changes, meanwhile: None, takes_ms: 0 });
        assert_eq!(run.outcomes(), [Outcome::NotInspected(reason); 2]);
        assert_eq!(run.batches, Vec::<Vec<u8>>::new(), "nothing is shown to the network");
        assert_eq!(run.end.is_err(), reason == Reason::DeviceLost);
    }
    // It takes over the next one.
    let (rules_in, changes) = bounded(2);
    rules_in.send(rules_with(10.0, Some(drawn_on(FAILS_AT)))).unwrap();
    rules_in.send(rules_with(10.0, Some(drawn_on(1)))).unwrap();
    let run = run_with(&[5], 1, Surroundings { changes: &changes, meanwhile: None, takes_ms: 0 });
    assert_eq!(run.outcomes(), [Outcome::Good]);
}

#[test]
fn under_another_roi_the_calibration_says_nothing() {
    let (rules_in, changes) = bounded(1);
    let other = rules_with(10.0, Some(drawn_on(1)));
    assert!(!other.limits.is_calibrated && rules(10.0).limits.is_calibrated);
    rules_in.send(other).unwrap();
    let run = run_with(&[5], 1, Surroundings { changes: &changes, meanwhile: None, takes_ms: 0 });
    assert_eq!((run.answers[0].1.score, run.answers[0].1.p_value), (Some(5.0), None));

    let product = Product { guard_band: None, roi: Some(drawn_on(1)), ..product(10.0) };
    let calibration = calibration().with_guard_band(0.5).unwrap();
    let band =
        |product: &Product| Limits::new(Some(product), &calibration, &whole()).unwrap().judge.guard_band();
    assert_eq!(band(&product), 0.0, "the bundle's is of other scores");
    assert_eq!(band(&Product { guard_band: Some(0.25), ..product.clone() }), 0.25);
    assert_eq!(band(&Product { roi: None, ..product }), 0.5);
}

#[test]
fn a_frame_that_the_roi_is_not_drawn_on_is_never_good() {
    for (side, outcome) in [(1, Outcome::Good), (2, Outcome::NotInspected(Reason::FrameCorrupt))] {
        let (rules_in, changes) = bounded(1);
        rules_in.send(rules_with(10.0, Some(drawn_on(side)))).unwrap();
        let run = run_with(&[5, 5], 4, Surroundings { changes: &changes, meanwhile: None, takes_ms: 0 });
        assert_eq!(run.outcomes(), [outcome; 2], "drawn on {side}x{side}");
        assert!(run.answers.iter().all(|(_, judgement)| judgement.recipe.is_some()));
    }
}

#[test]
fn when_the_station_stops_what_waits_is_judged_for_a_while_and_then_answered_unseen() {
    // Nobody is left who could change the rules: that is how a stop shows.
    let (_, changes) = bounded(0);
    let at_stop = |takes_ms| {
        run_with(&[5; 64], 1, Surroundings { changes: &changes, meanwhile: None, takes_ms }).outcomes()
    };
    assert_eq!(at_stop(0), [Outcome::Good; 64]);

    let outcomes = at_stop(600);
    let judged = outcomes.iter().take_while(|outcome| **outcome == Outcome::Good).count();
    assert!((1..64).contains(&judged), "{judged}");
    assert_eq!(outcomes[judged..], vec![Outcome::NotInspected(Reason::NotReady); 64 - judged]);
}

#[test]
fn an_answer_tells_where_the_time_went_and_where_the_defect_is() {
    let run = run_on(&[20], 1);
    let (_, judgement) = &run.answers[0];
    let ms = Duration::from_millis;
    let times = StageTimes { queue: ms(4), preprocess: ms(2), inference: ms(3), postprocess: Duration::ZERO };
    assert_eq!(judgement.times, times);
    assert_eq!((judgement.frame, judgement.score, judgement.p_value), (Some(SIZE), Some(20.0), Some(0.25)));
    assert_eq!((judgement.regions.total, judgement.regions.cell_px), (1, 32.0));
}
