//! Loading: what is found again lets a bundle in, and nothing else does.

mod on_cuda;

use tch::{Kind, Tensor};

use super::*;
use crate::clock::SystemClock;
use crate::frame::{PixelFormat, Size};
use crate::model::bundle::fixture::Fixture;

fn load(fixture: &Fixture) -> Result<Engine, LoadError> {
    load_in(fixture, Precision::F32, 0.0)
}

fn load_in(fixture: &Fixture, precision: Precision, guard_band: f64) -> Result<Engine, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.csflow");
    fixture.write(&file);
    let bundle = Bundle::read(&file)?;
    let judge = Judge::new(bundle.manifest.calibration.judge().threshold(), guard_band).unwrap();
    Engine::load(&bundle, How { device: Device::Cpu, precision, threads: 1, together: 1, judge })
}

#[test]
fn a_loaded_bundle_judges_pictures_of_any_size_and_colour_together() {
    let mut engine = load(&Fixture::new()).unwrap();
    let pixels: Vec<u8> = (0..=255).cycle().take(200 * 160 * 3).collect();
    let of = |format: PixelFormat, width, height| {
        let size = Size { width, height };
        Picture { size, format, pixels: &pixels[..size.pixels() * format.channels()] }
    };
    let pictures = [
        of(PixelFormat::Rgb8, 128, 128),
        of(PixelFormat::Gray8, 200, 160),
        of(PixelFormat::Bgr8, 33, 17),
        of(PixelFormat::Rgb8, 1, 1),
    ];
    let batch = engine.measure(&pictures, &SystemClock::start()).unwrap();
    assert_eq!(batch.measured.len(), 4);
    for (measured, cell_px) in batch.measured.iter().zip([32.0, 50.0, 8.25, 0.25]) {
        assert!(measured.score.is_finite() && measured.score >= 0.0, "{}", measured.score);
        assert_eq!((measured.map.width, measured.map.height), (32, 32));
        assert_eq!(measured.map.values.len(), 32 * 32);
        assert_eq!(measured.cell_px, cell_px);
    }
}

#[test]
fn a_bundle_whose_self_test_scores_are_not_found_again_is_refused() {
    for wrong in [0.0, 1e9] {
        let mut fixture = Fixture::new();
        fixture.manifest.self_test.scores[1] = wrong;
        let error = load(&fixture).unwrap_err();
        assert!(matches!(error, LoadError::SelfTest { index: 1, .. }), "{error}");
        assert!(error.to_string().contains(": self-test on cpu failed: picture 1 scores "), "{error}");
    }
    // Finite weights, and no finite score.
    let mut fixture = Fixture::new();
    fixture.manifest.architecture.flow.clamp = f64::MAX;
    assert!(matches!(load(&fixture).unwrap_err(), LoadError::SelfTest { index: 0, .. }));
}

#[test]
fn a_failure_of_the_network_is_an_error_and_not_a_panic() {
    let engine = load(&Fixture::new()).unwrap();
    let flat = Tensor::zeros([3, 128], (Kind::Uint8, tch::Device::Cpu));
    let error = engine.self_test_scores(&[flat]).unwrap_err();
    assert!(matches!(error, EngineError::Failed(_)), "{error}");
}

#[test]
fn a_picture_scores_the_same_alone_and_among_others() {
    let mut engine = load(&Fixture::new()).unwrap();
    assert_eq!(engine.kind(), EngineKind::Fused, "{:?}", engine.notes());
    let size = Size { width: 128, height: 128 };
    let pixels = [2_u8, 3, 5].map(|step| {
        let values = (0..=255_u8).cycle().map(|value| value.wrapping_mul(step));
        values.take(size.pixels() * 3).collect::<Vec<u8>>()
    });
    let pictures: Vec<Picture<'_>> =
        pixels.iter().map(|pixels| Picture { size, format: PixelFormat::Rgb8, pixels }).collect();
    let clock = SystemClock::start();
    let together = engine.measure(&pictures, &clock).unwrap().measured;
    for (&picture, together) in pictures.iter().zip(together) {
        assert_eq!(engine.measure_one(picture, &clock).unwrap(), together);
    }
}

#[test]
fn a_precision_that_moves_scores_too_far_is_refused_or_passed_over() {
    let fixture = Fixture::new();
    // Any shift is large against this guard band.
    let tight = 1e-12;
    let engine = load_in(&fixture, Precision::Auto, tight).unwrap();
    assert_eq!(engine.precision(), "f32");
    let error = load_in(&fixture, Precision::Bf16, tight).unwrap_err();
    assert!(matches!(error, LoadError::Precision(_)), "{error}");
    // A CPU without bf16 is not asked for it, and there is nothing to say.
    let was_tried = matches!(error, LoadError::Precision(PrecisionError::TooCoarse { .. }));
    assert!(was_tried || engine.notes().is_empty(), "{error}, {:?}", engine.notes());
    assert!(
        engine.notes().iter().all(|note| note.contains("too coarse for this bundle")),
        "{:?}",
        engine.notes()
    );
}

#[test]
fn a_precision_of_gpus_is_refused_on_a_cpu() {
    let error = load_in(&Fixture::new(), Precision::F16, 0.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "precision \"f16\" is for CUDA devices: on a CPU set \"auto\", \"f32\" or \"bf16\""
    );
}
