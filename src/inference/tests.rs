//! The thread against detectors that do what is written, in the thread of the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use crossbeam_channel::bounded;

use super::*;
use crate::appearance::limits::Own;
use crate::calibrate::evidence::Evidence;
use crate::calibrate::{Calibration, Shortfall, Target, calibrate};
use crate::clock::Moment;
use crate::engine::detector::{Batch, Measured};
use crate::frame::{
    BufferPool, CameraId, CaptureClock, Image, Lease, Picture, PixelFormat, Size, Trigger, TriggerKey,
};
use crate::inference::rules::Limits;
use crate::model::score::area::Grids;
use crate::model::score::scoring::ScoreKind;
use crate::roi::{Roi, Shapes};
use crate::verdict::regions::AnomalyMap;
use crate::verdict::{Judgement, Outcome, StageTimes, Threshold};

const SIZE: Size = Size { width: 1, height: 1 };

/// Of each frame; long enough for all that a test lets wait.
const DEADLINE: Duration = Duration::from_mins(1);

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
    clock: ManualClock,
    /// How long a batch takes.
    takes_ms: u64,
    /// Its first picture is to warm it.
    is_warm: bool,
}

impl Detector for Scripted {
    fn set_roi(&mut self, roi: Option<&Roi>) -> Result<(), EngineError> {
        match roi.map(|roi| roi.size().width) {
            Some(FAILS_AT) => Err(EngineError::Failed("no room".into())),
            Some(LOST_AT) => Err(EngineError::DeviceLost { device: "cuda:0".into(), cause: "gone".into() }),
            Some(_) | None => Ok(()),
        }
    }

