//! From latent values to one number for the picture and one for each cell.

use tch::{Kind, Tensor};

use crate::model::Scales;

/// Mean of `z^2 / 2` over all scales, positions and channels, `[B]`: the likelihood without its determinant,
/// as the research code scores (`evaluate.py`, `evaluate`). Reductions are in f32.
pub fn mean_score(latent: &[Tensor]) -> Tensor {
    let flat: Scales = latent.iter().map(|z| z.to_kind(Kind::Float).square().flatten(1, -1)).collect();
    Tensor::cat(&flat, 1).mean_dim([1].as_slice(), false, None) * 0.5
}

/// Mean over the channels of `z^2` at each cell, `[B, H_s, W_s]` (paper, section 3.4).
pub fn cell_maps(latent: &[Tensor]) -> Scales {
    latent.iter().map(|z| z.to_kind(Kind::Float).square().mean_dim([1].as_slice(), false, None)).collect()
}

/// One map over the whole picture, `[B, steps H_0, steps W_0]`: the mean of the scales' cell maps, each enlarged
/// bilinearly. It has more pixels than the network has cells, but no more resolution.
pub fn anomaly_map(cells: &[Tensor], steps: i64) -> Tensor {
    let (height, width) = (cells[0].size()[1] * steps, cells[0].size()[2] * steps);
    let enlarge = |map: &Tensor| map.unsqueeze(1).upsample_bilinear2d([height, width], false, None, None);
    let enlarged: Scales = cells.iter().map(enlarge).collect();
    Tensor::cat(&enlarged, 1).mean_dim([1].as_slice(), false, None)
}
