//! What a measured frame is judged by. Made ready outside the thread that judges.

use std::sync::Arc;

use crate::appearance;
use crate::appearance::usual::Usual;
use crate::calibrate::Calibration;
use crate::config::product::Product;
use crate::model::bundle::roi::{CalibratedRoi, OwnLimits, RoiError};
use crate::model::score::area::Inspected;
use crate::roi::Roi;
use crate::verdict::regions::RegionRule;
use crate::verdict::{Judge, Recipe};

/// What scores and maps are held against: a product file's settings where it has any, else the bundle's.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub judge: Judge,
    pub regions: RegionRule,
    /// Whether the calibration speaks of what is judged. Where the ROI is another, it gives neither a p-value nor a
    /// guard band, and promises nothing.
    pub is_calibrated: bool,
}

impl Limits {
    /// Refused where the ROI is not the calibrated one, unless the product sets thresholds of its own.
    pub fn new(
        product: Option<&Product>,
        calibration: &Calibration,
        calibrated_roi: &CalibratedRoi,
    ) -> Result<Self, RoiError> {
        let calibrated = calibration.judge();
        let calibrated_regions = RegionRule { map_threshold: calibration.map_threshold, min_area_px: 0.0 };
        let Some(product) = product else {
            calibrated_roi.check_alone()?;
            return Ok(Self { judge: calibrated, regions: calibrated_regions, is_calibrated: true });
        };
        let roi = product.roi.as_deref();
        let own = OwnLimits {
            threshold: product.threshold.is_some(),
            map_threshold: product.map_threshold.is_some(),
        };
        calibrated_roi.check(roi, own, &product.file)?;
        let is_calibrated = calibrated_roi.is(roi);
        let threshold = product.threshold.unwrap_or(calibrated.threshold());
        let calibrated_band = if is_calibrated { calibrated.guard_band() } else { 0.0 };
        let guard_band = product.guard_band.unwrap_or(calibrated_band);
        let judge = Judge::new(threshold, guard_band).expect("guard bands are checked where they are read");
        let regions = RegionRule {
            map_threshold: product.map_threshold.unwrap_or(calibrated_regions.map_threshold),
            min_area_px: product.min_area_px,
        };
        Ok(Self { judge, regions, is_calibrated })
    }
}

/// How a measured frame is judged: calibration and product file together.
#[derive(Clone, Debug)]
pub struct Rules {
    pub limits: Limits,
    pub calibration: Calibration,
    /// The ROI that the calibration belongs to.
    pub calibrated_roi: CalibratedRoi,
    /// What the pictures learned from look like; None in a bundle that does not know it.
    pub usual: Option<Usual>,
    /// What a picture must look like for the network to be asked.
    pub image: appearance::limits::Limits,
    /// What counts of each frame; frames of another size are not judged.
    pub roi: Option<Arc<Roi>>,
    pub recipe: Arc<Recipe>,
}

impl Rules {
    /// The product file's settings where it has any, else the bundle's. `origin` tells which bundle on which
    /// device; its other fields are filled in here. Refused where the product's ROI is not the calibrated one.
    pub fn new(
        product: &Product,
        (calibration, calibrated_roi, usual): (Calibration, CalibratedRoi, Option<Usual>),
        origin: Recipe,
    ) -> Result<Self, RoiError> {
        let limits = Limits::new(Some(product), &calibration, &calibrated_roi)?;
        let recipe = Recipe {
            product: product.name.clone(),
            threshold: limits.judge.threshold().get(),
            guard_band: limits.judge.guard_band(),
            mm_per_px: product.mm_per_px,
            ..origin
        };
        let (roi, recipe) = (product.roi.clone(), Arc::new(recipe));
        let image = appearance::limits::Limits::new(usual.as_ref(), product.image);
        Ok(Self { limits, calibration, calibrated_roi, usual, image, roi, recipe })
    }

    /// How much of the ROI is inspected, for people; None where there is no ROI.
    pub fn inspected(&self) -> Option<Inspected> {
        self.roi.as_deref().map(|roi| self.calibrated_roi.inspected(roi))
    }

    /// The same bundle on the same device under settings that have changed.
    pub fn changed(&self, product: &Product, config_sha256: &str) -> Result<Self, RoiError> {
        let origin = Recipe { config_sha256: config_sha256.to_owned(), ..(*self.recipe).clone() };
        let learned = (self.calibration.clone(), self.calibrated_roi.clone(), self.usual.clone());
        Self::new(product, learned, origin)
    }
}