    fn measure_into(
        &mut self,
        pictures: &[Picture<'_>],
        _: &dyn Clock,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let pixels: Vec<u8> = pictures.iter().map(|picture| picture.pixels[0]).collect();
        if std::mem::replace(&mut self.is_warm, true) {
            self.batches.send(pixels.clone()).unwrap();
            self.clock.0.fetch_add(self.takes_ms, Relaxed);
        }
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
        *batch = Batch {
            measured: pixels.into_iter().map(measured).collect(),
            preprocess: Duration::from_millis(2),
            inference: Duration::from_millis(3),
        };
        Ok(())
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
        image: Own::default(),
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
    Rules::new(&product, (calibration(), whole(), None), Recipe::default()).unwrap()
}

/// What became of frames with these pixels, threshold 10.
struct Run {
    answers: Vec<(u64, Judgement)>,
    batches: Vec<Vec<u8>>,
    notices: Vec<Notice>,
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
    let rounds: Vec<_> = pixels.iter().map(|&pixel| (pixel, 1)).collect();
    run_with(&rounds, batch_max, Surroundings { rules: vec![rules(10.0)], ..Surroundings::default() })
}

/// What there is beside the frames.
#[derive(Default)]
struct Surroundings {
    /// What each generation is judged by, from 1 on. The first comes with the network.
    rules: Vec<Rules>,
    takes_ms: u64,
    is_stopping: bool,
}

fn frame(camera: &CameraId, number: u64, pixel: u8, lease: Lease) -> Frame {
    let trigger = Trigger {
        key: TriggerKey { camera: 0, number },
        camera: camera.clone(),
        published_number: 0,
        is_numbered_by_plc: false,
        part_id: None,
        captured: Moment { mono: Duration::from_millis(1), utc: SystemTime::UNIX_EPOCH },
        clock: CaptureClock::Arrival,
        deadline: DEADLINE,
    };
    let mut pixels = BufferPool::new(0, 1).take();
    pixels.push(pixel);
    Frame { trigger, lease, image: Image { size: SIZE, format: PixelFormat::Gray8, pixels } }
}

/// Frames by their pixel and generation.
fn run_with(rounds: &[(u8, u64)], batch_max: usize, surroundings: Surroundings) -> Run {
    let Surroundings { rules, takes_ms, is_stopping } = surroundings;
    let camera = CameraId::new("top").unwrap();
    let health = Health::new([camera.clone()]);
    let (frames_in, frames) = bounded(rounds.len());
    let (batches_in, batches) = bounded(rounds.len() + 1);
    let (reports_in, reports) = bounded(rounds.len());
    let (changes_in, changes) = bounded(1);
    let (notices_in, notices) = bounded(16);
    let clock = ManualClock(Arc::new(AtomicU64::new(5)));
    let context = Context {
        notices: notices_in,
        reports: reports_in,
        health: &health,
        clock: &clock,
        hangs_at: None,
        events: None,
    };
    let mut bench = Bench::new(context);
    let detector = Scripted { batches: batches_in, clock: clock.clone(), takes_ms, is_warm: false };
    let mut first = Some(Box::new(detector));
    let mut leases = Vec::new();
    let mut end = Ok(());
    for (generation, rules) in (1..).map(Generation).zip(rules) {
        let lease = Lease::new(generation);
        let active = Active {
            lease: lease.clone(),
            recipe: Arc::clone(&rules.recipe),
            deadline: Duration::from_secs(1),
        };
        let ready = match first.take() {
            Some(detector) => Ready::Inspector(Inspector::new(detector, rules).unwrap()),
            None => Ready::Rules(rules),
        };
        end = end.and(bench.take_over(Change::Install { active, ready: Box::new(ready) }));
        leases.push(lease);
    }
    for (number, &(pixel, generation)) in (0..).zip(rounds) {
        let lease = leases[usize::try_from(generation).unwrap() - 1].clone();
        frames_in.send(frame(&camera, number, pixel, lease)).unwrap();
    }
    // The cameras have ended; what they left is still to be judged.
    drop((frames_in, leases));
    let changes_in = (!is_stopping).then_some(changes_in);
    let end = end.and_then(|()| judge_all(bench, batch_max, &frames, &changes));
    drop(changes_in);
    let answers = reports.try_iter().map(|report| match report {
        Report::Closed { key, judgement } => (key.number, judgement),
        Report::Opened(_) | Report::Seen { .. } => panic!("inference opens nothing"),
    });
    let answers = answers.collect();
    Run {
        answers,
        batches: batches.try_iter().collect(),
        notices: notices.try_iter().collect(),
        left: frames.len(),
        end,
    }
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
fn each_frame_is_judged_by_what_was_in_force_at_its_trigger() {
    let rules = vec![rules(10.0), rules(3.0)];
    let rounds = [(5, 1), (5, 2), (5, 1), (5, 1), (5, 2), (5, 2)];
    let run = run_with(&rounds, 4, Surroundings { rules, ..Surroundings::default() });
    let thresholds: Vec<_> = run.answers.iter().map(|(_, j)| j.recipe.as_ref().unwrap().threshold).collect();
    assert_eq!(thresholds, [10.0, 3.0, 10.0, 10.0, 3.0, 3.0]);
    let (good, bad) = (Outcome::Good, Outcome::Anomalous);
    assert_eq!(run.outcomes(), [good, bad, good, good, bad, bad]);
    assert_eq!(run.batches, [vec![5], vec![5], vec![5, 5], vec![5, 5]], "never two generations together");
}

#[test]
fn what_was_in_force_goes_when_its_last_frame_is_judged_and_not_before() {
    let rules = vec![rules(10.0), rules(3.0)];
    let run = run_with(&[(5, 2), (5, 1), (5, 2)], 1, Surroundings { rules, ..Surroundings::default() });
    assert_eq!(run.outcomes().len(), 3);
    let retired: Vec<_> = run.notices.iter().filter(|notice| matches!(notice, Notice::Retired(..))).collect();
    assert!(matches!(retired.as_slice(), [Notice::Retired(Generation(1), None)]), "{retired:?}");
}

/// The whole of a frame of this side.
fn drawn_on(side: u32) -> Arc<Roi> {
    Arc::new(Roi::new(Size { width: side, height: side }, &Shapes::default()).unwrap())
}

#[test]
fn an_roi_that_the_detector_cannot_take_over_changes_nothing() {
    let other = |side| vec![rules(10.0), rules_with(10.0, Some(drawn_on(side)))];
    let surroundings = Surroundings { rules: other(FAILS_AT), ..Surroundings::default() };
    let run = run_with(&[(5, 1), (20, 1)], 2, surroundings);
    assert_eq!(run.outcomes(), [Outcome::Good, Outcome::Anomalous]);
    assert!(matches!(&run.notices[..], [Notice::Installed(Ok(())), Notice::Installed(Err(_))]));

    let surroundings = Surroundings { rules: other(LOST_AT), ..Surroundings::default() };
    assert!(run_with(&[(5, 1)], 2, surroundings).end.is_err());
}

#[test]
fn under_another_roi_the_calibration_says_nothing() {
    let other = rules_with(10.0, Some(drawn_on(1)));
    assert!(!other.limits.is_calibrated && rules(10.0).limits.is_calibrated);
    let run = run_with(&[(5, 1)], 1, Surroundings { rules: vec![other], ..Surroundings::default() });
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
        let rules = vec![rules_with(10.0, Some(drawn_on(side)))];
        let run = run_with(&[(5, 1); 2], 4, Surroundings { rules, ..Surroundings::default() });
        assert_eq!(run.outcomes(), [outcome; 2], "drawn on {side}x{side}");
        assert!(run.answers.iter().all(|(_, judgement)| judgement.recipe.is_some()));
    }
}

#[test]
fn when_the_station_stops_what_waits_is_judged_for_a_while_and_then_answered_unseen() {
    // Nobody is left who could change anything: that is how a stop shows.
    let at_stop = |takes_ms| {
        run_with(&[(5, 1); 64], 1, Surroundings { rules: vec![rules(10.0)], takes_ms, is_stopping: true })
            .outcomes()
    };
    assert_eq!(at_stop(0), [Outcome::Good; 64]);

    let outcomes = at_stop(600);
    let judged = outcomes.iter().take_while(|outcome| **outcome == Outcome::Good).count();
    assert!((1..64).contains(&judged), "{judged}");
    assert_eq!(outcomes[judged..], vec![Outcome::NotInspected(Reason::NotReady); 64 - judged]);
}

#[test]
fn when_the_cameras_end_by_themselves_all_that_waits_is_judged() {
    let run = run_with(
        &[(5, 1); 64],
        1,
        Surroundings { rules: vec![rules(10.0)], takes_ms: 600, is_stopping: false },
    );
    assert_eq!(run.outcomes(), [Outcome::Good; 64]);
}

#[test]
fn what_has_waited_beyond_its_deadline_takes_no_time_from_those_behind_it() {
    // The second and the third frame are still in time when they are taken up; those after them are not.
    let surroundings = Surroundings { rules: vec![rules(10.0)], takes_ms: 25_000, is_stopping: false };
    let run = run_with(&[(5, 1); 8], 1, surroundings);
    assert_eq!(run.batches.len(), 3);
    assert_eq!(run.outcomes(), [Outcome::Good; 3], "the others have timed out");
    assert_eq!(run.left, 0);
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
