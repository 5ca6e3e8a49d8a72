//! What it costs to see whether a picture is usable: brightness, clipping, sharpness, shift, and whether it is the last one
//! again.
//!
//! One core of a server with AVX2. Expected: the look reads 192 x 192 pixels and their two neighbours, some 100,000 byte
//! reads at about a nanosecond each, whatever the picture's size: 0.1 ms, more where each read misses the cache. The
//! checksum reads 256 whole rows at some GB/s: 1 MB, 0.1 ms, for 1280x1024 RGB.

use criterion::Criterion;
use csflowd::appearance::Look;
use csflowd::appearance::limits::{Limits, Own};
use csflowd::appearance::usual::Usual;
use csflowd::frame::{Picture, PixelFormat, Size};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("appearance");
    for (format, width, height) in [
        (PixelFormat::Gray8, 640, 480),
        (PixelFormat::Rgb8, 1280, 1024),
        (PixelFormat::Gray8, 4096, 3000),
        (PixelFormat::Rgb8, 4096, 3000),
    ] {
        let size = Size { width, height };
        let pixels: Vec<u8> = (0_u8..251).cycle().take(size.pixels() * format.channels()).collect();
        let picture = Picture { size, format, pixels: &pixels };
        let usual = Usual::of(&[Look::at(picture)]);
        let limits = Limits::new(usual.as_ref(), Own::default());
        group.bench_function(format!("look at {format:?} {size}"), |bencher| {
            bencher.iter(|| limits.oddity(&Look::at(picture)));
        });
        group.bench_function(format!("checksum of {format:?} {size}"), |bencher| {
            bencher.iter(|| csflowd::intake::frozen::checksum(picture));
        });
    }
    group.finish();
    criterion.final_summary();
}
