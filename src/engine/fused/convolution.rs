//! One convolution of the plan: exact rewrites of its weights, then packed for oneDNN.

use tch::{Kind, TchError, Tensor};

use crate::engine::shim::{self, Activation, Geometry};

/// Of a convolution of single pixels.
pub(super) const POINTWISE: Geometry = Geometry { padding: 0, stride: 1, groups: 1 };

/// Weights and bias of a convolution before they are packed, in f64: rewrites round once, at the end.
#[derive(Debug)]
pub(super) struct Folded {
    /// `[O, I, k, k]`.
    pub(super) weight: Tensor,
    /// `[O]`.
    pub(super) bias: Tensor,
}

/// A convolution with packed weights, for inputs of one size.
#[derive(Debug)]
pub(super) struct Convolution {
    weight: Tensor,
    /// f32 in every precision.
    bias: Tensor,
    by: Geometry,
    activation: Activation,
}

/// A convolution that is added to something of its kind.
#[derive(Debug)]
pub(super) struct Addend {
    weight: Tensor,
    bias: Tensor,
    by: Geometry,
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

    /// A kernel with a row and a column of zeros before it: padded by `k / 2` on all sides, its windows at stride 2
    /// lie one pixel further than those of the kernel alone. So is TensorFlow's SAME, where the odd pixel of padding
    /// goes behind.
    pub(super) fn shifted(self) -> Result<Self, TchError> {
        Ok(Self { weight: self.weight.f_constant_pad_nd([1, 0, 1, 0])?, ..self })
    }

    /// Packs for inputs of `size`, `[B, C, H, W]`, that come in `kind`.
    pub(super) fn pack(
        &self,
        by: Geometry,
        activation: Activation,
        size: [i64; 4],
        kind: Kind,
    ) -> Result<Convolution, TchError> {
        let (weight, bias) = (self.packed(by, size, kind)?, self.bias.f_to_kind(Kind::Float)?);
        Ok(Convolution { weight, bias, by, activation })
    }

    /// The same for [`Addend::add_to`].
    pub(super) fn pack_addend(&self, by: Geometry, size: [i64; 4], kind: Kind) -> Result<Addend, TchError> {
        Ok(Addend { weight: self.packed(by, size, kind)?, bias: self.bias.f_to_kind(kind)?, by })
    }

    fn packed(&self, by: Geometry, size: [i64; 4], kind: Kind) -> Result<Tensor, TchError> {
        shim::pack(&channels_last(&self.weight.f_to_kind(Kind::Float)?.f_to_kind(kind)?)?, by, size)
    }
}

impl Convolution {
    /// # Shapes
    /// `[B, I, H, W]` to `[B, O, H', W']`, both channels last.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        shim::convolve(x, &self.weight, &self.bias, self.by, self.activation)
    }
}

impl Addend {
    /// # Shapes
    /// `onto` is `[B, O, H', W']`, `x` is `[B, I, H, W]`, both channels last.
    pub(super) fn add_to(&self, onto: &mut Tensor, x: &Tensor) -> Result<(), TchError> {
        shim::convolve_onto(onto, x, &self.weight, &self.bias, self.by)
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

/// The same tensor with its channels next to one another in memory.
pub(super) fn channels_last(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests;
