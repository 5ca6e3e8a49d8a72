//! The feature extractor: an EfficientNet up to the end of its sixth stage, stride 32, weights frozen.
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

/// Pixels of the input to one cell of the feature map, in each direction.
pub const STRIDE: i64 = 32;

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
pub enum Backbone {
    Lite(Lite),
    Wide(Wide),
}

impl BackboneKind {
    /// As it stands in bundles and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::EfficientnetLite0 => "efficientnet_lite0",
            Self::EfficientnetLite1 => "efficientnet_lite1",
            Self::EfficientnetLite2 => "efficientnet_lite2",
            Self::EfficientnetB5 => "efficientnet_b5",
        }
    }

    /// Channels of the feature maps.
    pub fn channels(self) -> i64 {
        let last = STAGES[STAGES_USED - 1].channels;
        self.scaling().channels(last)
    }

    fn scaling(self) -> Scaling {
        match self {
            Self::EfficientnetLite0 => Scaling { width: 1.0, depth: 1.0, is_lite: true },
            Self::EfficientnetLite1 => Scaling { width: 1.0, depth: 1.1, is_lite: true },
            Self::EfficientnetLite2 => Scaling { width: 1.1, depth: 1.2, is_lite: true },
            Self::EfficientnetB5 => Scaling { width: 1.6, depth: 2.2, is_lite: false },
        }
    }

    /// Whether a state dict of this member holds `name` beyond the sixth stage: parts that csflowd does not
    /// use and skips without complaint.
    pub fn is_beyond(self, name: &str) -> bool {
        match self {
            Self::EfficientnetLite0 | Self::EfficientnetLite1 | Self::EfficientnetLite2 => {
                let last_block = format!("_blocks.{}.", self.scaling().blocks().len());
                ["_conv_head.", "_bn1.", "_fc."].iter().any(|p| name.starts_with(p))
                    || name.starts_with(&last_block)
            }
            Self::EfficientnetB5 => {
                ["features.7.", "features.8.", "classifier."].iter().any(|p| name.starts_with(p))
            }
        }
    }
}

impl Backbone {
    pub fn new(path: &nn::Path<'_>, kind: BackboneKind) -> Self {
        match kind {
            BackboneKind::EfficientnetLite0
            | BackboneKind::EfficientnetLite1
            | BackboneKind::EfficientnetLite2 => Self::Lite(Lite::new(path, kind.scaling())),
            BackboneKind::EfficientnetB5 => Self::Wide(Wide::new(path, kind.scaling())),
        }
    }

    /// # Shapes
    /// `[B, 3, H, W]` to `[B, C, ceil(H / 32), ceil(W / 32)]`.
    pub fn forward(&self, image: &Tensor) -> Tensor {
        match self {
            Self::Lite(lite) => lite.forward(image),
            Self::Wide(wide) => wide.forward(image),
        }
    }
}
