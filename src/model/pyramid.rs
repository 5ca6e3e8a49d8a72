//! The image pyramid: the same picture at full, half and quarter size.

use tch::Tensor;

use crate::model::Scales;

/// Nearest-neighbour copies at half and quarter size of the *normalised* image, without anti-aliasing, as the
/// research code makes them (`model.py`, `FeatureExtractor.forward`, `F.interpolate` in its default mode).
///
/// # Shapes
/// `[B, 3, H, W]` to `[B, 3, H / 2^s, W / 2^s]`, s = 0, 1, 2; H and W multiples of 4.
pub fn pyramid(image: &Tensor) -> Scales {
    let (height, width) = (image.size()[2], image.size()[3]);
    let smaller = |factor: i64| image.upsample_nearest2d([height / factor, width / factor], None, None);
    [image.shallow_clone(), smaller(2), smaller(4)]
}
