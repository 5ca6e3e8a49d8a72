//! A loaded bundle as something that judges pictures.
//!
//! [`model`](crate::model) says what is computed; this room says on which device, and keeps what goes wrong there
//! from looking like an answer.

pub mod cuda;
pub mod guard;
pub mod room;
pub mod threads;

use std::path::PathBuf;
use std::time::Duration;

use tch::{Kind, Tensor};

use crate::clock::Clock;
use crate::config::engine::Device;
use crate::engine::cuda::DeviceError;
use crate::frame::{Picture, Size};
use crate::model::architecture::Architecture;
use crate::model::bundle::roi::RoiError;
use crate::model::bundle::{Bundle, BundleError};
use crate::model::network::Network;
use crate::model::preprocess::{self, Preprocess};
use crate::model::score::Reading;
use crate::model::score::area::{Area, Grids};
use crate::model::weights::{self, Weights};
use crate::roi::Roi;
use crate::verdict::regions::AnomalyMap;

/// The libtorch that this program is built for and runs with.
pub const LIBTORCH: &str = "2.11.0";

/// What the network says about one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Higher is more anomalous. May be not finite: the judge decides what becomes of that.
    pub score: f64,
    pub map: AnomalyMap,
    /// Longer side of one network cell in pixels of the picture.
    pub cell_px: f64,
}

/// What the network says about pictures judged together, in their order, and how long it took.
#[derive(Clone, Debug)]
pub struct Batch {
    pub measured: Vec<Measured>,
    pub preprocess: Duration,
    pub inference: Duration,
}

/// The network could not judge.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The device is gone; only a restart brings it back.
    #[error("device {device} lost: {cause}")]
    DeviceLost { device: String, cause: String },
    #[error("network failed: {0}")]
    Failed(String),
    /// The ROI says nothing about it.
    #[error("the picture is {found}, but the product's ROI is drawn on {expected}")]
    WrongSize { found: Size, expected: Size },
}

/// A bundle cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Roi(#[from] RoiError),
    #[error(
        "no room on {device} for a second network: about {needed_mb} MB are needed and {free_mb} are free; \
         engine.swap = \"gap\" unloads the one in use first"
    )]
    NoRoom { device: String, needed_mb: u64, free_mb: u64 },
    #[error("loading onto {device} failed: {cause}")]
    Failed { device: String, cause: String },
    #[error(
        "{file}: self-test on {device} failed: picture {index} scores {found}, expected {expected} within {tolerance}"
    )]
    SelfTest { file: PathBuf, device: String, index: usize, found: f64, expected: f64, tolerance: f64 },
}

