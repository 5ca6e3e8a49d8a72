//! The network, as the paper draws it.
//!
//! ```text
//!  frame ─▶ preprocess ─▶ pyramid ─▶ backbone (one for all scales) ─▶ whitening ─▶ flow ─▶ z ─▶ score, maps
//! ```
//!
//! The paper has no whitening. That, and every shape of network but the preset `paper`, is csflowd's own: see
//! [`architecture`] and [`preset`].
//!
//! CS-Flow: Rudolph, Wehrbein, Rosenhahn, Wandt, "Fully Convolutional Cross-Scale-Flows for Image-based
//! Defect Detection", WACV 2022, <https://arxiv.org/abs/2110.02855>. "Research code" below means
//! <https://github.com/marco-rudolph/cs-flow> at commit 88a13b8.
//!
//! Nothing here knows threads, files (but for [`bundle`] and [`weights`]) or time.

pub mod architecture;
pub mod backbone;
pub mod bundle;
pub mod features;
pub mod flow;
pub mod network;
pub mod preprocess;
pub mod preset;
pub mod pyramid;
pub mod score;
pub mod weights;
pub mod whitening;

use tch::Tensor;

/// Most scales, and so feature maps, of a network. The paper has as many.
pub const MAX_SCALES: usize = 3;

/// One tensor for each scale, the largest first.
pub type Scales = Vec<Tensor>;

/// The same shallow copies: tensors of tch share storage.
pub fn share(scales: &[Tensor]) -> Scales {
    scales.iter().map(Tensor::shallow_clone).collect()
}
