//! A convolution by libtorch: on CUDA devices by cuDNN, and on CPUs for which oneDNN has no fast kernels.

use tch::{Kind, TchError, Tensor};

use crate::cpu::Activation;
use crate::cpu::map::channels_last;
use crate::engine::fused::convolution::{Folded, Geometry};

/// In what it computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kinds {
    /// Of inputs and weights.
    pub(super) input: Kind,
    pub(super) output: Kind,
    /// Whether what is multiplied in f32 may be rounded to the ten bits of TF32; sums are in f32.
    pub(super) tf32: bool,
}

#[derive(Debug)]
pub(super) struct Convolution {
    /// Channels last.
    weight: Tensor,
    bias: Tensor,
    by: Geometry,
    activation: Activation,
    /// `[1]`, of an activation that has one.
    slope: Option<Tensor>,
    kinds: Kinds,
}

impl Convolution {
    /// On the device of `folded`.
    pub(super) fn new(
        folded: &Folded,
        by: Geometry,
        activation: Activation,
        kinds: Kinds,
    ) -> Result<Self, TchError> {
        let kind = kinds.input;
        let slope = match activation {
            Activation::LeakyRelu(slope) => {
                Some(Tensor::f_from_slice(&[slope])?.f_to_device(folded.bias.device())?.f_to_kind(kind)?)
            }
            Activation::None | Activation::Relu6 | Activation::Silu | Activation::Sigmoid => None,
        };
        let weight = channels_last(&folded.weight.f_to_kind(kind)?)?;
        Ok(Self { weight, bias: folded.bias.f_to_kind(kind)?, by, activation, slope, kinds })
    }

    /// # Shapes
    /// `[B, I, H, W]` to `[B, O, H', W']`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let Geometry { padding: (before, after), stride, groups } = self.by;
        let (padded, padding) = if before == after {
            (None, before)
        } else {
            (Some(x.f_constant_pad_nd([before, after, before, after])?), 0)
        };
        // cuDNN does not time its algorithms but takes the one that it thinks best: a network is loaded in seconds, and scores the
        // same each time.
        let (is_timed, is_deterministic, by_cudnn) = (false, true, true);
        let y = Tensor::f_internal_convolution(
            padded.as_ref().unwrap_or(x),
            &self.weight,
            Some(&self.bias),
            [stride, stride],
            [padding, padding],
            [1, 1],
            false,
            [0, 0],
            groups,
            is_timed,
            is_deterministic,
            by_cudnn,
            self.kinds.tf32,
        )?;
        self.activate(y)?.f_to_kind(self.kinds.output)
    }

    fn activate(&self, mut y: Tensor) -> Result<Tensor, TchError> {
        match (self.activation, &self.slope) {
            (Activation::None, _) => Ok(y),
            (Activation::Relu6, _) => y.f_relu6_(),
            (Activation::Silu, _) => y.f_silu_(),
            (Activation::Sigmoid, _) => y.f_sigmoid_(),
            (Activation::LeakyRelu(_), Some(slope)) => y.f_prelu(slope),
            (Activation::LeakyRelu(_), None) => Err(TchError::Shape("a slope is missing".to_owned())),
        }
    }
}
