//! The subnet of a coupling. Its convolutions, each by itself, can run at the same time; what they say is added up where it is used.

use tch::{Kind, TchError, Tensor};

use crate::cuda::kernels::flow::{FlowKernels, Said};
use crate::engine::fused::device::branches::Branches;
use crate::engine::fused::device::convolution::Convolution;
use crate::engine::fused::folded::{Folded, Geometry};
use crate::engine::fused::layers::ScaleLayers;
use crate::model::flow::cross_scale::SLOPE;

#[derive(Debug)]
pub(super) struct Subnet {
    pub(super) scales: Vec<Scale>,
}

#[derive(Debug)]
pub(super) struct Scale {
    hidden: Convolution,
    /// `[hidden]`, f32.
    hidden_bias: Tensor,
    /// Whether the next finer scale hears this one.
    is_enlarged: bool,
    same: Convolution,
    /// Of the next coarser scale's hidden layer, enlarged.
    up: Option<Convolution>,
    /// Of the next finer scale's hidden layer.
    down: Option<Convolution>,
    /// Of the three together, f32.
    bias: Tensor,
}

/// A hidden layer, and the same for the next finer scale.
#[derive(Debug)]
pub(super) struct Hidden {
    own: Tensor,
    enlarged: Option<Tensor>,
}

/// What a subnet says at one scale.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    same: Tensor,
    up: Option<Tensor>,
    down: Option<Tensor>,
    bias: &'a Tensor,
}

/// Which convolution of a scale.
#[derive(Clone, Copy, Debug)]
enum Which {
    Same,
    Up,
    Down,
}

impl Subnet {
    /// With maps and weights of `element`.
    pub(super) fn new(layers: Vec<ScaleLayers>, (element, is_tf32): (Kind, bool)) -> Result<Self, TchError> {
        let scale = |layers| Scale::new(layers, (element, is_tf32));
        let mut scales = layers.into_iter().map(scale).collect::<Result<Vec<Scale>, _>>()?;
        for s in 1..scales.len() {
            scales[s].is_enlarged = scales[s - 1].up.is_some();
        }
        Ok(Self { scales })
    }

    /// What all convolutions say of the hidden layers.
    pub(super) fn say(&self, hidden: &[Hidden], branches: &Branches) -> Result<Vec<Answer<'_>>, TchError> {
        let of_scale = |(s, scale): (usize, &Scale)| {
            let others = [scale.up.as_ref().map(|_| Which::Up), scale.down.as_ref().map(|_| Which::Down)];
            [Some(Which::Same)].into_iter().chain(others).flatten().map(move |which| (s, which))
        };
        let jobs = self.scales.iter().enumerate().flat_map(of_scale);
        let jobs = jobs.map(|(s, which)| move || self.scales[s].convolved(which, s, hidden)).collect();
        let mut said = branches.at_once(jobs)?.into_iter();
        let mut answers = Vec::with_capacity(self.scales.len());
        for scale in &self.scales {
            let mut next = |is_there: bool| if is_there { said.next() } else { None };
            let same = next(true).ok_or_else(|| TchError::Shape("a scale says nothing".to_owned()))?;
            let (up, down) = (next(scale.up.is_some()), next(scale.down.is_some()));
            answers.push(Answer { same, up, down, bias: &scale.bias });
        }
        Ok(answers)
    }
}

impl Scale {
    fn new(layers: ScaleLayers, (element, is_tf32): (Kind, bool)) -> Result<Self, TchError> {
        let ScaleLayers { hidden, same, up, down, .. } = layers;
        let kernel = hidden.weight.size()[3];
        let convolution = |folded: &Folded, stride| {
            Convolution::new(folded, Geometry::centred(kernel, stride), (element, is_tf32))
        };
        let mut bias = same.bias.shallow_clone();
        for folded in [&up, &down].into_iter().flatten() {
            bias = bias.f_add(&folded.bias)?;
        }
        Ok(Self {
            hidden: convolution(&hidden, 1)?,
            hidden_bias: hidden.bias.f_to_kind(Kind::Float)?,
            is_enlarged: false,
            same: convolution(&same, 1)?,
            up: up.map(|up| convolution(&up, 1)).transpose()?,
            down: down.map(|down| convolution(&down, 2)).transpose()?,
            bias: bias.f_to_kind(Kind::Float)?,
        })
    }

    /// The hidden layer of `x`, `[B, H, W, C]`.
    pub(super) fn hear(&self, x: &Tensor, kernels: &FlowKernels) -> Result<Hidden, TchError> {
        let raw = self.hidden.forward(x)?;
        #[expect(clippy::cast_possible_truncation, reason = "0.1")]
        let slope = SLOPE as f32;
        let (own, enlarged) = kernels.hear(&raw, &self.hidden_bias, slope, self.is_enlarged)?;
        Ok(Hidden { own, enlarged })
    }

    fn convolved(&self, which: Which, s: usize, hidden: &[Hidden]) -> Result<Tensor, TchError> {
        let (convolution, x) = match which {
            Which::Same => (Some(&self.same), Some(&hidden[s].own)),
            Which::Up => (self.up.as_ref(), hidden[s + 1].enlarged.as_ref()),
            Which::Down => (self.down.as_ref(), Some(&hidden[s - 1].own)),
        };
        let missing = || TchError::Shape(format!("scale {s} does not hear {which:?}"));
        convolution.ok_or_else(missing)?.forward(x.ok_or_else(missing)?)
    }
}

impl Answer<'_> {
    pub(super) fn said(&self) -> Said<'_> {
        Said { same: &self.same, coarser: self.up.as_ref(), finer: self.down.as_ref(), bias: self.bias }
    }
}
