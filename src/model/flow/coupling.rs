//! The affine coupling: each half of the channels is scaled and shifted by what the other half says.
//!
//! Paper, equations 2 to 4; research code, `freia_funcs.py`, `parallel_glow_coupling_layer`.

use tch::{Tensor, nn};

use crate::model::Scales;
use crate::model::flow::FlowConfig;
use crate::model::flow::cross_scale::{CrossScale, Size};

/// The research code's approximation of 2 / pi in the soft clamp.
pub const SOFT_CLAMP: f64 = 0.636;

/// Latent values are cut here, as in the research code: an early, wild step stays finite.
pub const LATENT_LIMIT: f64 = 1e6;

/// `s2` reads the second half and changes the first; `s1` reads the changed first half and changes the second.
#[derive(Debug)]
pub struct Coupling {
    halves: Vec<Halves>,
    clamp: f64,
    s1: CrossScale,
    s2: CrossScale,
}

/// Channels of the two halves of one scale.
#[derive(Clone, Copy, Debug)]
struct Halves {
    first: i64,
    second: i64,
}

impl Coupling {
    pub fn new(path: &nn::Path<'_>, config: &FlowConfig, kernel: i64) -> Self {
        let [s1, s2] = Self::subnets(config, kernel);
        Self {
            halves: halves(config),
            clamp: config.clamp,
            s1: CrossScale::new(&(path / "s1"), &s1),
            s2: CrossScale::new(&(path / "s2"), &s2),
        }
    }

    /// How many numbers [`Coupling::new`] makes.
    pub fn values(config: &FlowConfig, kernel: i64) -> i64 {
        Self::subnets(config, kernel).iter().map(Size::values).sum()
    }

    /// The sizes of `s1` and `s2`.
    pub fn subnets(config: &FlowConfig, kernel: i64) -> [Size; 2] {
        let halves = halves(config);
        let first: Vec<i64> = halves.iter().map(|halves| halves.first).collect();
        let second: Vec<i64> = halves.iter().map(|halves| halves.second).collect();
        let size = |input: &[i64], changed: &[i64]| Size {
            input: input.to_vec(),
            output: changed.iter().map(|channels| 2 * channels).collect(),
            hidden: config.hidden,
            kernel,
            cross_scale: config.cross_scale,
        };
        [size(&first, &second), size(&second, &first)]
    }

    /// # Shapes
    /// `[B, C_s, H_s, W_s]` to the same, and `[B]` for each scale.
    pub fn forward(&self, x: &[Tensor]) -> (Scales, Scales) {
        let (x1, x2) = self.split(x);
        let affine2 = self.affine(&self.s2.forward(&x2), |halves| halves.first);
        let y1 = each(&affine2, &x1, Affine::apply);
        let affine1 = self.affine(&self.s1.forward(&y1), |halves| halves.second);
        let y2 = each(&affine1, &x2, Affine::apply);

        let sum = |t: &Tensor| t.sum_dim_intlist([1, 2, 3].as_slice(), false, None);
        let log_det = affine1.iter().zip(&affine2);
        let log_det = log_det.map(|(one, two)| sum(&one.log_scale) + sum(&two.log_scale)).collect();
        let limited = join(&y1, &y2).iter().map(|z| z.clamp(-LATENT_LIMIT, LATENT_LIMIT)).collect();
        (limited, log_det)
    }

    /// Undoes [`Coupling::forward`] wherever that did not cut.
    pub fn inverse(&self, y: &[Tensor]) -> Scales {
        let (y1, y2) = self.split(y);
        let affine1 = self.affine(&self.s1.forward(&y1), |halves| halves.second);
        let x2 = each(&affine1, &y2, Affine::undo);
        let affine2 = self.affine(&self.s2.forward(&x2), |halves| halves.first);
        let x1 = each(&affine2, &y1, Affine::undo);
        join(&x1, &x2)
    }

    fn split(&self, x: &[Tensor]) -> (Scales, Scales) {
        let split = |(x, halves): (&Tensor, &Halves)| {
            (x.narrow(1, 0, halves.first), x.narrow(1, halves.first, halves.second))
        };
        x.iter().zip(&self.halves).map(split).unzip()
    }

    /// `log e(s) = clamp * 0.636 * atan(s / clamp)`, and the shift: the two halves of a subnet's output.
    fn affine(&self, output: &[Tensor], channels: impl Fn(&Halves) -> i64) -> Vec<Affine> {
        let affine = |(output, halves): (&Tensor, &Halves)| {
            let channels = channels(halves);
            Affine {
                log_scale: (output.narrow(1, 0, channels) / self.clamp).atan() * (self.clamp * SOFT_CLAMP),
                shift: output.narrow(1, channels, channels),
            }
        };
        output.iter().zip(&self.halves).map(affine).collect()
    }
}

fn halves(config: &FlowConfig) -> Vec<Halves> {
    let halves = |&channels: &i64| Halves { first: channels / 2, second: channels - channels / 2 };
    config.channels.iter().map(halves).collect()
}

struct Affine {
    log_scale: Tensor,
    shift: Tensor,
}

impl Affine {
    fn apply(&self, x: &Tensor) -> Tensor {
        self.log_scale.exp() * x + &self.shift
    }

    fn undo(&self, y: &Tensor) -> Tensor {
        (y - &self.shift) / self.log_scale.exp()
    }
}

fn each(affine: &[Affine], x: &[Tensor], map: fn(&Affine, &Tensor) -> Tensor) -> Scales {
    affine.iter().zip(x).map(|(affine, x)| map(affine, x)).collect()
}

fn join(first: &[Tensor], second: &[Tensor]) -> Scales {
    first.iter().zip(second).map(|(first, second)| Tensor::cat(&[first, second], 1)).collect()
}
