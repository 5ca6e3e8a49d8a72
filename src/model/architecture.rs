//! What a network looks like: enough to build it and to know what its parameters are.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::MAX_SCALES;
use crate::model::backbone::BackboneKind;
use crate::model::features::Features;
use crate::model::flow::FlowConfig;

/// Pixels of the input to one pixel of the anomaly map, in each direction.
const MAP_PX: i64 = 4;

/// Most values of the largest hidden layer for one picture: more would take half a gigabyte, and again for each copy.
const MOST_HIDDEN_VALUES: i64 = 1 << 27;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The preset it came from, for people.
    pub preset: String,
    pub backbone: BackboneKind,
    /// Side of the square input in pixels; such that every feature map has a whole number of cells.
    pub input_px: i64,
    pub features: Features,
    /// Whether a fixed whitening stands between backbone and flow.
    pub whitened: bool,
    pub flow: FlowConfig,
}

/// An architecture that cannot be built; the text names the key.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("architecture.{key}: {problem}")]
pub struct BadArchitecture {
    pub key: &'static str,
    /// What is given and what is wrong with it.
    pub problem: String,
}

/// Where two architectures part; its text names the key.
#[derive(Debug, PartialEq)]
pub struct Difference {
    pub key: &'static str,
    pub own: String,
    pub other: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, own, other } = self;
        write!(f, "architecture.{key} is {other}, not {own}")
    }
}

impl Architecture {
    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), BadArchitecture> {
        let bad = |key, problem: String| Err(BadArchitecture { key, problem });
        let FlowConfig { channels, hidden, kernels, cross_scale: _, clamp } = &self.flow;
        let scales = channels.len();
        if !(1..=MAX_SCALES).contains(&scales) {
            return bad("flow.channels", format!("has {scales} scales, not 1 to {MAX_SCALES}"));
        }
        let expected = self.features.channels(self.backbone, scales);
        if *channels != expected {
            return bad(
                "flow.channels",
                format!("{channels:?} is not what the backbone gives: {expected:?}"),
            );
        }
        // At this side the smallest map is one cell.
        let step = self.features.stride() << (scales - 1);
        if !(128..=4096).contains(&self.input_px) || self.input_px % step != 0 {
            let features = self.features.name();
            let need = format!("as {scales} scales of {features} need");
            let problem = format!("{} is not a multiple of {step} from 128 to 4096, {need}", self.input_px);
            return bad("input_px", problem);
        }
        if !(1..=8192).contains(hidden) {
            return bad("flow.hidden", format!("{hidden} is not from 1 to 8192"));
        }
        if hidden * self.cells() * self.cells() > MOST_HIDDEN_VALUES {
            let most = MOST_HIDDEN_VALUES / (self.cells() * self.cells());
            return bad("flow.hidden", format!("{hidden} is more than {most}, the most at this input size"));
        }
        let is_kernel = |kernel: &i64| (1..=15).contains(kernel) && kernel % 2 == 1;
        if !(1..=32).contains(&kernels.len()) || !kernels.iter().all(is_kernel) {
            return bad("flow.kernels", format!("{kernels:?} are not 1 to 32 odd numbers from 1 to 15"));
        }
        if !(clamp.is_finite() && *clamp > 0.0) {
            return bad("flow.clamp", format!("{clamp} is not a positive number"));
        }
        Ok(())
    }

    /// All in which the parameters of `other` do not fit this network: not its preset's name.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let pairs = |one: &Self| {
            let FlowConfig { channels, hidden, kernels, cross_scale, clamp } = &one.flow;
            [
                ("backbone", one.backbone.name().to_owned()),
                ("input_px", one.input_px.to_string()),
                ("features", one.features.name().to_owned()),
                ("whitened", one.whitened.to_string()),
                ("flow.channels", format!("{channels:?}")),
                ("flow.hidden", hidden.to_string()),
                ("flow.kernels", format!("{kernels:?}")),
                ("flow.cross_scale", cross_scale.to_string()),
                ("flow.clamp", clamp.to_string()),
            ]
        };
        let both = pairs(self).into_iter().zip(pairs(other));
        both.filter(|((_, own), (_, other))| own != other)
            .map(|((key, own), (_, other))| Difference { key, own, other })
            .collect()
    }

    /// Stages of the backbone whose outputs are taken.
    pub fn taps(&self) -> &'static [usize] {
        self.features.taps(self.flow.scales())
    }

    /// How many sizes of a picture the backbone looks at.
    pub fn pictures(&self) -> usize {
        match self.features {
            Features::Pyramid => self.flow.scales(),
            Features::Depths => 1,
        }
    }

    /// Side of the largest feature map in cells.
    pub fn cells(&self) -> i64 {
        self.input_px / self.features.stride()
    }

    /// `[C, H, W]` of the feature map of each scale, the largest first.
    pub fn shapes(&self) -> Vec<[i64; 3]> {
        let shape = |(s, &channels): (usize, &i64)| [channels, self.cells() >> s, self.cells() >> s];
        self.flow.channels.iter().enumerate().map(shape).collect()
    }

    /// Pixels of the anomaly map to one cell of the largest feature map, in each direction.
    pub fn map_steps(&self) -> i64 {
        self.features.stride() / MAP_PX
    }
}

#[cfg(test)]
mod tests;
