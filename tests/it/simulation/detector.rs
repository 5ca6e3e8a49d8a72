//! The network of the simulation: it reads the number of the shot from the picture, and scores by the script.

use std::sync::Arc;
use std::time::Duration;

use csflowd::calibrate::evidence::Evidence;
use csflowd::calibrate::{Shortfall, Target, calibrate};
use csflowd::clock::Clock;
use csflowd::config::product::Product;
use csflowd::engine::{Batch, Detector, EngineError, Measured};
use csflowd::frame::{BufferPool, Image, Picture, PixelFormat, Size};
use csflowd::inference::rules::Rules;
use csflowd::model::bundle::roi::CalibratedRoi;
use csflowd::model::score::area::Grids;
use csflowd::model::score::scoring::ScoreKind;
use csflowd::roi::Roi;
use csflowd::verdict::regions::AnomalyMap;
use csflowd::verdict::{Recipe, Threshold};

use super::script::Class;

pub(crate) const GUARD_BAND: f64 = 1.0;

/// A score is that of the class and so much for each shot before it.
const STEP: f64 = 1.0 / 1024.0 / 1024.0;

/// The picture of this shot.
pub(crate) fn picture(shot: usize, pool: &BufferPool) -> Image {
    let mut pixels = pool.take();
    pixels.extend_from_slice(&u32::try_from(shot).unwrap().to_le_bytes());
    Image { size: Size { width: 4, height: 1 }, format: PixelFormat::Gray8, pixels }
}

/// What the network finds in a shot: no two have the same score. None if it finds none.
pub(crate) fn score(class: Class, shot: usize) -> Option<f64> {
    let base = match class {
        Class::Good => 1.0,
        Class::Middling => 12.0,
        Class::Anomalous => 30.0,
        Class::NotANumber | Class::Fails | Class::LosesDevice | Class::Damaged => return None,
    };
    Some(base + f64::from(u32::try_from(shot).unwrap()) * STEP)
}

/// Which generations find a middling part good?
pub(crate) fn threshold(generation: usize) -> f64 {
    [10.0, 15.0, 12.5, 20.0][generation]
}

pub(crate) fn product(generation: usize) -> String {
    format!("product-{generation}")
}

/// The other way round.
pub(crate) fn generation(product: &str) -> usize {
    product.strip_prefix("product-").unwrap().parse().unwrap()
}

pub(crate) fn rules(generation: usize, deadline: Duration) -> Rules {
    let product = Product {
        name: product(generation),
        file: "product.toml".into(),
        bundle: "product.csflow".into(),
        threshold: Threshold::new(threshold(generation)),
        guard_band: Some(GUARD_BAND),
        deadline,
        map_threshold: Some(threshold(generation)),
        min_area_px: 0.0,
        mm_per_px: None,
        roi: None,
    };
    let evidence = Evidence::ungrouped(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]);
    let calibration = calibrate(&evidence, Target::default(), Shortfall::Flag).unwrap();
    let whole = CalibratedRoi::new(None, Grids { cells: vec![[1, 1]], steps: 8 }, ScoreKind::Mean);
    Rules::new(&product, (calibration, whole), Recipe::default()).unwrap()
}

/// Knows the classes of all shots.
#[derive(Debug)]
pub(crate) struct Scripted(pub(crate) Arc<[Class]>);

impl Detector for Scripted {
    fn set_roi(&mut self, _: Option<&Roi>) -> Result<(), EngineError> {
        Ok(())
    }

    fn measure(&mut self, pictures: &[Picture<'_>], _: &dyn Clock) -> Result<Batch, EngineError> {
        // The first picture warms the network and shows nothing.
        if pictures.iter().any(|picture| picture.pixels.len() != 4) {
            let map = AnomalyMap { width: 1, height: 1, values: vec![0.0] };
            let measured = vec![Measured { score: 0.0, map, cell_px: 2.0 }];
            return Ok(Batch { measured, preprocess: Duration::ZERO, inference: Duration::ZERO });
        }
        let shot = |picture: &Picture<'_>| u32::from_le_bytes(picture.pixels.try_into().unwrap()) as usize;
        let measured =
            pictures.iter().map(|picture| self.measured(shot(picture))).collect::<Result<_, _>>()?;
        Ok(Batch { measured, preprocess: Duration::ZERO, inference: Duration::ZERO })
    }
}

impl Scripted {
    fn measured(&self, shot: usize) -> Result<Measured, EngineError> {
        let class = self.0[shot];
        if class == Class::Fails {
            return Err(EngineError::Failed("out of order".into()));
        }
        if class == Class::LosesDevice {
            return Err(EngineError::DeviceLost { device: "cuda:0".into(), cause: "gone".into() });
        }
        let score = score(class, shot).unwrap_or(f64::NAN);
        let peak = if class == Class::Anomalous { 30.0 } else { 1.0 };
        let map = AnomalyMap { width: 2, height: 1, values: vec![peak, 0.0] };
        Ok(Measured { score, map, cell_px: 2.0 })
    }
}
