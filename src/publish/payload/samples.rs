//! Verdicts for tests: one of each kind, the largest that can be, and any.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::{collection, option, sample};

use super::Origin;
use crate::clock::Moment;
use crate::frame::{CameraId, CaptureClock, PartId, Size, Trigger, TriggerKey};
use crate::verdict::regions::{MAX_REGIONS, Region, Regions};
use crate::verdict::{Judgement, Outcome, Reason, Recipe, StageTimes, Verdict};

pub(super) const ORIGIN: Origin<'_> = Origin {
    station: "cell-2",
    product: "cover",
    boot_id: "01K7000000000000000000BOOT",
    config_sha256: "c0ffee",
};

pub(super) fn moment(ms: u64) -> Moment {
    let utc = SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000) + Duration::from_millis(ms);
    Moment { mono: Duration::from_millis(ms), utc }
}

pub(super) fn good() -> Verdict {
    verdict(Outcome::Good, Some(8.25), Regions { cell_px: 32.0, ..Regions::default() })
}

pub(super) fn anomalous() -> Verdict {
    let region = |x: f64, peak: f64| Region {
        x,
        y: 290.0,
        w: 24.0,
        h: 21.0,
        cx: x + 12.04,
        cy: 300.5,
        area_px: 504.0,
        peak,
        mean: peak / 3.0,
    };
    let worst = vec![region(500.0, 31.5), region(96.0, 14.0)];
    let mut verdict =
        verdict(Outcome::Anomalous, Some(12.345_678), Regions { worst, total: 2, cell_px: 32.0 });
    verdict.trigger.part_id = Some(PartId::new("A1B2C3D4").unwrap());
    let recipe = verdict.judgement.recipe.as_mut().expect("given above");
    Arc::get_mut(recipe).expect("not shared yet").mm_per_px = Some(0.05);
    verdict
}

pub(super) fn not_inspected() -> Verdict {
    let mut verdict = good();
    verdict.judgement = Judgement::not_inspected(Reason::FrameDropped, None);
    verdict
}

/// Every text and every number as long as it can be.
pub(super) fn largest() -> Verdict {
    let (long, tiny) = (-123_456_789.123_456, -1.234_567_890_123_456e-300);
    let region = Region {
        x: long,
        y: long,
        w: long,
        h: long,
        cx: long,
        cy: long,
        area_px: long,
        peak: tiny,
        mean: tiny,
    };
    let worst = vec![region; MAX_REGIONS];
    let mut verdict =
        verdict(Outcome::Undecidable, Some(tiny), Regions { worst, total: usize::MAX, cell_px: 12_345.6 });
    verdict.seq = u64::MAX;
    verdict.trigger.published_number = u32::MAX;
    verdict.trigger.part_id = Some(PartId::new(&"p".repeat(64)).unwrap());
    verdict.trigger.camera = CameraId::new(&"c".repeat(32)).unwrap();
    verdict.judgement.recipe = Some(Arc::new(Recipe {
        product: "ü".repeat(64),
        bundle_sha256: "f".repeat(64),
        config_sha256: "c0ffee".into(),
        threshold: tiny,
        guard_band: tiny,
        device: "d".repeat(80),
        engine: "plain",
        precision: "bf16",
        mm_per_px: Some(1.0),
    }));
    verdict
}

fn verdict(outcome: Outcome, score: Option<f64>, regions: Regions) -> Verdict {
    Verdict {
        seq: 123_456,
        trigger: Trigger {
            key: TriggerKey { camera: 0, number: 7 },
            camera: CameraId::new("top").unwrap(),
            published_number: 7,
            is_numbered_by_plc: false,
            part_id: None,
            captured: moment(123),
            clock: CaptureClock::Arrival,
            deadline: Duration::from_secs(1),
        },
        judgement: Judgement {
            outcome,
            score,
            p_value: Some(0.004_975_124_4),
            regions,
            frame: Some(Size { width: 1024, height: 768 }),
            times: StageTimes {
                queue: Duration::from_micros(310),
                preprocess: Duration::from_micros(2_045),
                inference: Duration::from_micros(18_500),
                postprocess: Duration::from_micros(400),
            },
            recipe: Some(Arc::new(Recipe {
                product: "cover".into(),
                bundle_sha256: "3f9a1c2e".repeat(8),
                config_sha256: "c0ffee".into(),
                threshold: 10.5,
                guard_band: 0.5,
                device: "cpu".into(),
                engine: "fused",
                precision: "f32",
                mm_per_px: None,
            })),
        },
        decided: moment(146),
        late: false,
    }
}

/// Any verdict, also such as no judge would give.
pub(super) fn any_verdict() -> impl Strategy<Value = Verdict> {
    let number = || prop_oneof![any::<f64>(), 0.0..100.0];
    let region = prop::array::uniform9(number()).prop_map(|[x, y, w, h, cx, cy, area_px, peak, mean]| {
        Region { x, y, w, h, cx, cy, area_px, peak, mean }
    });
    let outcome = prop_oneof![
        Just(Outcome::Good),
        Just(Outcome::Anomalous),
        Just(Outcome::Undecidable),
        sample::select(&Reason::ALL[..]).prop_map(Outcome::NotInspected),
    ];
    let regions = (collection::vec(region, 0..=MAX_REGIONS), any::<u16>(), number());
    let recipe = option::of((any::<String>(), "[0-9a-f]{64}", number(), number(), option::of(number())));
    let part = option::of("[ !#-\\[\\]-~]{1,64}");
    let times = (0..4_000_000_000_000_u64, 0..100_000_u64);
    ((any::<u64>(), any::<u32>(), part, times), outcome, option::of(number()), regions, recipe, any::<bool>())
        .prop_map(
            |((seq, trig, part, (captured, took)), outcome, score, (worst, more, cell_px), recipe, late)| {
                let total = worst.len() + usize::from(more);
                let mut verdict = verdict(outcome, score, Regions { worst, total, cell_px });
                (verdict.seq, verdict.late) = (seq, late);
                verdict.trigger.published_number = trig;
                verdict.trigger.part_id = part.map(|part| PartId::new(&part).unwrap());
                verdict.trigger.captured = moment(captured);
                verdict.decided = moment(captured + took);
                verdict.judgement.recipe =
                    recipe.map(|(product, bundle_sha256, threshold, guard_band, mm_per_px)| {
                        let (device, engine, precision) = ("cuda:0".into(), "plain", "f16");
                        Arc::new(Recipe {
                            product,
                            bundle_sha256,
                            config_sha256: "c0ffee".into(),
                            threshold,
                            guard_band,
                            device,
                            engine,
                            precision,
                            mm_per_px,
                        })
                    });
                verdict
            },
        )
}
