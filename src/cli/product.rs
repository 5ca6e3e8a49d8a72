//! `--product FILE`: judging as the daemon judges that product, with another command.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::appearance;
use crate::config::engine::{Device, Precision};
use crate::config::product::{self, Product};
use crate::engine::detector::Detector;
use crate::engine::{Engine, How, threads};
use crate::inference::rules::Limits;
use crate::model::bundle::Bundle;
use crate::model::bundle::roi::CalibratedRoi;
use crate::progress::say;

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
    pub(super) limits: Limits,
    /// Says what counts of each picture; None is the whole.
    pub(super) product: Option<Product>,
    /// What a picture must look like for the network to be asked.
    pub(super) image: appearance::limits::Limits,
}

impl ProductFile {
    /// Loads a bundle and lays the product's rules over its calibration, and says how much of the ROI is inspected.
    /// Refused as [`Limits::new`] does.
    pub(super) fn load(
        &self,
        bundle: &Path,
        device: Device,
        precision: Precision,
    ) -> anyhow::Result<Station> {
        let product = read(self.product.as_deref())?;
        let bundle = Bundle::read(bundle)?;
        let calibrated = CalibratedRoi::of(&bundle.manifest);
        let limits = Limits::new(product.as_ref(), &bundle.manifest.calibration, &calibrated)?;
        let roi = product.as_ref().and_then(|product| product.roi.as_deref());
        let how = How { device, precision, threads: threads::count(), together: 1, judge: limits.judge };
        let mut engine = Engine::load(&bundle, how)?;
        engine.set_roi(roi)?;
        if let Some(roi) = roi {
            say(&format!("ROI: {}", calibrated.inspected(roi)));
        }
        let own = product.as_ref().map(|product| product.image).unwrap_or_default();
        let image = appearance::limits::Limits::new(bundle.manifest.appearance.as_ref(), own);
        Ok(Station { bundle, engine, limits, product, image })
    }
}
