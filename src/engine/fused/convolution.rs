//! One convolution of the plan: exact rewrites of its weights, then packed for oneDNN.

use tch::{Kind, TchError, Tensor};

use crate::cpu::inference;
use crate::cpu::{Activation, Shape};

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

/// A convolution with packed weights, for inputs of one size, and the map that it writes to.
#[derive(Debug)]
pub(super) struct Convolution {
    made: inference::Convolution,
    y: Tensor,
}

/// Where a convolution's output goes.
#[derive(Debug)]
pub(super) enum Output {
    /// In place of what is there.
    To(Tensor),
    /// Added to what is there.
    Onto(Tensor),
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

    /// Packs for inputs of `size`, `[B, C, H, W]`, that come in `kind`, for as many threads as there are now.
    pub(super) fn pack(
        &self,
        by: Geometry,
        activation: Activation,
        (size, kind): ([i64; 4], Kind),
        output: Output,
    ) -> Result<Convolution, TchError> {
        let (y, adds) = match output {
            Output::To(y) => (y, false),
            Output::Onto(y) => (y, true),
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
        Ok(Convolution { made: inference::Convolution::new(shape, activation, &self.weight, &self.bias)?, y })
    }
}

impl Geometry {
    /// Padded so that the output is the input's size divided by the stride.
    pub(super) fn centred(kernel: i64, stride: i64) -> Self {
        Self { padding: (kernel / 2, kernel / 2), stride, groups: 1 }
    }
}

impl Convolution {
    /// The output stays until the next call of this or of another that has the same map for its output.
    ///
    /// # Shapes
    /// `[B, I, H, W]` to `[B, O, H', W']`, both channels last.
    pub(super) fn forward(&self, x: &Tensor) -> Result<&Tensor, TchError> {
        self.made.run(x, &self.y)?;
        Ok(&self.y)
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
