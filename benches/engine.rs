//! The lite network as the daemon runs it: pictures of the input's size to scores and maps, on the CPU.
//!
//! Two cores of a server with AVX2 and up, f32, libtorch's default threads. The weights are untrained, which changes nothing
//! about the time. Expected for one picture: the backbone takes 0.66 billion multiplications at 256 pixels and its two
//! smaller copies, the flow 0.29, together 1.9 GFLOP; libtorch's convolutions reach 40 to 60 GFLOP/s on two such cores, and
//! depthwise ones are bound by memory: 30 to 60 ms. Batches save little on a CPU.

use criterion::Criterion;
use csflowd::clock::SystemClock;
use csflowd::engine::{Detector, Engine};
use csflowd::frame::{Picture, PixelFormat, Size};
use csflowd::model::network::Network;
use csflowd::model::preprocess::Preprocess;
use csflowd::model::preset::Preset;
use tch::Device;

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let mut group = criterion.benchmark_group("engine");
    let architecture = Preset::Lite.architecture();
    let side = u32::try_from(architecture.input_px).expect("a size");
    let network = Network::untrained(&architecture, Device::Cpu);
    let mut engine = Engine::new(network, Preprocess::known(), "cpu".into());
    let clock = SystemClock::start();
    let size = Size { width: side, height: side };
    let pixels: Vec<u8> = (0_u8..251).cycle().take(size.pixels() * 3).collect();
    let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
    for batch in [1, 4] {
        let pictures = vec![picture; batch];
        // The first runs pick kernels; criterion's warm-up swallows them.
        group.bench_function(format!("lite {size}, {batch} together"), |bencher| {
            bencher.iter(|| engine.measure(&pictures, &clock).expect("the network runs"));
        });
    }
    group.finish();
    criterion.final_summary();
}
