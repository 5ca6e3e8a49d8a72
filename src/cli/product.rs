//! `--product FILE`: judging as the daemon judges that product, with another command.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::config::engine::Device;
use crate::config::product::{self, Product};
use crate::engine::{Detector, Engine};
use crate::model::bundle::Bundle;
use crate::model::bundle::roi::CalibratedRoi;
use crate::roi::Roi;
use crate::verdict::Judge;
use crate::verdict::regions::RegionRule;

#[derive(Debug, Args)]
pub(super) struct ProductFile {
    /// Product file: its ROI, threshold, guard band and region rules hold; its bundle is not looked at
    #[arg(long, value_name = "FILE.toml")]
    pub(super) product: Option<PathBuf>,
}

/// The product in `file`, if one is given.
pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Option<Product>> {
    Ok(file.map(product::read_alone).transpose()?)
}

/// A bundle put to work, and how its answers are judged.
pub(super) struct Station {
    pub(super) bundle: Bundle,
    pub(super) engine: Engine,
    pub(super) judge: Judge,
    pub(super) regions: RegionRule,
    /// What counts of each picture; None is the whole.
    pub(super) roi: Option<Arc<Roi>>,
}

impl ProductFile {
    /// Loads a bundle and lays the product's rules over its calibration. Refused where the product's ROI is not
    /// the calibrated one.
    pub(super) fn load(&self, bundle: &Path, device: Device) -> anyhow::Result<Station> {
        let product = read(self.product.as_deref())?;
        let bundle = Bundle::read(bundle)?;
        let calibrated = CalibratedRoi::of(&bundle.manifest);
        let product = product.as_ref();
        match product {
            None => calibrated.check_alone()?,
            Some(product) => {
                calibrated.check(product.roi.as_deref(), product.threshold.is_some(), &product.file)?;
            }
        }
        let mut engine = Engine::load(&bundle, device)?;
        engine.set_roi(product.and_then(|product| product.roi.as_deref()))?;
        let calibration = &bundle.manifest.calibration;
        let calibrated = calibration.judge();
        let threshold = product.and_then(|product| product.threshold).unwrap_or(calibrated.threshold());
        let guard_band = product.and_then(|product| product.guard_band).unwrap_or(calibrated.guard_band());
        let judge = Judge::new(threshold, guard_band).expect("guard bands are checked where they are read");
        let map_threshold = product.and_then(|product| product.map_threshold);
        let regions = RegionRule {
            map_threshold: map_threshold.unwrap_or(calibration.map_threshold),
            min_area_px: product.map_or(0.0, |product| product.min_area_px),
        };
        let roi = product.and_then(|product| product.roi.clone());
        Ok(Station { bundle, engine, judge, regions, roi })
    }
}