/// Something that scores pictures. The engine is one; tests have scripted ones.
pub trait Detector {
    /// Judges `pictures` together; each may have its own size.
    fn measure(&mut self, pictures: &[Picture<'_>], clock: &dyn Clock) -> Result<Batch, EngineError>;

    /// What counts of each picture from now on; None is all of it.
    fn set_roi(&mut self, roi: Option<&Roi>) -> Result<(), EngineError>;

    /// Judges one picture.
    fn measure_one(&mut self, picture: Picture<'_>, clock: &dyn Clock) -> Result<Measured, EngineError> {
        let batch = self.measure(&[picture], clock)?;
        batch
            .measured
            .into_iter()
            .next()
            .ok_or_else(|| EngineError::Failed("the detector gave no answer".into()))
    }
}

/// The plain network in f32 on one device.
#[derive(Debug)]
pub struct Engine {
    network: Network,
    preprocess: Preprocess,
    device_name: String,
    /// What the ROI is drawn on; None takes pictures of any size.
    frame: Option<Size>,
}

impl Engine {
    /// Puts a bundle on a device and finds its self-test's scores again.
    pub fn load(bundle: &Bundle, device: Device) -> Result<Self, LoadError> {
        let (device, device_name) = cuda::open(device)?;
        let failed = |cause| LoadError::Failed { device: device_name.clone(), cause };
        let network = guard::catch(|| bundle.network(device)).map_err(failed)??;
        let engine = Self::new(network, bundle.manifest.preprocess.clone(), device_name);
        let self_test = &bundle.manifest.self_test;
        let found = engine.self_test_scores(&bundle.self_test).map_err(|error| LoadError::Failed {
            device: engine.device_name.clone(),
            cause: error.to_string(),
        })?;
        for (index, (&found, &expected)) in found.iter().zip(&self_test.scores).enumerate() {
            let tolerance = self_test.tolerance * expected.abs().max(engine.network.scorer.unit());
            // A score that is not a number is within no tolerance.
            let is_found = found.is_finite() && (found - expected).abs() <= tolerance;
            if !is_found {
                let (file, device) = (bundle.file.clone(), engine.device_name.clone());
                return Err(LoadError::SelfTest { file, device, index, found, expected, tolerance });
            }
        }
        Ok(engine)
    }

    /// An engine around a network that was just trained.
    pub fn new(network: Network, preprocess: Preprocess, device_name: String) -> Self {
        Self { network, preprocess, device_name, frame: None }
    }

    /// An engine whose speed is that of a trained one and whose scores mean nothing. The backbone has its weights
    /// if they are on this machine.
    pub fn untrained(architecture: &Architecture, device: Device) -> Result<Self, LoadError> {
        let (device, device_name) = cuda::open(device)?;
        let network = Network::untrained(architecture, device);
        if let Some(file) = weights::find(architecture.backbone) {
            let weights = Weights::read(&file).map_err(BundleError::from)?;
            network.load_backbone(&weights).map_err(BundleError::from)?;
        }
        Ok(Self::new(network, Preprocess::known(), device_name))
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// `cpu` or `cuda:N`.
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    pub fn precision(&self) -> &'static str {
        "f32"
    }

    /// Scores of pictures already at the input's size, `[1, 3, S, S]` u8, whatever the ROI. The first call on a device also picks
    /// its kernels.
    pub fn self_test_scores(&self, pictures: &[Tensor]) -> Result<Vec<f64>, EngineError> {
        self.guarded(|| {
            let score = |picture: &Tensor| {
                let input = preprocess::normalise(picture, &self.preprocess, self.network.device());
                self.network.read_whole(&input).scores.double_value(&[0])
            };
            pictures.iter().map(score).collect()
        })
    }

    fn guarded<T>(&self, work: impl FnOnce() -> T) -> Result<T, EngineError> {
        let caught = guard::catch(|| {
            let _guard = tch::no_grad_guard();
            work()
        });
        caught.map_err(|cause| {
            if self.network.device().is_cuda() && cuda::is_fatal(&cause) {
                EngineError::DeviceLost { device: self.device_name.clone(), cause }
            } else {
                EngineError::Failed(cause)
            }
        })
    }
}

impl Detector for Engine {
    fn set_roi(&mut self, roi: Option<&Roi>) -> Result<(), EngineError> {
        let (grids, device) = (Grids::of(&self.network.architecture), self.network.device());
        let score = self.network.scorer.scoring.score;
        let area = self.guarded(|| roi.map(|roi| Area::new(roi, &grids, score, device)).transpose())?;
        let area = area.map_err(|refused| EngineError::Failed(format!("the ROI {refused}")))?;
        self.network.scorer.set_area(area);
        self.frame = roi.map(Roi::size);
        Ok(())
    }

    fn measure(&mut self, pictures: &[Picture<'_>], clock: &dyn Clock) -> Result<Batch, EngineError> {
        if let Some(expected) = self.frame
            && let Some(found) = pictures.iter().map(|picture| picture.size).find(|&size| size != expected)
        {
            return Err(EngineError::WrongSize { found, expected });
        }
        let side = self.network.architecture.input_px;
        self.guarded(|| {
            let start = clock.now();
            let input = preprocess::to_input(pictures, side, &self.preprocess, self.network.device());
            let prepared = clock.now();
            let reading = self.network.read(&input);
            let measured = measured(&reading, pictures, self.network.architecture.cells());
            let done = clock.now();
            Batch { measured, preprocess: prepared.since(start), inference: done.since(prepared) }
        })
    }
}

/// Brings a reading to the CPU, which also waits for the device.
fn measured(reading: &Reading, pictures: &[Picture<'_>], cells: i64) -> Vec<Measured> {
    let scores = reading.scores.to_device(tch::Device::Cpu).to_kind(Kind::Double);
    let maps = reading.maps.to_device(tch::Device::Cpu).contiguous();
    let side = |dimension: usize| usize::try_from(maps.size()[dimension]).expect("a size");
    let (height, width) = (side(1), side(2));
    #[expect(clippy::cast_precision_loss, reason = "a few dozen cells")]
    let cells = cells as f64;
    (0_i64..)
        .zip(pictures)
        .map(|(index, picture)| {
            let mut values = vec![0.0_f32; width * height];
            maps.get(index).copy_data(&mut values, width * height);
            Measured {
                score: scores.double_value(&[index]),
                map: AnomalyMap { width, height, values },
                cell_px: f64::from(picture.size.width.max(picture.size.height)) / cells,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
