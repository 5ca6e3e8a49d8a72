//! What scores pictures: the engine does, and so do scripted ones in tests.

use std::time::Duration;

use tch::Kind;

use crate::clock::Clock;
use crate::engine::EngineError;
use crate::frame::Picture;
use crate::model::score::Reading;
use crate::roi::Roi;
use crate::verdict::regions::AnomalyMap;

/// What the network says about one picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Higher is more anomalous. May be not finite: the judge decides what becomes of that.
    pub score: f64,
    pub map: AnomalyMap,
    /// Longer side of one network cell in pixels of the picture.
    pub cell_px: f64,
}

/// What the network says about pictures judged together, in their order, and how long it took.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub measured: Vec<Measured>,
    pub preprocess: Duration,
    pub inference: Duration,
}

/// Something that scores pictures.
pub trait Detector {
    /// Judges `pictures` together, in place of what is in `batch`, whose memory is used again; each may have its own size.
    fn measure_into(
        &mut self,
        pictures: &[Picture<'_>],
        clock: &dyn Clock,
        batch: &mut Batch,
    ) -> Result<(), EngineError>;

    /// The same in memory of its own.
    fn measure(&mut self, pictures: &[Picture<'_>], clock: &dyn Clock) -> Result<Batch, EngineError> {
        let mut batch = Batch::default();
        self.measure_into(pictures, clock, &mut batch)?;
        Ok(batch)
    }

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

/// Brings a reading to the CPU, which also waits for the device.
pub(super) fn measured(reading: &Reading, pictures: &[Picture<'_>], cells: i64, into: &mut Vec<Measured>) {
    let scores = reading.scores.to_device(tch::Device::Cpu).to_kind(Kind::Double);
    let maps = reading.maps.to_device(tch::Device::Cpu).contiguous();
    let side = |dimension: usize| usize::try_from(maps.size()[dimension]).expect("a size");
    let (height, width) = (side(1), side(2));
    #[expect(clippy::cast_precision_loss, reason = "a few dozen cells")]
    let cells = cells as f64;
    into.resize_with(pictures.len(), Measured::default);
    for ((index, picture), measured) in (0_i64..).zip(pictures).zip(into) {
        measured.score = scores.double_value(&[index]);
        measured.map.resize(width, height);
        maps.get(index).copy_data(&mut measured.map.values, width * height);
        measured.cell_px = f64::from(picture.size.width.max(picture.size.height)) / cells;
    }
}
