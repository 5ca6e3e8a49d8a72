//! From latent values to one number for the picture and one for each cell.
//!
//! ```text
//!  z ─▶ cell maps ─▶ places? ─▶ levels? ─▶ fused ─┬▶ top cells, maximum, spread ─▶ score
//!  │   (one a scale)                              └▶ anomaly map
//!  └▶ mean of z^2 / 2 ──────────────────────────────────────────────────────────▶ score
//! ```
//!
//! What is computed stands in a [`scoring::Scoring`], which a [`scorer::Scorer`] follows; [`fit`] measures it.

pub mod area;
pub mod fit;
pub mod method;
pub mod places;
pub mod scorer;
pub mod scoring;

use tch::{Kind, TchError, Tensor};

use crate::model::Scales;
use crate::model::score::area::Area;

/// What the network says about `B` pictures.
#[derive(Debug)]
pub struct Reading {
    /// `[B]`.
    pub scores: Tensor,
    /// `[B, H, W]`, the anomaly map: see [`scorer::Scorer`].
    pub maps: Tensor,
}

impl Reading {
    /// The same tensors.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { scores: self.scores.shallow_clone(), maps: self.maps.shallow_clone() }
    }

    /// The same in tensors of its own.
    pub fn copy(&self) -> Result<Self, TchError> {
        let copy = |tensor: &Tensor| tensor.f_to_dtype(tensor.f_kind()?, false, true);
        Ok(Self { scores: copy(&self.scores)?, maps: copy(&self.maps)? })
    }
}

/// Mean of `z^2 / 2` over all scales, positions and channels, `[B]`: the likelihood without its determinant,
/// as the research code scores (`evaluate.py`, `evaluate`). Reductions are in f32.
pub fn mean_score(latent: &[Tensor]) -> Tensor {
    let flat: Vec<Tensor> = latent.iter().map(|z| z.to_kind(Kind::Float).square().flatten(1, -1)).collect();
    Tensor::cat(&flat, 1).mean_dim([1].as_slice(), false, None) * 0.5
}

/// The same mean over the values of the cells in `area`.
fn mean_score_in(latent: &[Tensor], area: &Area) -> Tensor {
    let counted = |(scale, z): (usize, &Tensor)| {
        Some(area.pick(scale, &z.to_kind(Kind::Float))?.square().flatten(1, -1))
    };
    let flat: Vec<Tensor> = latent.iter().enumerate().filter_map(counted).collect();
    Tensor::cat(&flat, 1).mean_dim([1].as_slice(), false, None) * 0.5
}

/// Mean over the channels of `z^2` at each cell, `[B, H_s, W_s]` (paper, section 3.4).
pub fn cell_maps(latent: &[Tensor]) -> Scales {
    latent.iter().map(|z| z.to_kind(Kind::Float).square().mean_dim([1].as_slice(), false, None)).collect()
}

/// One map of `size` over the whole picture, `[B, H, W]`: the mean of the scales' cell maps, each enlarged
/// bilinearly. It may have more pixels than the network has cells, but no more resolution.
fn fuse(cells: &[Tensor], size: [i64; 2], area: Option<&Area>) -> Tensor {
    if let Some(area) = area {
        return area.fuse(cells, size);
    }
    let enlarge = |map: &Tensor| map.unsqueeze(1).upsample_bilinear2d(size, false, None, None);
    let enlarged: Vec<Tensor> = cells.iter().map(enlarge).collect();
    Tensor::cat(&enlarged, 1).mean_dim([1].as_slice(), false, None)
}

#[cfg(test)]
mod tests;
