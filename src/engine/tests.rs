//! Loading: what is found again lets a bundle in, and nothing else does.

use super::*;
use crate::clock::SystemClock;
use crate::frame::{PixelFormat, Size};
use crate::model::bundle::fixture::Fixture;

fn load(fixture: &Fixture) -> Result<Engine, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.csflow");
    fixture.write(&file);
    Engine::load(&Bundle::read(&file)?, Device::Cpu)
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
