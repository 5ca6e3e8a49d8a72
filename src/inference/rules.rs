//! What a measured frame is judged by. Made ready outside the thread that judges.

use std::sync::Arc;

use crate::calibrate::Calibration;
use crate::config::product::Product;
use crate::model::bundle::roi::{CalibratedRoi, RoiError};
use crate::roi::Roi;
use crate::verdict::regions::RegionRule;
use crate::verdict::{Judge, Recipe};

/// How a measured frame is judged: calibration and product file together.
#[derive(Clone, Debug)]
pub struct Rules {
    pub judge: Judge,
    pub regions: RegionRule,
    pub calibration: Calibration,
    /// The ROI that the calibration belongs to.
    pub calibrated_roi: CalibratedRoi,
    /// What counts of each frame; frames of another size are not judged.
    pub roi: Option<Arc<Roi>>,
    pub recipe: Arc<Recipe>,
}

impl Rules {
    /// The product file's settings where it has any, else the bundle's. `origin` tells which bundle on which
    /// device; its other fields are filled in here. Refused where the product's ROI is not the calibrated one.
    pub fn new(
        product: &Product,
        (calibration, calibrated_roi): (Calibration, CalibratedRoi),
        origin: Recipe,
    ) -> Result<Self, RoiError> {
        calibrated_roi.check(product.roi.as_deref(), product.threshold.is_some(), &product.file)?;
        let calibrated = calibration.judge();
        let threshold = product.threshold.unwrap_or(calibrated.threshold());
        let guard_band = product.guard_band.unwrap_or(calibrated.guard_band());
        let recipe = Recipe {
            product: product.name.clone(),
            threshold: threshold.get(),
            guard_band,
            mm_per_px: product.mm_per_px,
            ..origin
        };
        let regions = RegionRule {
            map_threshold: product.map_threshold.unwrap_or(calibration.map_threshold),
            min_area_px: product.min_area_px,
        };
        let judge = Judge::new(threshold, guard_band).expect("guard bands are checked where they are read");
        let (roi, recipe) = (product.roi.clone(), Arc::new(recipe));
        Ok(Self { judge, regions, calibration, calibrated_roi, roi, recipe })
    }

    /// The same bundle on the same device under settings that have changed.
    pub fn changed(&self, product: &Product, config_sha256: &str) -> Result<Self, RoiError> {
        let origin = Recipe { config_sha256: config_sha256.to_owned(), ..(*self.recipe).clone() };
        Self::new(product, (self.calibration.clone(), self.calibrated_roi.clone()), origin)
    }
}
