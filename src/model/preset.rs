//! Named sizes of the network and how each is trained.

use serde::{Deserialize, Serialize};

use crate::model::backbone::{BackboneKind, STRIDE};
use crate::model::flow::FlowConfig;

/// What a network looks like: enough to build it and to know what its parameters are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The preset it came from, for people.
    pub preset: String,
    pub backbone: BackboneKind,
    /// Side of the square input in pixels; a multiple of 128.
    pub input_px: i64,
    /// Whether a fixed whitening stands between backbone and flow.
    pub whitened: bool,
    pub flow: FlowConfig,
}

/// How a preset is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub epochs: usize,
    pub batch: usize,
    pub learning_rate: f64,
    /// Adam's epsilon.
    pub epsilon: f64,
    /// Coupled, as L2 on the gradient.
    pub weight_decay: f64,
    /// Gradients are cut to this norm.
    pub clip_norm: f64,
    /// Warm up and anneal the learning rate over the whole run; otherwise it stays.
    pub one_cycle: bool,
    /// Keep a moving average of the parameters with this memory, and judge by that.
    pub average: Option<f64>,
    /// End when the watched images have not become likelier for so many epochs.
    pub patience: Option<usize>,
}

/// A named size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// EfficientNet-B5 at 768 px, hidden 1024: the paper's own numbers, for a large GPU.
    Paper,
    /// EfficientNet-Lite0 at 256 px, hidden 64: for CPUs.
    Lite,
}

impl Preset {
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Lite => "lite",
        }
    }

    pub fn architecture(self) -> Architecture {
        let (backbone, input_px, whitened, hidden) = match self {
            Self::Paper => (BackboneKind::EfficientnetB5, 768, false, 1024),
            Self::Lite => (BackboneKind::EfficientnetLite0, 256, true, 64),
        };
        let flow =
            FlowConfig { channels: backbone.channels(), hidden, kernels: vec![3, 3, 3, 5], clamp: 3.0 };
        Architecture { preset: self.name().to_owned(), backbone, input_px, whitened, flow }
    }

    pub fn schedule(self) -> Schedule {
        match self {
            // Research code, `config.py` and `train.py`.
            Self::Paper => Schedule {
                epochs: 240,
                batch: 16,
                learning_rate: 2e-4,
                epsilon: 1e-4,
                weight_decay: 1e-5,
                clip_norm: 1.0,
                one_cycle: false,
                average: None,
                patience: None,
            },
            // Whitened features move at unit scale, and so does the optimiser.
            Self::Lite => Schedule {
                epochs: 30,
                batch: 16,
                learning_rate: 1e-3,
                epsilon: 1e-8,
                weight_decay: 1e-5,
                clip_norm: 1.0,
                one_cycle: true,
                average: Some(0.99),
                patience: Some(3),
            },
        }
    }
}

/// An architecture that cannot be built; the text names the key.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("architecture.{key}: {given} {rule}")]
pub struct BadArchitecture {
    key: &'static str,
    given: String,
    rule: &'static str,
}

impl Architecture {
    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), BadArchitecture> {
        let bad = |key, given: String, rule| Err(BadArchitecture { key, given, rule });
        let FlowConfig { channels, hidden, kernels, clamp } = &self.flow;
        if self.input_px < 128 || self.input_px % (4 * STRIDE) != 0 || self.input_px > 4096 {
            return bad("input_px", self.input_px.to_string(), "is not a multiple of 128 from 128 to 4096");
        }
        if *channels != self.backbone.channels() {
            return bad("flow.channels", channels.to_string(), "is not what the backbone gives");
        }
        if !(1..=8192).contains(hidden) {
            return bad("flow.hidden", hidden.to_string(), "is not from 1 to 8192");
        }
        if kernels.is_empty()
            || kernels.len() > 32
            || kernels.iter().any(|k| !(1..=15).contains(k) || k % 2 == 0)
        {
            return bad("flow.kernels", format!("{kernels:?}"), "are not 1 to 32 odd numbers from 1 to 15");
        }
        if !(clamp.is_finite() && *clamp > 0.0) {
            return bad("flow.clamp", clamp.to_string(), "is not a positive number");
        }
        Ok(())
    }

    /// Side of the largest feature map in cells.
    pub fn cells(&self) -> i64 {
        self.input_px / STRIDE
    }
}
