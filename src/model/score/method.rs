//! What to measure for a scoring, before it is measured: chosen by the preset or on the command line.

use std::str::FromStr;

use crate::calibrate::share::Share;
use crate::model::preset::Preset;
use crate::model::score::scoring::ScoreKind;

/// A scoring without its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    pub score: ScoreKind,
    pub fusion: FusionMethod,
    pub positions: PositionsMethod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FusionMethod {
    Mean,
    Normalised,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionsMethod {
    /// If good images that were not trained on show that places differ.
    Auto,
    On,
    Off,
}

/// Good images not trained on that position statistics need at least: half of them fit, the other half judges.
pub const MIN_IMAGES: usize = 8;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MethodError {
    #[error(
        "positions cannot be on: {found} good images are watched, and {MIN_IMAGES} are needed at least; give more \
         good images, give --folds 0, or leave it to auto"
    )]
    TooFew { found: usize },
    #[error(
        "scales cannot be normalised: no good image is watched; give more good images, give --folds 0, or leave \
         --fusion at mean"
    )]
    NoneWatched,
}

/// What each preset scores by where nobody says otherwise.
const METHODS: [(Preset, Method); 3] = [
    (Preset::Paper, Method::new(ScoreKind::Mean, FusionMethod::Mean, PositionsMethod::Off)),
    (Preset::Balanced, Method::new(ScoreKind::Mean, FusionMethod::Mean, PositionsMethod::Off)),
    (Preset::Lite, Method::new(ScoreKind::Mean, FusionMethod::Mean, PositionsMethod::Off)),
];

impl Method {
    pub const fn new(score: ScoreKind, fusion: FusionMethod, positions: PositionsMethod) -> Self {
        Self { score, fusion, positions }
    }

    pub fn of(preset: Preset) -> Self {
        let found = METHODS.into_iter().find(|(of, _)| *of == preset);
        found.expect("each preset has its row").1
    }

    /// Whether `watched` images are enough for it: asked before anything takes long.
    pub fn check(&self, watched: usize) -> Result<(), MethodError> {
        if self.positions == PositionsMethod::On && watched < MIN_IMAGES {
            return Err(MethodError::TooFew { found: watched });
        }
        if self.fusion == FusionMethod::Normalised && watched == 0 {
            return Err(MethodError::NoneWatched);
        }
        Ok(())
    }
}

/// `mean`, `top:5%`, `max` or `spread`.
impl FromStr for ScoreKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("top:")) {
            ("mean", _) => Ok(Self::Mean),
            ("max", _) => Ok(Self::Max),
            ("spread", _) => Ok(Self::Spread),
            (_, Some(share)) => {
                let share: Share = share.parse().map_err(|error| format!("the share of cells {error}"))?;
                Ok(Self::TopK { share: share.get() })
            }
            (_, None) => Err("must be mean, top:SHARE such as top:5%, max or spread".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_as_they_are_written() {
        for text in ["mean", "max", "spread", "top:5%", "top:12.5%", "top:7%"] {
            assert_eq!(text.parse::<ScoreKind>().unwrap().to_string(), text);
        }
        for text in ["", "top", "top:", "top:0%", "top:120%", "top:x", "Mean"] {
            assert!(text.parse::<ScoreKind>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_paper_scores_as_the_research_code_does() {
        let method = Method::of(Preset::Paper);
        assert_eq!((method.score, method.fusion), (ScoreKind::Mean, FusionMethod::Mean));
        assert_eq!(method.positions, PositionsMethod::Off);
    }

    #[test]
    fn every_preset_has_its_row() {
        assert_eq!(METHODS.map(|(preset, _)| preset), Preset::ALL);
    }

    #[test]
    fn positions_on_need_images_and_auto_does_not() {
        let method = |positions| Method { positions, ..Method::of(Preset::Paper) };
        assert_eq!(method(PositionsMethod::On).check(7), Err(MethodError::TooFew { found: 7 }));
        assert_eq!(method(PositionsMethod::On).check(8), Ok(()));
        assert_eq!(method(PositionsMethod::Auto).check(0), Ok(()));
        let normalised = Method { fusion: FusionMethod::Normalised, ..Method::of(Preset::Paper) };
        assert_eq!(normalised.check(0), Err(MethodError::NoneWatched));
        assert_eq!(normalised.check(1), Ok(()));
    }
}
