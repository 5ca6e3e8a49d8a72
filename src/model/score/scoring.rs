//! How latent values become a score and a map, as a bundle states it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::calibrate::share::Percent;

/// Stored in the manifest. Its tensors, if it has any, are [`Places`](super::places::Places).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scoring {
    pub score: ScoreKind,
    pub fusion: Fusion,
    pub positions: Positions,
    /// Of the ROI that the threshold was calibrated with; absent where the whole picture counts. Lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roi_sha256: Option<String>,
}

/// The one number of a picture. All but the mean are taken over the cells of the fused map on the finest scale's
/// grid: the mean over a thousand cells hardly moves when one of them is defective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScoreKind {
    /// Mean of `z^2 / 2` over all latent values of all scales, as in the research code.
    Mean,
    /// Mean of the most anomalous cells, of which there are `share` times the cells, rounded up. `MSFlow` takes a
    /// tenth (Zhou et al., 2024, <https://arxiv.org/abs/2308.15300>).
    TopK { share: f64 },
    /// The most anomalous cell.
    Max,
    /// Standard deviation of the cells: a defect sets some apart, a change of light moves them all. `OneClassAD`
    /// (<https://github.com/edshkim98/OneClassAD>) takes it of the single `z^2`; of cells it keeps to fusion,
    /// positions and ROI as the other kinds do.
    Spread,
}

/// How the scales' cell maps become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fusion {
    /// Their mean: a scale whose values are larger has more to say.
    Mean,
    /// Their mean after each was normalised by its own level, one a scale.
    Normalised(Vec<Level>),
}

/// Where a scale's cells usually lie, in good images that were not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Their median.
    pub centre: f64,
    /// 1.4826 times the median distance from it: the standard deviation, where they are normal.
    pub spread: f64,
}

/// Whether each cell is compared with what is usual at its place, and why.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Positions {
    pub used: bool,
    /// Good images not trained on that were looked at.
    pub images: usize,
    /// What knowing a cell's place says about its value in an image not looked at, in nats a cell; absent where
    /// there were too few images to find out, or nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain: Option<f64>,
}

impl Scoring {
    /// The research code's: nothing is measured for it.
    pub fn plain() -> Self {
        let positions = Positions { used: false, images: 0, gain: None };
        Self { score: ScoreKind::Mean, fusion: Fusion::Mean, positions, roi_sha256: None }
    }

    /// Checks what the types do not, for a network of `scales` scales; the text names the key.
    pub fn check(&self, scales: usize) -> Result<(), String> {
        if let ScoreKind::TopK { share } = self.score
            && !(share > 0.0 && share <= 1.0)
        {
            return Err(format!("scoring.score.top_k.share: {share} is not a share"));
        }
        if let Fusion::Normalised(levels) = &self.fusion {
            if levels.len() != scales {
                return Err(format!("scoring.fusion: {} levels for {scales} scales", levels.len()));
            }
            let is_level =
                |level: &Level| level.centre.is_finite() && level.spread.is_finite() && level.spread > 0.0;
            if !levels.iter().all(is_level) {
                return Err("scoring.fusion: a level is not finite with a positive spread".into());
            }
        }
        if self.positions.gain.is_some_and(|gain| !gain.is_finite()) {
            return Err("scoring.positions.gain: is not finite".into());
        }
        let is_sum = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if self.roi_sha256.as_ref().is_some_and(|text| !is_sum(text)) {
            return Err("scoring.roi_sha256: is not 64 hexadecimal digits".into());
        }
        Ok(())
    }
}

impl fmt::Display for ScoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mean => f.write_str("mean"),
            Self::TopK { share } => write!(f, "top:{}", Percent(*share).to_string().replace(' ', "")),
            Self::Max => f.write_str("max"),
            Self::Spread => f.write_str("spread"),
        }
    }
}
