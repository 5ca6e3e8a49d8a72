//! Whether an ROI goes with a bundle. Other pixels give other scores, so a calibrated threshold belongs to one ROI.

use std::path::{Path, PathBuf};

use crate::model::bundle::manifest::Manifest;
use crate::model::score::area::{Grids, Inspected, TooFewCells};
use crate::model::score::scoring::{Fusion, ScoreKind};
use crate::roi::Roi;

/// What a bundle says about ROIs.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibratedRoi {
    /// None: the whole picture counted.
    sha256: Option<String>,
    grids: Grids,
    score: ScoreKind,
    /// Whether the score has numbers of its own that were measured in the ROI.
    is_fitted: bool,
}

/// Which limits a product sets itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnLimits {
    pub threshold: bool,
    pub map_threshold: bool,
}

/// A product's ROI does not go with its bundle.
#[derive(Debug, thiserror::Error)]
pub enum RoiError {
    #[error("{}: roi: {source}", .file.display())]
    TooFewCells { file: PathBuf, source: TooFewCells },
    #[error(
        "{file}: roi: {what}; run csflowd calibrate --product {file} or csflowd train --product {file}, or set \
         {missing} in it by hand",
        file = .file.display()
    )]
    Other { file: PathBuf, what: String, missing: String },
    #[error("the threshold was calibrated with an ROI ({}): give the product's file by --product", short(.sha256))]
    NoProduct { sha256: String },
    #[error(
        "{}: roi: is not the one that the bundle was calibrated with, and scores of two ROIs do not mix: replace them \
         all by --replace", .file.display()
    )]
    Mixed { file: PathBuf },
    #[error(
        "{file}: roi: is not the one that the bundle's scales and positions were measured in: run csflowd train \
         --product {file}", file = .file.display()
    )]
    Fitted { file: PathBuf },
}

impl CalibratedRoi {
    pub fn new(sha256: Option<String>, grids: Grids, score: ScoreKind) -> Self {
        Self { sha256, grids, score, is_fitted: false }
    }

    pub fn of(manifest: &Manifest) -> Self {
        let scoring = &manifest.scoring;
        let is_fitted = scoring.positions.used || scoring.fusion != Fusion::Mean;
        let grids = Grids::of(&manifest.architecture);
        Self { is_fitted, ..Self::new(scoring.roi_sha256.clone(), grids, scoring.score) }
    }

    /// Whether it is `roi`: otherwise the calibration says nothing about scores and maps.
    pub fn is(&self, roi: Option<&Roi>) -> bool {
        self.sha256.as_deref() == roi.map(Roi::sha256)
    }

    /// How much of `roi` is inspected, for people.
    pub fn inspected(&self, roi: &Roi) -> Inspected {
        self.grids.inspected(roi)
    }

    /// Whether `roi`, which stands in the product's `file`, may be judged by. One that is not the calibrated one
    /// needs limits for score and map that do not come from the calibration.
    pub fn check(&self, roi: Option<&Roi>, own: OwnLimits, file: &Path) -> Result<(), RoiError> {
        self.check_cells(roi, file)?;
        let missing: Vec<&str> = [("threshold", own.threshold), ("regions.map_threshold", own.map_threshold)]
            .into_iter()
            .filter_map(|(key, is_set)| (!is_set).then_some(key))
            .collect();
        if self.is(roi) || missing.is_empty() {
            return Ok(());
        }
        let what = match (&self.sha256, roi.map(Roi::sha256)) {
            (None, _) => "the bundle's threshold was calibrated without one".to_owned(),
            (Some(calibrated), None) => {
                format!(
                    "there is none, but the bundle's threshold was calibrated with one ({})",
                    short(calibrated)
                )
            }
            (Some(calibrated), Some(given)) => format!(
                "is not the one that the bundle's threshold was calibrated with ({}, here {})",
                short(calibrated),
                short(given)
            ),
        };
        Err(RoiError::Other { file: file.into(), what, missing: missing.join(" and ") })
    }

    /// Whether new scores may be taken with `roi`, which stands in the product's `file`: beside those in the bundle,
    /// or in their place.
    pub fn check_anew(&self, roi: Option<&Roi>, replace: bool, file: &Path) -> Result<(), RoiError> {
        self.check_cells(roi, file)?;
        match (self.is(roi), replace) {
            (false, false) => Err(RoiError::Mixed { file: file.into() }),
            (false, true) if self.is_fitted => Err(RoiError::Fitted { file: file.into() }),
            (true, _) | (false, true) => Ok(()),
        }
    }

    fn check_cells(&self, roi: Option<&Roi>, file: &Path) -> Result<(), RoiError> {
        let checked = roi.map(|roi| self.grids.check(roi, self.score)).transpose();
        checked.map(drop).map_err(|source| RoiError::TooFewCells { file: file.into(), source })
    }

    /// Whether the bundle may judge without a product's file.
    pub fn check_alone(&self) -> Result<(), RoiError> {
        match &self.sha256 {
            None => Ok(()),
            Some(sha256) => Err(RoiError::NoProduct { sha256: sha256.clone() }),
        }
    }
}

