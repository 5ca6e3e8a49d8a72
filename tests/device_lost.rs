//! A CUDA device that fails while it judges: an error that says so each time, and a process that goes on to its own end.
//!
//! A program of its own: what is lost is lost for the whole process.

#[cfg(test)]
mod tests {
    use csflowd::clock::SystemClock;
    use csflowd::config::engine::{Device, Precision};
    use csflowd::engine::detector::Detector;
    use csflowd::engine::{Engine, EngineError};
    use csflowd::frame::{Picture, PixelFormat, Size};
    use csflowd::model::preset::Preset;
    use tch::{Kind, Tensor};

    #[test]
    fn a_device_that_fails_is_lost_and_no_more_than_that() {
        let mut engine =
            match Engine::untrained(&Preset::Lite.architecture(), Device::Cuda(0), Precision::F16, 1) {
                Ok(engine) => engine,
                Err(error) => return println!("skipped: {error}"),
            };
        let (clock, size) = (SystemClock::start(), Size { width: 320, height: 240 });
        let pixels = vec![90; size.pixels() * 3];
        let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
        assert!(engine.measure(&[picture], &clock).unwrap().measured[0].score.is_finite());
        // A place that is not there: the device stops at it, for good.
        let device = tch::Device::Cuda(0);
        let (values, places) =
            (Tensor::zeros([4], (Kind::Float, device)), Tensor::from_slice(&[1_000_000_i64]));
        drop(values.f_index_select(0, &places.to_device(device)));
        for _ in 0..2 {
            let error = engine.measure(&[picture], &clock).unwrap_err();
            assert!(matches!(error, EngineError::DeviceLost { .. }), "{error}");
            assert!(error.to_string().starts_with("device cuda:0 lost: CUDA error"), "{error}");
        }
        drop(engine);
    }
}
