//! One convolution of the plan: exact rewrites of its weights, then made ready for what computes it.

use tch::{Kind, TchError, Tensor};

use crate::cpu::inference;
use crate::cpu::{Activation, Shape, map};
use crate::engine::fused::libtorch;

/// How a square kernel goes over a map, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Zeros before the first row and column, and after the last.
    pub(super) padding: (i64, i64),
    pub(super) stride: i64,
    pub(super) groups: i64,
}

/// Of a convolution of single pixels.
pub(super) const POINTWISE: Geometry = Geometry { padding: (0, 0), stride: 1, groups: 1 };

/// Weights and bias of a convolution before they are packed, in f64: rewrites round once, at the end.
#[derive(Debug)]
pub(super) struct Folded {
    /// `[O, I, k, k]`.
    pub(super) weight: Tensor,
    /// `[O]`.
    pub(super) bias: Tensor,
}

/// By what convolutions are computed, and in what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Computing {
    pub(super) kernels: Kernels,
    /// Of maps and weights.
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernels {
    /// On the CPU, one picture at a time.
    OneDnn,
    /// Wherever the network is, any number of pictures together. With `tf32` a GPU may round what it multiplies in f32.
    Libtorch { tf32: bool },
}

/// A map that a convolution writes.
#[derive(Debug)]
pub(super) struct Map {
    kind: Kind,
    /// Where it lies, for oneDNN; libtorch finds a place each time.
    memory: Option<Tensor>,
}

/// A convolution that is ready to run, for inputs of one size.
#[derive(Debug)]
pub(super) enum Convolution {
    OneDnn { made: inference::Convolution, y: Tensor },
    Libtorch(libtorch::Convolution),
}

/// Where a convolution's output goes.
#[derive(Debug)]
pub(super) enum Output {
    /// In place of what is there.
    To(Map),
    /// Added to what is there.
    Onto(Map),
}

impl Folded {
    pub(super) fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self, TchError> {
        let weight = weight.f_detach()?.f_to_kind(Kind::Double)?;
        let bias = match bias {
            Some(bias) => bias.f_detach()?.f_to_kind(Kind::Double)?,
            None => Tensor::f_zeros([weight.size()[0]], (Kind::Double, weight.device()))?,
        };
        Ok(Self { weight, bias })
    }

    /// What follows multiplies each output channel by `factor` and adds `shift`.
    pub(super) fn then(self, factor: &Tensor, shift: &Tensor) -> Result<Self, TchError> {
        let weight = self.weight.f_mul(&factor.f_view([-1, 1, 1, 1])?)?;
        Ok(Self { weight, bias: self.bias.f_mul(factor)?.f_add(shift)? })
    }

    /// Batch norm with fixed statistics follows.
    pub(super) fn then_norm(self, norm: &Norm) -> Result<Self, TchError> {
        let double = |tensor: &Tensor| tensor.f_detach()?.f_to_kind(Kind::Double);
        let factor =
            double(&norm.weight)?.f_mul(&double(&norm.variance)?.f_add_scalar(norm.epsilon)?.f_rsqrt()?)?;
        let shift = double(&norm.bias)?.f_sub(&double(&norm.mean)?.f_mul(&factor)?)?;
        self.then(&factor, &shift)
    }

    /// The output channels in another order.
    pub(super) fn reordered(self, order: &Tensor) -> Result<Self, TchError> {
        Ok(Self { weight: self.weight.f_index_select(0, order)?, bias: self.bias.f_index_select(0, order)? })
    }

    /// The sum of two convolutions of the same kernel: one, of both inputs behind one another.
    pub(super) fn plus(self, other: &Self) -> Result<Self, TchError> {
        let weight = Tensor::f_cat(&[&self.weight, &other.weight], 1)?;
        Ok(Self { weight, bias: self.bias.f_add(&other.bias)? })
    }

