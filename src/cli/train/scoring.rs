//! How `csflowd train` is told what the score is.

use clap::{Args, ValueEnum};

use crate::model::preset::Preset;
use crate::model::score::method::{FusionMethod, Method, PositionsMethod};
use crate::model::score::scoring::ScoreKind;

#[derive(Debug, Args)]
#[command(next_help_heading = "Scoring")]
pub(super) struct ScoringArguments {
    /// Score of a picture: mean, top:SHARE of its cells (top:5%), max or spread [default: the preset's]
    #[arg(long, value_name = "KIND")]
    score: Option<ScoreKind>,
    /// How the scales become one map. The score mean does not look at the map [default: the preset's]
    #[arg(long)]
    fusion: Option<Fusion>,
    /// Compare each cell of the map with what is usual at its place, for parts in a fixed pose. The score mean does not
    /// look at the map [default: the preset's]
    #[arg(long)]
    positions: Option<Positions>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Fusion {
    /// The scales' mean
    Mean,
    /// The mean after each scale was normalised by its median and spread in watched good images
    Normalised,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Positions {
    /// Where watched good images show that places differ
    Auto,
    On,
    Off,
}

impl ScoringArguments {
    pub(super) fn method(&self, preset: Preset) -> Method {
        let default = Method::of(preset);
        Method {
            score: self.score.unwrap_or(default.score),
            fusion: self.fusion.map_or(default.fusion, |fusion| match fusion {
                Fusion::Mean => FusionMethod::Mean,
                Fusion::Normalised => FusionMethod::Normalised,
            }),
            positions: self.positions.map_or(default.positions, |positions| match positions {
                Positions::Auto => PositionsMethod::Auto,
                Positions::On => PositionsMethod::On,
                Positions::Off => PositionsMethod::Off,
            }),
        }
    }
}
