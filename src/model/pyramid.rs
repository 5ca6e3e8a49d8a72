//! The image pyramid: the same picture at full, half and quarter size.

use tch::Tensor;

use crate::model::Scales;

/// Nearest-neighbour copies at half and quarter size of the *normalised* image, without anti-aliasing, as the
/// research code makes them (`model.py`, `FeatureExtractor.forward`, `F.interpolate` in its default mode).
///
/// # Shapes
/// `[B, 3, H, W]` to `[B, 3, H / 2^s, W / 2^s]`, s from 0 to `scales - 1`; H and W multiples of the largest 2^s.
pub fn pyramid(image: &Tensor, scales: usize) -> Scales {
    let (height, width) = (image.size()[2], image.size()[3]);
    let smaller = |s: usize| image.upsample_nearest2d([height >> s, width >> s], None, None);
    (0..scales).map(|s| if s == 0 { image.shallow_clone() } else { smaller(s) }).collect()
}
