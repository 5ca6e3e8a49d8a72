//! From a frame in memory to the network's input, as training has it; the daemon's resize, of the same integers, is the stage
//! `preprocess` of `csflowd bench`.
//!
//! Two cores of a server with AVX2 and up, f32, libtorch's default threads. Expected: the resize of 1280x1024 reads
//! 3.9 MB and makes about 10 million 8-bit products, 1 to 3 ms; a frame of the input's size is only normalised, 200 thousand
//! values in a few tenths of a millisecond; grey is no cheaper, since libtorch's 8-bit resize works on four channels whatever there are.

use criterion::{BatchSize, Criterion};
use csflowd::frame::{Picture, PixelFormat, Size};
use csflowd::model::preprocess::{Preprocess, to_input};
use tch::Device;

const INPUT_PX: i64 = 256;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("preprocess");
    for (format, width, height) in [
        (PixelFormat::Rgb8, 1280, 1024),
        (PixelFormat::Gray8, 1280, 1024),
        (PixelFormat::Rgb8, 2592, 1944),
        (PixelFormat::Rgb8, 256, 256),
    ] {
        let size = Size { width, height };
        let pixels: Vec<u8> = (0_u8..251).cycle().take(size.pixels() * format.channels()).collect();
        let picture = Picture { size, format, pixels: &pixels };
        group.bench_function(format!("{format:?} {size} to {INPUT_PX}"), |bencher| {
            bencher.iter_batched(
                Preprocess::known,
                |parameters| to_input(&[picture], INPUT_PX, &parameters, Device::Cpu),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
