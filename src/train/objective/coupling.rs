//! A coupling, forward and back. See [`crate::model::flow::coupling`].

use tch::{Kind, TchError, Tensor};

use crate::model::flow::coupling::SOFT_CLAMP;
use crate::model::{Scales, share};
use crate::train::objective::Learned;
use crate::train::objective::subnet::{Subnet, Trace};

#[derive(Debug)]
pub(super) struct Coupling {
    pub(super) s1: Subnet,
    pub(super) s2: Subnet,
    pub(super) clamp: f64,
}

/// What the way back needs of the way there.
#[derive(Debug)]
pub(super) struct Passed {
    s1: (Trace, Vec<Affine>),
    s2: (Trace, Vec<Affine>),
}

/// `y = scale * x + shift` at one scale, with `log scale = clamp * 0.636 * atan(s / clamp)`.
#[derive(Debug)]
struct Affine {
    /// `s / clamp`.
    s: Tensor,
    scale: Tensor,
    /// `scale * x`.
    scaled: Tensor,
}

/// The halves of the channels at each scale.
#[derive(Debug)]
pub(super) struct Halves {
    pub(super) first: Scales,
    pub(super) second: Scales,
}

impl Coupling {
    /// What becomes of the halves, and the sum of the log-determinants of the whole batch.
    pub(super) fn forward(&self, values: &[Tensor], x: &Halves) -> Result<(Halves, f64, Passed), TchError> {
        let (said, trace2) = self.s2.forward(values, share(&x.second))?;
        let (first, affine2, log_det2) = self.apply(&said, &x.first)?;
        let (said, trace1) = self.s1.forward(values, share(&first))?;
        let (second, affine1, log_det1) = self.apply(&said, &x.second)?;
        let passed = Passed { s1: (trace1, affine1), s2: (trace2, affine2) };
        Ok((Halves { first, second }, log_det1 + log_det2, passed))
    }

    /// From the gradients of both halves after it to those before it, if they are asked for. `log_det` is the gradient of
    /// each log-determinant.
    pub(super) fn backward(
        &self,
        learned: Learned<'_>,
        passed: &Passed,
        mut y: Halves,
        log_det: f64,
        is_asked: bool,
    ) -> Result<Option<Halves>, TchError> {
        let (trace, affine) = &passed.s1;
        let (said, second) = back(affine, &y.second, log_det)?;
        if let Some(more) = self.s1.backward(learned, trace, &said, true)? {
            add(&mut y.first, &more)?;
        }
        let (trace, affine) = &passed.s2;
        let (said, first) = back(affine, &y.first, log_det)?;
        let Some(mut more) = self.s2.backward(learned, trace, &said, is_asked)? else {
            return Ok(None);
        };
        add(&mut more, &second)?;
        Ok(Some(Halves { first, second: more }))
    }

    /// Scales and shifts by what a subnet says.
    fn apply(&self, said: &[Tensor], x: &[Tensor]) -> Result<(Scales, Vec<Affine>, f64), TchError> {
        let (mut y, mut affine, mut log_det) = (Vec::new(), Vec::new(), 0.0);
        for (said, x) in said.iter().zip(x) {
            let channels = x.size()[1];
            let s = said.f_narrow(1, 0, channels)?.f_div_scalar(self.clamp)?;
            let mut log_scale = s.f_atan()?.f_mul_scalar_(self.clamp * SOFT_CLAMP)?;
            log_det += log_scale.f_sum(Kind::Float)?.f_double_value(&[])?;
            let scale = log_scale.f_exp_()?;
            let scaled = scale.f_mul(x)?;
            y.push(scaled.f_add(&said.f_narrow(1, channels, channels)?)?);
            affine.push(Affine { s, scale, scaled });
        }
        Ok((y, affine, log_det))
    }
}

/// From the gradient of what was scaled and shifted to those of what the subnet said and of what there was before.
fn back(affine: &[Affine], y: &[Tensor], log_det: f64) -> Result<(Scales, Scales), TchError> {
    let (mut said, mut x) = (Vec::new(), Vec::new());
    for (Affine { s, scale, scaled }, y) in affine.iter().zip(y) {
        // The derivative of the logarithm of the scale by s.
        let slope = s.f_square()?.f_add_scalar_(1.0)?.f_reciprocal_()?.f_mul_scalar_(SOFT_CLAMP)?;
        let by_s = y.f_mul(scaled)?.f_add_scalar_(log_det)?.f_mul_(&slope)?;
        said.push(Tensor::f_cat(&[&by_s, y], 1)?);
        x.push(y.f_mul(scale)?);
    }
    Ok((said, x))
}

fn add(sums: &mut Scales, more: &[Tensor]) -> Result<(), TchError> {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.f_add(more)?;
    }
    Ok(())
}
