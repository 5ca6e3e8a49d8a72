//! A loaded bundle as something that judges pictures.

use std::time::Duration;

use crate::clock::Clock;
use crate::frame::Picture;
use crate::verdict::regions::AnomalyMap;

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
}

/// Something that scores pictures. The engine is one; tests have scripted ones.
pub trait Detector {
    /// Judges `pictures` together; each may have its own size.
    fn measure(&mut self, pictures: &[Picture<'_>], clock: &dyn Clock) -> Result<Batch, EngineError>;
}
