//! A convolution of the flow, by libtorch: on CUDA devices it is cuDNN's.

use tch::{Kind, TchError, Tensor};

use crate::cpu::map::channels_last;
use crate::engine::fused::folded::{Folded, Geometry};

/// Without its bias, which is added by what follows.
#[derive(Debug)]
pub(super) struct Convolution {
    /// Channels last.
    weight: Tensor,
    by: Geometry,
    /// Whether what is multiplied in f32 may be rounded to the ten bits of TF32; sums are in f32.
    is_tf32: bool,
}

impl Convolution {
    /// On the device of `folded`.
    pub(super) fn new(
        folded: &Folded,
        by: Geometry,
        (element, is_tf32): (Kind, bool),
    ) -> Result<Self, TchError> {
        Ok(Self { weight: channels_last(&folded.weight.f_to_kind(element)?)?, by, is_tf32 })
    }

    /// # Shapes
    /// `[B, H, W, I]` to `[B, H', W', O]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let Geometry { padding: (padding, _), stride, groups } = self.by;
        // cuDNN does not time its algorithms but takes the one that it thinks best: a network is loaded in seconds, and scores the
        // same each time.
        let (is_timed, is_deterministic, by_cudnn) = (false, true, true);
        let y = Tensor::f_internal_convolution(
            &x.f_permute([0, 3, 1, 2])?,
            &self.weight,
            None::<&Tensor>,
            [stride, stride],
            [padding, padding],
            [1, 1],
            false,
            [0, 0],
            groups,
            is_timed,
            is_deterministic,
            by_cudnn,
            self.is_tf32,
        )?;
        y.f_permute([0, 2, 3, 1])?.f_contiguous()
    }
}
