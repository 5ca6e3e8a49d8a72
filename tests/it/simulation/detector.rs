//! The network of the simulation: it reads the number of the shot from the picture, and scores by the script.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use csflowd::appearance::limits::Own;
use csflowd::calibrate::evidence::Evidence;
use csflowd::calibrate::{Shortfall, Target, calibrate};
use csflowd::clock::Clock;
use csflowd::config::product::Product;
use csflowd::engine::EngineError;
use csflowd::engine::detector::{Batch, Detector, Measured};
use csflowd::frame::{BufferPool, Image, Picture, PixelFormat, Size};
use csflowd::inference::rules::Rules;
use csflowd::model::bundle::roi::CalibratedRoi;
use csflowd::model::score::area::Grids;
use csflowd::model::score::scoring::ScoreKind;
use csflowd::roi::Roi;
use csflowd::verdict::regions::AnomalyMap;
use csflowd::verdict::{Recipe, Threshold};

use super::script::{Class, Shot};

pub(crate) const GUARD_BAND: f64 = 1.0;

/// A score is that of the class, and so much for each shot before it and each network.
const STEP: f64 = 1.0 / 1024.0 / 1024.0;

pub(crate) const NETWORKS: usize = 2;

/// The picture of this shot.
pub(crate) fn picture(shot: usize, pool: &BufferPool) -> Image {
    let mut pixels = pool.take();
    pixels.extend_from_slice(&u32::try_from(shot).unwrap().to_le_bytes());
    Image { size: Size { width: 4, height: 1 }, format: PixelFormat::Gray8, pixels }
}

/// What a network finds in a shot: no two shots, and no two networks, have the same score. None if it finds none.
pub(crate) fn score(class: Class, shot: usize, network: usize) -> Option<f64> {
    let base = match class {
        Class::Good => 1.0,
        Class::Middling => 12.0,
        Class::Anomalous => 30.0,
        Class::NotANumber | Class::Fails | Class::LosesDevice | Class::Damaged => return None,
    };
    let steps = shot * NETWORKS + network;
    Some(base + f64::from(u32::try_from(steps).unwrap()) * STEP)
}

/// Which products find a middling part good?
pub(crate) fn threshold(product: usize) -> f64 {
    [10.0, 15.0, 12.5, 20.0][product]
}

/// Two products each have the same network.
pub(crate) fn network(product: usize) -> usize {
    product / 2 % NETWORKS
}

pub(crate) fn name(product: usize) -> String {
    format!("product-{product}")
}

/// The other way round.
pub(crate) fn number(name: &str) -> usize {
    name.strip_prefix("product-").unwrap().parse().unwrap()
}

pub(crate) fn product(product: usize, deadline: Duration) -> Product {
    Product {
        name: name(product),
        file: "product.toml".into(),
        bundle: format!("network-{}.csflow", network(product)).into(),
        threshold: Threshold::new(threshold(product)),
        guard_band: Some(GUARD_BAND),
        deadline,
        map_threshold: Some(threshold(product)),
        min_area_px: 0.0,
        mm_per_px: None,
        roi: None,
        image: Own::default(),
    }
}

pub(crate) fn rules(product: &Product) -> Rules {
    let evidence = Evidence::ungrouped(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]);
    let calibration = calibrate(&evidence, Target::default(), Shortfall::Flag).unwrap();
    let whole = CalibratedRoi::new(None, Grids { cells: vec![[1, 1]], steps: 8 }, ScoreKind::Mean);
    Rules::new(product, (calibration, whole, None), Recipe::default()).unwrap()
}

/// A network, which knows all shots.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) shots: Arc<[Shot]>,
    pub(crate) network: usize,
    pub(crate) fails_warm: bool,
    pub(crate) _in_memory: InMemory,
}

/// Counts the networks in memory: each holds one of these.
#[derive(Debug)]
pub(crate) struct InMemory(Arc<AtomicUsize>);

impl InMemory {
    pub(crate) fn one_of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Detector for Scripted {
    fn set_roi(&mut self, _: Option<&Roi>) -> Result<(), EngineError> {
        Ok(())
    }

    fn measure_into(
        &mut self,
        pictures: &[Picture<'_>],
        _: &dyn Clock,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        // The first picture warms the network and shows nothing.
        if pictures.iter().any(|picture| picture.pixels.len() != 4) {
            if self.fails_warm {
                return Err(EngineError::Failed("it does not work here".into()));
            }
            let map = AnomalyMap { width: 1, height: 1, values: vec![0.0] };
            let measured = vec![Measured { score: 0.0, map, cell_px: 2.0 }];
            *batch = Batch { measured, preprocess: Duration::ZERO, inference: Duration::ZERO };
            return Ok(());
        }
        let shot = |picture: &Picture<'_>| u32::from_le_bytes(picture.pixels.try_into().unwrap()) as usize;
        let measured =
            pictures.iter().map(|picture| self.measured(shot(picture))).collect::<Result<_, _>>()?;
        *batch = Batch { measured, preprocess: Duration::ZERO, inference: Duration::ZERO };
        Ok(())
    }
}

impl Scripted {
    fn measured(&self, shot: usize) -> Result<Measured, EngineError> {
        let class = self.shots[shot].class;
        if class == Class::Fails {
            return Err(EngineError::Failed("out of order".into()));
        }
        if class == Class::LosesDevice {
            return Err(EngineError::DeviceLost { device: "cuda:0".into(), cause: "gone".into() });
        }
        let score = score(class, shot, self.network).unwrap_or(f64::NAN);
        let peak = if class == Class::Anomalous { 30.0 } else { 1.0 };
        let map = AnomalyMap { width: 2, height: 1, values: vec![peak, 0.0] };
        Ok(Measured { score, map, cell_px: 2.0 })
    }
}
