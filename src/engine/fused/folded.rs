//! Exact rewrites of a convolution's weights.

use tch::{Kind, TchError, Tensor};

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

/// Weights and bias of a convolution before they are made ready for what computes it, in f64: rewrites round once, at the end.
#[derive(Debug)]
pub(super) struct Folded {
    /// `[O, I, k, k]`.
    pub(super) weight: Tensor,
    /// `[O]`.
    pub(super) bias: Tensor,
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

    /// What follows multiplies each output channel by `factor`.
    pub(super) fn times(self, factor: &Tensor) -> Result<Self, TchError> {
        let nothing = factor.f_zeros_like()?;
        self.then(factor, &nothing)
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

    /// Without its bias, which is added elsewhere.
    pub(super) fn unbiased(self) -> Result<Self, TchError> {
        Ok(Self { bias: self.bias.f_zeros_like()?, weight: self.weight })
    }

    /// Of a pointwise convolution: the same for inputs that lack `constant`, `[I]`, in each pixel.
    pub(super) fn after(self, constant: &Tensor) -> Result<Self, TchError> {
        let bias = self.bias.f_add(&self.matrix()?.f_mv(constant)?)?;
        Ok(Self { bias, weight: self.weight })
    }

    /// Of a pointwise convolution, `[O, I]`.
    pub(super) fn matrix(&self) -> Result<Tensor, TchError> {
        self.weight.f_flatten(1, 3)
    }
}

impl Geometry {
    /// Padded so that the output is the input's size divided by the stride.
    pub(super) fn centred(kernel: i64, stride: i64) -> Self {
        Self { padding: (kernel / 2, kernel / 2), stride, groups: 1 }
    }
}
