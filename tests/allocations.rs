//! What a frame costs in allocations, once a station has warmed up: none on the thread that judges, around the network, and for
//! each payload the bytes that the MQTT library takes.
//!
//! A program of its own: its allocator counts.

#![expect(unsafe_code, reason = "an allocator is")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use csflowd::appearance::limits;
use csflowd::bench::stream::{self, Stream};
use csflowd::calibrate::evidence::Evidence;
use csflowd::calibrate::{Shortfall, Target, calibrate};
use csflowd::clock::{Clock, Moment, SystemClock};
use csflowd::engine::EngineError;
use csflowd::engine::detector::{Batch, Detector, Measured};
use csflowd::frame::{CameraId, CaptureClock, Picture, Size, Trigger, TriggerKey};
use csflowd::inference::Inspector;
use csflowd::inference::rules::{Limits, Rules};
use csflowd::model::bundle::roi::CalibratedRoi;
use csflowd::model::preset::Preset;
use csflowd::model::score::area::Grids;
use csflowd::model::score::scoring::ScoreKind;
use csflowd::publish::payload::{Origin, result, verdict};
use csflowd::roi::Roi;
use csflowd::verdict::regions::{RegionRule, Regions};
use csflowd::verdict::{Judge, Judgement, Outcome, Recipe, StageTimes, Threshold, Verdict};

/// The system's, and how often each thread has asked it for memory.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it is; the counter neither allocates nor is dropped.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

/// How often `work` asks for memory on this thread.
fn asked<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ASKED.get();
    let made = work();
    (ASKED.get() - before, made)
}

/// Finds every picture good, and notes what the thread has asked for since the call before. Itself it asks for nothing.
struct Watching {
    rounds: Arc<Mutex<Vec<u64>>>,
    before: Option<u64>,
}

impl Detector for Watching {
    fn set_roi(&mut self, _: Option<&Roi>) -> Result<(), EngineError> {
        Ok(())
    }

    fn measure_into(
        &mut self,
        pictures: &[Picture<'_>],
        _: &dyn Clock,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        batch.measured.resize_with(pictures.len(), Measured::default);
        for measured in &mut batch.measured {
            measured.score = 0.5;
            measured.map.resize(64, 64);
            measured.map.values.fill(0.1);
            measured.cell_px = 20.0;
        }
        if let Some(before) = self.before {
            self.rounds.lock().expect("nobody panics").push(ASKED.get() - before);
        }
        self.before = Some(ASKED.get());
        Ok(())
    }
}

/// Good below 1, no region below 2.
fn rules(recipe: Recipe) -> Rules {
    let scores: Vec<f64> = (0..100).map(|i| f64::from(i) / 100.0).collect();
    let evidence = Evidence::ungrouped(&scores, &scores);
    let architecture = Preset::Lite.architecture();
    Rules {
        limits: Limits {
            judge: Judge::new(Threshold::new(1.0).expect("a number"), 0.0).expect("no guard band"),
            regions: RegionRule { map_threshold: 2.0, min_area_px: 0.0 },
            is_calibrated: true,
        },
        calibration: calibrate(&evidence, Target::default(), Shortfall::Flag).expect("a hundred parts"),
        calibrated_roi: CalibratedRoi::new(None, Grids::of(&architecture), ScoreKind::Mean),
        usual: None,
        image: limits::Limits::default(),
        roi: None,
        recipe: Arc::new(recipe),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_judges_asks_for_no_memory() {
        let rounds = Arc::new(Mutex::new(Vec::with_capacity(10_000)));
        let watching = Watching { rounds: Arc::clone(&rounds), before: None };
        let inspector = Inspector::new(Box::new(watching), rules(Recipe::default())).unwrap();
        let stream = Stream {
            frame: Size { width: 640, height: 480 },
            cameras: 2,
            rate_hz: 100.0,
            lasts: Duration::from_secs(2),
            deadline: Duration::from_secs(1),
            batch_max: 4,
            frame_queue: 8,
        };
        let account = stream::run(inspector, stream, &SystemClock::start()).unwrap();
        assert_eq!(account.triggers, account.verdicts);
        let rounds = rounds.lock().unwrap();
        assert!(rounds.len() > 50, "{} rounds of {} frames", rounds.len(), account.judged);
        // The first rounds make what is used again.
        let later = &rounds[rounds.len() / 4..];
        // Now and then a channel makes room for one more that waits.
        let of_channels = later.iter().filter(|&&asked| asked > 0).count();
        assert!(of_channels * 20 < later.len(), "{later:?}");
    }

    #[test]
    fn a_payload_costs_the_bytes_that_are_sent() {
        let at = Moment {
            mono: Duration::from_secs(5),
            utc: SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000),
        };
        let trigger = Trigger {
            key: TriggerKey { camera: 0, number: 7 },
            camera: CameraId::new("top").unwrap(),
            published_number: 7,
            is_numbered_by_plc: false,
            part_id: None,
            captured: at,
            clock: CaptureClock::Arrival,
            deadline: Duration::from_secs(1),
        };
        let recipe = Recipe {
            product: "cover".to_owned(),
            bundle_sha256: "3f9a1c2e".repeat(8),
            config_sha256: "c0ffee00".repeat(8),
            device: "cpu".to_owned(),
            threshold: 1.0,
            ..Recipe::default()
        };
        let judgement = Judgement {
            outcome: Outcome::Good,
            score: Some(0.123_456_789),
            p_value: Some(0.4),
            regions: Regions { cell_px: 20.0, ..Regions::default() },
            frame: Some(Size { width: 1280, height: 1024 }),
            times: StageTimes::default(),
            recipe: Some(Arc::new(recipe)),
        };
        let judged = Verdict { seq: 123_456, trigger, judgement, decided: at, late: false };
        let origin = Origin { station: "cell-2", product: "cover", boot_id: "01K7", config_sha256: "c0ffee" };
        let (of_verdict, bytes) = asked(|| verdict::encode(&judged, at));
        assert_eq!(of_verdict, 1, "{}", String::from_utf8_lossy(&bytes));
        let (of_result, bytes) = asked(|| result::encode(&judged, &origin, 7));
        assert_eq!(of_result, 1, "{}", String::from_utf8_lossy(&bytes));
    }
}
