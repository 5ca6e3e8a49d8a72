//! The affine coupling: each half of the channels is scaled and shifted by what the other half says.
//!
//! Paper, equations 2 to 4; research code, `freia_funcs.py`, `parallel_glow_coupling_layer`.

use tch::{Tensor, nn};

use crate::model::flow::FlowConfig;
use crate::model::flow::cross_scale::CrossScale;
use crate::model::{SCALES, Scales};

/// The research code's approximation of 2 / pi in the soft clamp.
const SOFT_CLAMP: f64 = 0.636;

/// Latent values are cut here, as in the research code: an early, wild step stays finite.
const LATENT_LIMIT: f64 = 1e6;

/// `s2` reads the second half and changes the first; `s1` reads the changed first half and changes the second.
#[derive(Debug)]
pub struct Coupling {
    first: i64,
    second: i64,
    clamp: f64,
    s1: CrossScale,
    s2: CrossScale,
}

impl Coupling {
    pub fn new(path: &nn::Path<'_>, config: &FlowConfig, kernel: i64) -> Self {
        let [first, second] = halves(config);
        Self {
            first,
            second,
            clamp: config.clamp,
            s1: CrossScale::new(&(path / "s1"), first, 2 * second, config.hidden, kernel),
            s2: CrossScale::new(&(path / "s2"), second, 2 * first, config.hidden, kernel),
        }
    }

    /// How many numbers [`Coupling::new`] makes.
    pub fn values(config: &FlowConfig, kernel: i64) -> i64 {
        let [first, second] = halves(config);
        CrossScale::values(first, 2 * second, config.hidden, kernel)
            + CrossScale::values(second, 2 * first, config.hidden, kernel)
    }

    /// # Shapes
    /// `[B, C, H_s, W_s]` to the same, and `[B]` for each scale.
    pub fn forward(&self, x: &Scales) -> (Scales, Scales) {
        let (x1, x2) = self.split(x);
        let affine2 = self.affine(&self.s2.forward(&x2), self.first);
        let y1: Scales = std::array::from_fn(|s| affine2[s].log_scale.exp() * &x1[s] + &affine2[s].shift);
        let affine1 = self.affine(&self.s1.forward(&y1), self.second);
        let y2: Scales = std::array::from_fn(|s| affine1[s].log_scale.exp() * &x2[s] + &affine1[s].shift);

        let sum = |t: &Tensor| t.sum_dim_intlist([1, 2, 3].as_slice(), false, None);
        let log_det = std::array::from_fn(|s| sum(&affine1[s].log_scale) + sum(&affine2[s].log_scale));
        (join(&y1, &y2).map(|z| z.clamp(-LATENT_LIMIT, LATENT_LIMIT)), log_det)
    }

    /// Undoes [`Coupling::forward`] wherever that did not cut.
    pub fn inverse(&self, y: &Scales) -> Scales {
        let (y1, y2) = self.split(y);
        let affine1 = self.affine(&self.s1.forward(&y1), self.second);
        let x2: Scales = std::array::from_fn(|s| (&y2[s] - &affine1[s].shift) / affine1[s].log_scale.exp());
        let affine2 = self.affine(&self.s2.forward(&x2), self.first);
        let x1: Scales = std::array::from_fn(|s| (&y1[s] - &affine2[s].shift) / affine2[s].log_scale.exp());
        join(&x1, &x2)
    }

    fn split(&self, x: &Scales) -> (Scales, Scales) {
        (
            std::array::from_fn(|s| x[s].narrow(1, 0, self.first)),
            std::array::from_fn(|s| x[s].narrow(1, self.first, self.second)),
        )
    }

    /// `log e(s) = clamp * 0.636 * atan(s / clamp)`, and the shift: the two halves of a subnet's output.
    fn affine(&self, output: &Scales, channels: i64) -> [Affine; SCALES] {
        std::array::from_fn(|s| Affine {
            log_scale: (output[s].narrow(1, 0, channels) / self.clamp).atan() * (self.clamp * SOFT_CLAMP),
            shift: output[s].narrow(1, channels, channels),
        })
    }
}

fn halves(config: &FlowConfig) -> [i64; 2] {
    let first = config.channels / 2;
    [first, config.channels - first]
}

struct Affine {
    log_scale: Tensor,
    shift: Tensor,
}

fn join(first: &Scales, second: &Scales) -> Scales {
    std::array::from_fn(|s| Tensor::cat(&[&first[s], &second[s]], 1))
}
