//! The feature extractor: an EfficientNet up to the end of its sixth stage or less, weights frozen.
//!
//! EfficientNet: Tan, Le, 2019, <https://arxiv.org/abs/1905.11946>. The widths and depths of all members come
//! from one table, [`stages`].

pub mod lite;
pub mod stages;
pub mod wide;

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::model::backbone::lite::Lite;
use crate::model::backbone::stages::{STAGES, STAGES_USED, Scaling};
use crate::model::backbone::wide::Wide;

/// The members that csflowd knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackboneKind {
    EfficientnetLite0,
    EfficientnetLite1,
    EfficientnetLite2,
    EfficientnetB5,
}

/// A backbone with its parameters under the names of the state dict they come from.
#[derive(Debug)]
pub struct Backbone {
    trunk: Trunk,
    taps: Vec<usize>,
}

#[derive(Debug)]
enum Trunk {
    Lite(Lite),
    Wide(Wide),
}

impl BackboneKind {
    pub const ALL: [Self; 4] =
        [Self::EfficientnetLite0, Self::EfficientnetLite1, Self::EfficientnetLite2, Self::EfficientnetB5];

    /// As it stands in bundles and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::EfficientnetLite0 => "efficientnet_lite0",
            Self::EfficientnetLite1 => "efficientnet_lite1",
            Self::EfficientnetLite2 => "efficientnet_lite2",
            Self::EfficientnetB5 => "efficientnet_b5",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::EfficientnetLite0 => "EfficientNet-Lite0",
            Self::EfficientnetLite1 => "EfficientNet-Lite1",
            Self::EfficientnetLite2 => "EfficientNet-Lite2",
            Self::EfficientnetB5 => "EfficientNet-B5",
        }
    }

    /// Channels of the output of `stage`, from 1.
    pub fn channels(self, stage: usize) -> i64 {
        self.scaling().channels(STAGES[stage - 1].channels)
    }

    pub fn scaling(self) -> Scaling {
        match self {
            Self::EfficientnetLite0 => Scaling { width: 1.0, depth: 1.0, is_lite: true },
            Self::EfficientnetLite1 => Scaling { width: 1.0, depth: 1.1, is_lite: true },
            Self::EfficientnetLite2 => Scaling { width: 1.1, depth: 1.2, is_lite: true },
            Self::EfficientnetB5 => Scaling { width: 1.6, depth: 2.2, is_lite: false },
        }
    }

    /// Whether a state dict of this member holds `name` beyond the last of the stages `taps`: parts that a backbone
    /// up to there does not use and skips without complaint.
    pub fn is_beyond(self, taps: &[usize], name: &str) -> bool {
        let stage = last(taps);
        let number =
            |prefix: &str| -> Option<usize> { name.strip_prefix(prefix)?.split_once('.')?.0.parse().ok() };
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        match self {
            Self::EfficientnetLite0 | Self::EfficientnetLite1 | Self::EfficientnetLite2 => {
                // The seventh stage is one block in all of them.
                let beyond = self.scaling().blocks(stage)..=self.scaling().blocks(STAGES_USED);
                starts(&["_conv_head.", "_bn1.", "_fc."])
                    || number("_blocks.").is_some_and(|block| beyond.contains(&block))
            }
            // The stem is number 0, the head number 8.
            Self::EfficientnetB5 => {
                starts(&["classifier."])
                    || number("features.").is_some_and(|part| (stage + 1..=8).contains(&part))
            }
        }
    }
}

impl Backbone {
    /// A backbone that gives the outputs of the stages `taps`, which ascend from 1 to 6, and ends with the last.
    pub fn new(path: &nn::Path<'_>, kind: BackboneKind, taps: &[usize]) -> Self {
        let last = last(taps);
        let trunk = match kind {
            BackboneKind::EfficientnetLite0
            | BackboneKind::EfficientnetLite1
            | BackboneKind::EfficientnetLite2 => Trunk::Lite(Lite::new(path, kind.scaling(), last)),
            BackboneKind::EfficientnetB5 => Trunk::Wide(Wide::new(path, kind.scaling(), last)),
        };
        Self { trunk, taps: taps.to_vec() }
    }

    /// # Shapes
    /// `[B, 3, H, W]` to `[B, C, ceil(H / stride), ceil(W / stride)]` for each tap: see [`stages::stride`].
    pub fn forward(&self, image: &Tensor) -> Vec<Tensor> {
        let mut x = self.trunk.stem(image);
        let mut stage = 0;
        let mut outputs = Vec::with_capacity(self.taps.len());
        for &tap in &self.taps {
            while stage < tap {
                stage += 1;
                x = self.trunk.stage(stage, x);
            }
            outputs.push(x.shallow_clone());
        }
        outputs
    }
}

fn last(taps: &[usize]) -> usize {
    taps.last().copied().unwrap_or(0)
}

impl Trunk {
    fn stem(&self, image: &Tensor) -> Tensor {
        match self {
            Self::Lite(lite) => lite.stem(image),
            Self::Wide(wide) => wide.stem(image),
        }
    }

    fn stage(&self, number: usize, x: Tensor) -> Tensor {
        match self {
            Self::Lite(lite) => lite.stage(number, x),
            Self::Wide(wide) => wide.stage(number, x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_beyond_the_last_stage_are_told_from_parts_that_are_needed_and_from_strangers() {
        use BackboneKind::{EfficientnetB5 as B5, EfficientnetLite0 as Lite0, EfficientnetLite2 as Lite2};
        for (kind, taps, name, expected) in [
            (Lite0, &[6][..], "_blocks.14._bn0.weight", false),
            (Lite0, &[6], "_blocks.15._bn0.weight", true),
            (Lite0, &[6], "_blocks.16._bn0.weight", false),
            (Lite0, &[3], "_blocks.4._bn0.weight", false),
            (Lite0, &[3], "_blocks.5._bn0.weight", true),
            (Lite0, &[3, 5], "_blocks.11._bn0.weight", true),
            (Lite2, &[3], "_blocks.6._bn0.weight", false),
            (Lite2, &[3], "_blocks.7._bn0.weight", true),
            (Lite0, &[3], "_conv_head.weight", true),
            (Lite0, &[3], "_conv_stem.weight", false),
            (Lite0, &[3], "_blocks.weight", false),
            (B5, &[6], "features.6.8.block.0.0.weight", false),
            (B5, &[6], "features.7.0.block.0.0.weight", true),
            (B5, &[3, 5], "features.6.0.block.0.0.weight", true),
            (B5, &[6], "features.8.0.weight", true),
            (B5, &[6], "features.9.0.weight", false),
            (B5, &[6], "features.0.0.weight", false),
            (B5, &[6], "classifier.1.weight", true),
        ] {
            assert_eq!(kind.is_beyond(taps, name), expected, "{kind:?} up to {taps:?}: {name}");
        }
    }
}
