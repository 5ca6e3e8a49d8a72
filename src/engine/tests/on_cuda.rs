//! The same on a CUDA device, where there is one.

use super::*;
use crate::cuda::devices::{Devices, devices};
use crate::engine::detector::Measured;
use crate::roi::Shapes;

/// None without a device.
fn device() -> Option<Devices> {
    Some(devices()).filter(|devices| devices.len() > 1)
}

fn on(device: Device, precision: Precision, together: usize) -> Engine {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.csflow");
    Fixture::new().write(&file);
    let bundle = Bundle::read(&file).unwrap();
    let judge = Judge::new(bundle.manifest.calibration.judge().threshold(), 0.0).unwrap();
    Engine::load(&bundle, How { device, precision, threads: 1, together, judge }).unwrap()
}

/// Pictures of several sizes and formats.
struct Pictures(Vec<(Size, PixelFormat, Vec<u8>)>);

impl Pictures {
    fn new() -> Self {
        let of = |(step, (width, height), format): (u8, (u32, u32), PixelFormat)| {
            let size = Size { width, height };
            let values = (0..=255_u8).cycle().map(|value| value.wrapping_mul(step));
            (size, format, values.take(size.pixels() * format.channels()).collect())
        };
        Self(
            [
                (2, (128, 128), PixelFormat::Rgb8),
                (3, (200, 160), PixelFormat::Gray8),
                (5, (33, 17), PixelFormat::Bgr8),
                (7, (640, 480), PixelFormat::Rgb8),
                (11, (128, 128), PixelFormat::Rgb8),
            ]
            .map(of)
            .into(),
        )
    }

    /// The first so many.
    fn first(&self, count: usize) -> Vec<Picture<'_>> {
        self.0[..count]
            .iter()
            .map(|(size, format, pixels)| Picture { size: *size, format: *format, pixels })
            .collect()
    }
}

#[track_caller]
fn assert_close(found: &[Measured], expected: &[Measured], tolerance: f64, about: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let apart = (found.score - expected.score).abs() / expected.score;
        assert!(apart <= tolerance, "{about}: {} instead of {}", found.score, expected.score);
        let largest = expected.map.values.iter().fold(0.0_f32, |most, &value| most.max(value));
        for (found, expected) in found.map.values.iter().zip(&expected.map.values) {
            let apart = f64::from((found - expected).abs() / largest);
            assert!(apart <= 10.0 * tolerance, "{about}: in the map {found} instead of {expected}");
        }
    }
}

#[test]
fn it_says_what_the_cpu_does_in_each_precision_recorded_or_not() {
    let Some(_device) = device() else { return };
    let (clock, pictures) = (SystemClock::start(), Pictures::new());
    let expected = on(Device::Cpu, Precision::F32, 0).measure(&pictures.first(5), &clock).unwrap().measured;
    for (precision, tolerance) in
        [(Precision::F32, 1e-4), (Precision::Tf32, 0.01), (Precision::Bf16, 0.01), (Precision::F16, 0.01)]
    {
        for (together, kind) in [(0, EngineKind::Fused), (3, EngineKind::Graph), (2, EngineKind::Graph)] {
            let mut engine = on(Device::Cuda(0), precision, together);
            assert_eq!((engine.kind(), engine.notes()), (kind, &[][..]), "{precision:?}");
            // More than were recorded, too, in parts that one recording makes.
            for count in [1, 3, 2, 5, 1] {
                let found = engine.measure(&pictures.first(count), &clock).unwrap().measured;
                assert_close(&found, &expected[..count], tolerance, &format!("{precision:?}, {kind:?}"));
                let again = engine.measure(&pictures.first(count), &clock).unwrap().measured;
                assert_eq!(found, again, "{precision:?}, {kind:?}, {count} together");
            }
        }
    }
}

#[test]
fn a_network_is_loaded_beside_one_that_judges() {
    let Some(_device) = device() else { return };
    let (clock, pictures) = (SystemClock::start(), Pictures::new());
    let mut judging = on(Device::Cuda(0), Precision::F32, 2);
    let expected = judging.measure(&pictures.first(2), &clock).unwrap().measured;
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| on(Device::Cuda(0), Precision::F16, 2));
        let mut runs = 0;
        while !loading.is_finished() || runs < 10 {
            assert_eq!(judging.measure(&pictures.first(2), &clock).unwrap().measured, expected);
            runs += 1;
        }
        let mut second = loading.join().unwrap();
        assert_eq!((second.kind(), second.notes()), (EngineKind::Graph, &[][..]));
        let found = second.measure(&pictures.first(2), &clock).unwrap().measured;
        assert_close(&found, &expected, 0.01, "the second");
    });
}

#[test]
fn the_roi_changes_what_is_recorded_and_changes_back() {
    let Some(_device) = device() else { return };
    let (clock, pictures) = (SystemClock::start(), Pictures::new());
    let [mut gpu, mut cpu] = [Device::Cuda(0), Device::Cpu].map(|device| on(device, Precision::F32, 1));
    let whole = gpu.measure(&pictures.first(1), &clock).unwrap().measured;
    let polygon = vec![[20.0, 20.0], [100.0, 20.0], [100.0, 90.0]];
    let shapes = Shapes { include: vec![polygon], ..Shapes::default() };
    let roi = Roi::new(Size { width: 128, height: 128 }, &shapes).unwrap();
    for roi in [Some(&roi), None] {
        gpu.set_roi(roi).unwrap();
        cpu.set_roi(roi).unwrap();
        let found = gpu.measure(&pictures.first(1), &clock).unwrap().measured;
        let expected = cpu.measure(&pictures.first(1), &clock).unwrap().measured;
        assert_close(&found, &expected, 1e-4, "with an ROI or without");
        assert_eq!(found == whole, roi.is_none());
    }
}
