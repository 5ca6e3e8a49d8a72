//! The lite network as the daemon runs it: pictures of the input's size to scores and maps, on the CPU; the plain network
//! and the engines in the same run, so that their ratio holds on any machine.
//!
//! The weights are untrained, which changes nothing about the time. Expected for one picture: the backbone takes 0.66
//! billion multiplications at 256 pixels and its two smaller copies, the flow 0.29, together 1.9 GFLOP. Plain convolutions
//! reach 40 to 60 GFLOP/s on two cores with AVX2 and up, and order their weights anew at each call: 30 to 60 ms. The
//! rewritten network makes 200 calls of oneDNN, a microsecond or two each, and computes at 70 to 100 GFLOP/s a core where maps
//! are large: 20 to 30 ms in f32, half of that in bf16 where the CPU has it. Pictures judged together go through one by one.

use criterion::Criterion;
use csflowd::clock::SystemClock;
use csflowd::config::engine::{Device, Precision};
use csflowd::engine::Engine;
use csflowd::engine::detector::Detector;
use csflowd::frame::{Picture, PixelFormat, Size};
use csflowd::model::network::Network;
use csflowd::model::preprocess::{self, Preprocess};
use csflowd::model::preset::Preset;

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let mut group = criterion.benchmark_group("engine");
    let architecture = Preset::Lite.architecture();
    let side = u32::try_from(architecture.input_px).expect("a size");
    let clock = SystemClock::start();
    let size = Size { width: side, height: side };
    let pixels: Vec<u8> = (0_u8..251).cycle().take(size.pixels() * 3).collect();
    let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
    let network = Network::untrained(&architecture, tch::Device::Cpu);
    for batch in [1, 4] {
        let pictures = vec![picture; batch];
        // The first runs pick kernels; criterion's warm-up swallows them.
        group.bench_function(format!("lite {size}, {batch} together, plain f32"), |bencher| {
            let _guard = tch::no_grad_guard();
            bencher.iter(|| {
                let known = Preprocess::known();
                let input = preprocess::to_input(&pictures, side.into(), &known, tch::Device::Cpu);
                network.read(&input).scores.double_value(&[0])
            });
        });
        for precision in [Precision::F32, Precision::Bf16] {
            // A CPU may have no bf16.
            let Ok(mut engine) = Engine::untrained(&architecture, Device::Cpu, precision, batch) else {
                continue;
            };
            let name = format!("{} {}", engine.kind().name(), engine.precision());
            group.bench_function(format!("lite {size}, {batch} together, {name}"), |bencher| {
                bencher.iter(|| engine.measure(&pictures, &clock).expect("the network runs"));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