/// As much of a checksum as people compare.
fn short(sha256: &str) -> &str {
    sha256.get(..8).unwrap_or(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Size;
    use crate::model::bundle::fixture::Fixture;
    use crate::model::score::scoring::Level;
    use crate::roi::Shapes;

    fn roi(right: f64) -> Roi {
        let polygon = vec![[0.0, 0.0], [right, 0.0], [right, 64.0], [0.0, 64.0]];
        Roi::new(Size { width: 96, height: 64 }, &Shapes { include: vec![polygon], ..Shapes::default() })
            .unwrap()
    }

    const NONE: OwnLimits = OwnLimits { threshold: false, map_threshold: false };
    const BOTH: OwnLimits = OwnLimits { threshold: true, map_threshold: true };

    fn refusal(calibrated: Option<&Roi>, given: Option<&Roi>, own: OwnLimits) -> Option<String> {
        let mut manifest = Fixture::new().manifest;
        manifest.scoring.roi_sha256 = calibrated.map(|roi| roi.sha256().to_owned());
        let checked = CalibratedRoi::of(&manifest).check(given, own, Path::new("part.toml"));
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn scores_of_two_rois_do_not_mix() {
        let (a, b) = (roi(48.0), roi(60.0));
        let mut manifest = Fixture::new().manifest;
        manifest.scoring.roi_sha256 = Some(a.sha256().to_owned());
        let anew = |manifest: &Manifest, roi, replace| {
            let checked = CalibratedRoi::of(manifest).check_anew(roi, replace, Path::new("part.toml"));
            checked.err().map(|error| error.to_string())
        };
        assert_eq!(anew(&manifest, Some(&a), false), None);
        for other in [Some(&b), None] {
            assert!(anew(&manifest, other, false).unwrap().contains("--replace"));
            assert_eq!(anew(&manifest, other, true), None);
        }
        let levels = vec![Level { centre: 1.0, spread: 1.0 }; 3];
        manifest.scoring.fusion = Fusion::Normalised(levels);
        assert!(anew(&manifest, Some(&b), true).unwrap().contains("csflowd train --product part.toml"));
        assert_eq!(anew(&manifest, Some(&a), true), None);
    }

    #[test]
    fn a_threshold_belongs_to_one_roi() {
        let (a, b) = (roi(48.0), roi(60.0));
        assert_eq!(refusal(None, None, NONE), None);
        assert_eq!(refusal(Some(&a), Some(&a), NONE), None);
        let refused = [
            (
                None,
                Some(&a),
                "part.toml: roi: the bundle's threshold was calibrated without one; run csflowd calibrate",
            ),
            (
                Some(&a),
                None,
                "part.toml: roi: there is none, but the bundle's threshold was calibrated with one (",
            ),
            (
                Some(&a),
                Some(&b),
                "part.toml: roi: is not the one that the bundle's threshold was calibrated with (",
            ),
        ];
        for (calibrated, given, expected) in refused {
            let text = refusal(calibrated, given, NONE).unwrap();
            assert!(text.starts_with(expected), "{text}");
            assert!(text.contains("csflowd train --product part.toml"), "{text}");
            assert!(text.ends_with("or set threshold and regions.map_threshold in it by hand"), "{text}");
            assert_eq!(refusal(calibrated, given, BOTH), None, "limits of its own need no calibration");
            let text = refusal(calibrated, given, OwnLimits { threshold: true, ..NONE }).unwrap();
            assert!(text.ends_with("or set regions.map_threshold in it by hand"), "{text}");
        }
    }

    #[test]
    fn an_roi_without_a_cell_is_refused_whatever_the_threshold() {
        let text = refusal(None, Some(&roi(10.0)), BOTH).unwrap();
        assert!(text.starts_with("part.toml: roi: leaves no cell to inspect: "), "{text}");
    }

    #[test]
    fn a_piece_without_a_cell_is_refused_whatever_the_threshold() {
        let rectangle = |x: f64, y: f64, w: f64, h: f64| vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h]];
        let with_a_screw = |side: f64| {
            let include = vec![rectangle(0.0, 0.0, 48.0, 64.0), rectangle(74.0, 16.0, side, side)];
            Roi::new(Size { width: 96, height: 64 }, &Shapes { include, ..Shapes::default() }).unwrap()
        };
        assert_eq!(refusal(None, Some(&with_a_screw(14.0)), BOTH), None);
        assert_eq!(
            refusal(None, Some(&with_a_screw(4.0)), BOTH).unwrap(),
            "part.toml: roi: has a piece that nobody would inspect, 4x4 px around (76, 18): a cell of the network's \
             finest grid is 24x16 px and counts where half of it lies in the ROI; draw it larger, leave it out, or train \
             a network with more cells"
        );
    }

    #[test]
    fn a_spread_needs_two_cells() {
        let mut manifest = Fixture::new().manifest;
        manifest.scoring.score = ScoreKind::Spread;
        let of = |right: f64| {
            let include = vec![vec![[0.0, 0.0], [right, 0.0], [right, 16.0], [0.0, 16.0]]];
            let roi =
                Roi::new(Size { width: 96, height: 64 }, &Shapes { include, ..Shapes::default() }).unwrap();
            CalibratedRoi::of(&manifest).check(Some(&roi), BOTH, Path::new("part.toml"))
        };
        let text = of(24.0).unwrap_err().to_string();
        assert!(
            text.starts_with("part.toml: roi: leaves one cell to inspect, and the score is the spread"),
            "{text}"
        );
        assert!(of(48.0).is_ok());
    }

    #[test]
    fn a_bundle_with_an_roi_asks_for_its_product() {
        let mut manifest = Fixture::new().manifest;
        assert!(CalibratedRoi::of(&manifest).check_alone().is_ok());
        manifest.scoring.roi_sha256 = Some(roi(48.0).sha256().to_owned());
        let text = CalibratedRoi::of(&manifest).check_alone().unwrap_err().to_string();
        assert!(text.ends_with("give the product's file by --product"), "{text}");
    }
}
