//! From an anomaly map to defect regions, and to a map of the frame's size.
//!
//! One thread. Expected: a map of 64x64 without a cell over the threshold is one pass over 16 kB, a few microseconds; with
//! regions it is labelled and summed cell by cell, tens of microseconds; noise is the worst, with hundreds of regions.
//! Resizing to 1280x1024, which the daemon never does, mixes 1.3 million pixels from four cells each: a few milliseconds.

use criterion::Criterion;
use csflowd::frame::Size;
use csflowd::verdict::regions::{AnomalyMap, RegionRule, find};

const SIDE: usize = 64;
const FRAME: Size = Size { width: 1280, height: 1024 };

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("regions");
    let rule = RegionRule { map_threshold: 1.0, min_area_px: 0.0 };
    for (name, map) in [
        ("none in", map(|_, _| 0.5)),
        ("three in", map(|x, y| if y % 24 < 9 && x % 40 < 12 { 3.0 } else { 0.5 })),
        ("noise in", map(|x, y| if (x * 7919 + y * 104_729) % 11 < 4 { 2.0 } else { 0.0 })),
    ] {
        group.bench_function(format!("{name} {SIDE}x{SIDE}"), |bencher| {
            bencher.iter(|| find(&map, FRAME, rule));
        });
    }
    let (width, height) = (FRAME.width as usize, FRAME.height as usize);
    let smooth = map(|x, y| if x > y { 1.0 } else { 0.0 });
    group.bench_function(format!("resize {SIDE}x{SIDE} to {FRAME}"), |bencher| {
        bencher.iter(|| smooth.resized(width, height));
    });
    group.finish();
    criterion.final_summary();
}

fn map(value: impl Fn(usize, usize) -> f32) -> AnomalyMap {
    let values = (0..SIDE * SIDE).map(|i| value(i % SIDE, i / SIDE)).collect();
    AnomalyMap { width: SIDE, height: SIDE, values }
}
