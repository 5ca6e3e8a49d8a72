//! Where the feature maps of the scales come from. Either way each map is half as wide and high as the one before.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::model::Scales;
use crate::model::backbone::{Backbone, BackboneKind, stages};
use crate::model::pyramid::pyramid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Features {
    /// One depth of the trunk, the end of stage 6, over the picture at full, half and quarter size: the paper's.
    Pyramid,
    /// One pass of the trunk over the picture, and its maps at three depths: the ends of stages 3, 5 and 6.
    Depths,
}

impl Features {
    pub const ALL: [Self; 2] = [Self::Pyramid, Self::Depths];

    /// As it stands in bundles and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pyramid => "pyramid",
            Self::Depths => "depths",
        }
    }

    /// The stages whose outputs the trunk must give for the `scales` finest scales, 1 to 3.
    pub fn taps(self, scales: usize) -> &'static [usize] {
        match self {
            Self::Pyramid => &[6],
            Self::Depths => &[3, 5, 6][..scales],
        }
    }

    /// Channels of the map of each scale.
    pub fn channels(self, backbone: BackboneKind, scales: usize) -> Vec<i64> {
        let channels = self.taps(scales).iter().map(|&stage| backbone.channels(stage));
        channels.cycle().take(scales).collect()
    }

    /// Pixels of the input to one cell of the largest map, in each direction: 32 or 8.
    pub fn stride(self) -> i64 {
        stages::stride(self.taps(1)[0])
    }

    /// # Shapes
    /// `[B, 3, S, S]` to `[B, C_s, S / stride / 2^s, S / stride / 2^s]`.
    pub fn extract(self, backbone: &Backbone, input: &Tensor, scales: usize) -> Scales {
        match self {
            Self::Pyramid => {
                pyramid(input, scales).iter().flat_map(|image| backbone.forward(image)).collect()
            }
            Self::Depths => backbone.forward(input),
        }
    }
}
