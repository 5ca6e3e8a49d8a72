//! From latent values to one number for the picture and one for each cell.

use tch::{Kind, Tensor};

use crate::model::{SCALES, Scales};

/// Mean of `z^2 / 2` over all scales, positions and channels, `[B]`: the likelihood without its determinant,
/// as the research code scores (`evaluate.py`, `evaluate`). Reductions are in f32.
pub fn mean_score(latent: &Scales) -> Tensor {
    let flat: [Tensor; SCALES] =
        std::array::from_fn(|s| latent[s].to_kind(Kind::Float).square().flatten(1, -1));
    Tensor::cat(&flat, 1).mean_dim([1].as_slice(), false, None) * 0.5
}

/// Mean over the channels of `z^2` at each cell, `[B, H_s, W_s]` (paper, section 3.4).
pub fn cell_maps(latent: &Scales) -> Scales {
    std::array::from_fn(|s| latent[s].to_kind(Kind::Float).square().mean_dim([1].as_slice(), false, None))
}

/// Pixels of the anomaly map to one cell of the largest feature map, in each direction.
pub const MAP_STEPS: i64 = 8;

/// One map over the whole picture, `[B, 8 H_0, 8 W_0]`: the mean of the three scales' cell maps, each enlarged
/// bilinearly. It has more pixels than the network has cells, but no more resolution.
pub fn anomaly_map(cells: &Scales) -> Tensor {
    let (height, width) = (cells[0].size()[1] * MAP_STEPS, cells[0].size()[2] * MAP_STEPS);
    let enlarged =
        cells.each_ref().map(|map| map.unsqueeze(1).upsample_bilinear2d([height, width], false, None, None));
    Tensor::cat(&enlarged, 1).mean_dim([1].as_slice(), false, None)
}