    /// For inputs of `size`, `[1, C, H, W]`, that come in the kind of `computing`; with oneDNN for as many threads as there are
    /// now.
    pub(super) fn pack(
        &self,
        by: Geometry,
        activation: Activation,
        (size, computing): ([i64; 4], Computing),
        output: Output,
    ) -> Result<Convolution, TchError> {
        let (y, adds) = match output {
            Output::To(y) => (y, false),
            Output::Onto(y) => (y, true),
        };
        let kind = computing.kind;
        let y = match (computing.kernels, y.memory) {
            (Kernels::Libtorch { tf32 }, _) => {
                let kinds = libtorch::Kinds { input: kind, output: y.kind, tf32 };
                return Ok(Convolution::Libtorch(libtorch::Convolution::new(self, by, activation, kinds)?));
            }
            (Kernels::OneDnn, Some(y)) => y,
            (Kernels::OneDnn, None) => return Err(TchError::Shape("oneDNN writes to no place".to_owned())),
        };
        let [batch, input, height, width] = size;
        let shape = Shape {
            batch,
            input,
            height,
            width,
            output: self.bias.size()[0],
            kernel: self.weight.size()[3],
            stride: by.stride,
            groups: by.groups,
            pad_before: by.padding.0,
            pad_after: by.padding.1,
            bf16_in: kind == Kind::BFloat16,
            bf16_out: y.kind() == Kind::BFloat16,
            adds,
        };
        let made = inference::Convolution::new(shape, activation, &self.weight, &self.bias)?;
        Ok(Convolution::OneDnn { made, y })
    }
}

impl Geometry {
    /// Padded so that the output is the input's size divided by the stride.
    pub(super) fn centred(kernel: i64, stride: i64) -> Self {
        Self { padding: (kernel / 2, kernel / 2), stride, groups: 1 }
    }
}

impl Computing {
    /// A map for these to write to, in `kind`.
    pub(super) fn map(self, size: [i64; 4], kind: Kind) -> Result<Map, TchError> {
        let memory = match self.kernels {
            Kernels::OneDnn => Some(map::zeros(size, kind)?),
            Kernels::Libtorch { .. } => None,
        };
        Ok(Map { kind, memory })
    }

    /// The same as exactly as f32 is.
    pub(super) fn exactly(self) -> Self {
        let kernels = match self.kernels {
            Kernels::OneDnn => Kernels::OneDnn,
            Kernels::Libtorch { .. } => Kernels::Libtorch { tf32: false },
        };
        Self { kernels, kind: Kind::Float }
    }
}

impl Map {
    pub(super) fn new(kind: Kind, memory: Option<Tensor>) -> Self {
        Self { kind, memory }
    }

    /// The same place.
    pub(super) fn share(&self) -> Self {
        Self { kind: self.kind, memory: self.memory.as_ref().map(Tensor::shallow_clone) }
    }
}

impl Convolution {
    /// By oneDNN the output stays until the next call of this or of another that has the same map for its output.
    ///
    /// # Shapes
    /// `[B, I, H, W]` to `[B, O, H', W']`, both channels last.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::OneDnn { made, y } => {
                made.run(x, y)?;
                Ok(y.shallow_clone())
            }
            Self::Libtorch(convolution) => convolution.forward(x),
        }
    }

    /// The same, added to `y`, which by oneDNN is what lies in the map that it was made for.
    pub(super) fn forward_onto(&self, x: &Tensor, y: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::OneDnn { y: own, .. } => {
                debug_assert_eq!(own.data_ptr(), y.data_ptr(), "it adds to its own map");
                self.forward(x)
            }
            Self::Libtorch(convolution) => convolution.forward(x)?.f_add_(y),
        }
    }
}

/// Batch norm with fixed statistics.
#[derive(Debug)]
pub(super) struct Norm {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    pub(super) mean: Tensor,
    pub(super) variance: Tensor,
    pub(super) epsilon: f64,
}

#[cfg(test)]
mod tests;
