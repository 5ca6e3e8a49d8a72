//! From a verdict to the bytes that go to the broker.
//!
//! One thread. Expected: some 200 bytes of JSON with a dozen numbers, about a microsecond; a full record with 16 regions of 9
//! numbers is 160 numbers and 4 kB, 10 to 20 microseconds.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::Criterion;
use csflowd::clock::Moment;
use csflowd::frame::{CameraId, CaptureClock, PartId, Size, Trigger, TriggerKey};
use csflowd::publish::payload::{Origin, result, verdict};
use csflowd::verdict::regions::{Region, Regions};
use csflowd::verdict::{Judgement, Outcome, Recipe, StageTimes, Verdict};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("payload");
    let origin = Origin {
        station: "cell-2",
        product: "cover",
        boot_id: "01K7000000000000000000BOOT",
        config_sha256: "c0ffee",
    };
    for n_regions in [0, 1, 16] {
        let judged = judged(n_regions);
        group.bench_function(format!("verdict, {n_regions} regions"), |bencher| {
            bencher.iter(|| verdict::encode(&judged, judged.decided));
        });
        group.bench_function(format!("result, {n_regions} regions"), |bencher| {
            bencher.iter(|| result::encode(&judged, &origin, 7));
        });
    }
    group.finish();
    criterion.final_summary();
}

fn judged(n_regions: usize) -> Verdict {
    let region = Region {
        x: 500.0,
        y: 290.0,
        w: 24.0,
        h: 21.0,
        cx: 512.04,
        cy: 300.5,
        area_px: 504.0,
        peak: 31.512_345,
        mean: 9.876_543,
    };
    let captured = Moment {
        mono: Duration::from_secs(9),
        utc: SystemTime::UNIX_EPOCH + Duration::from_millis(1_760_000_000_123),
    };
    Verdict {
        seq: 123_456,
        trigger: Trigger {
            deadline: Duration::from_secs(1),
            key: TriggerKey { camera: 0, number: 123_456 },
            camera: CameraId::new("top").expect("a fitting name"),
            published_number: 123_456,
            is_numbered_by_plc: false,
            part_id: PartId::new("A1B2C3D4").ok(),
            captured,
            clock: CaptureClock::Arrival,
        },
        judgement: Judgement {
            outcome: Outcome::Anomalous,
            score: Some(12.345_678),
            p_value: Some(0.004_975),
            regions: Regions { worst: vec![region; n_regions], total: n_regions, cell_px: 160.0 },
            frame: Some(Size { width: 1280, height: 1024 }),
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
                mm_per_px: Some(0.05),
            })),
        },
        decided: Moment {
            mono: captured.mono + Duration::from_micros(23_400),
            utc: captured.utc + Duration::from_micros(23_400),
        },
        late: false,
    }
}
