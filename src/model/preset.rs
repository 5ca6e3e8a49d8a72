//! Named sizes of the network and how each is trained.

use crate::model::architecture::Architecture;
use crate::model::backbone::BackboneKind;
use crate::model::features::Features;
use crate::model::flow::FlowConfig;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The paper's own numbers, for a large GPU.
    Paper,
    /// Between the two.
    Balanced,
    /// For CPUs.
    Lite,
}

/// The numbers of a preset.
struct Numbers {
    name: &'static str,
    meant_for: &'static str,
    backbone: BackboneKind,
    input_px: i64,
    features: Features,
    scales: usize,
    whitened: bool,
    hidden: i64,
    kernels: &'static [i64],
    cross_scale: bool,
    clamp: f64,
    schedule: Schedule,
}

/// Paper, section 4.2; research code, `config.py`, `model.py` and `train.py`.
const PAPER: Numbers = Numbers {
    name: "paper",
    meant_for: "the paper's own numbers, for a large GPU",
    backbone: BackboneKind::EfficientnetB5,
    input_px: 768,
    features: Features::Pyramid,
    scales: 3,
    whitened: false,
    hidden: 1024,
    kernels: &[3, 3, 3, 5],
    cross_scale: true,
    clamp: 3.0,
    schedule: Schedule {
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
};

/// Larger pictures, paid for by a smaller last kernel and fewer epochs.
const BALANCED: Numbers = Numbers {
    name: "balanced",
    meant_for: "for small GPUs and fast CPUs",
    input_px: 384,
    kernels: &[3, 3, 3, 3],
    schedule: Schedule { epochs: 10, ..LITE.schedule },
    ..LITE
};

/// Whitened features move at unit scale, and so does the optimiser.
const LITE: Numbers = Numbers {
    name: "lite",
    meant_for: "for CPUs",
    backbone: BackboneKind::EfficientnetLite0,
    input_px: 256,
    features: Features::Pyramid,
    scales: 3,
    whitened: true,
    hidden: 64,
    kernels: &[3, 3, 3, 5],
    cross_scale: true,
    clamp: 3.0,
    schedule: Schedule {
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
};

impl Preset {
    pub const ALL: [Preset; 3] = [Preset::Paper, Preset::Balanced, Preset::Lite];

    fn numbers(self) -> &'static Numbers {
        match self {
            Self::Paper => &PAPER,
            Self::Balanced => &BALANCED,
            Self::Lite => &LITE,
        }
    }

    pub fn name(self) -> &'static str {
        self.numbers().name
    }

    /// For people who choose one.
    pub fn about(self) -> String {
        let Numbers { backbone, input_px, hidden, meant_for, .. } = self.numbers();
        format!("{} at {input_px} px, hidden {hidden}: {meant_for}", backbone.title())
    }

    pub fn architecture(self) -> Architecture {
        let numbers = self.numbers();
        let flow = FlowConfig {
            channels: numbers.features.channels(numbers.backbone, numbers.scales),
            hidden: numbers.hidden,
            kernels: numbers.kernels.to_vec(),
            cross_scale: numbers.cross_scale,
            clamp: numbers.clamp,
        };
        Architecture {
            preset: numbers.name.to_owned(),
            backbone: numbers.backbone,
            input_px: numbers.input_px,
            features: numbers.features,
            whitened: numbers.whitened,
            flow,
        }
    }

    pub fn schedule(self) -> Schedule {
        self.numbers().schedule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_be_built_and_has_a_name_of_its_own() {
        for preset in Preset::ALL {
            assert_eq!(preset.architecture().check(), Ok(()), "{preset:?}");
            let same_name = Preset::ALL.into_iter().filter(|other| other.name() == preset.name());
            assert_eq!(same_name.collect::<Vec<_>>(), [preset]);
        }
    }

    /// The numbers of the research code, where one changed would no longer be the paper's network.
    #[test]
    fn paper_is_the_research_code_number_for_number() {
        let architecture = Preset::Paper.architecture();
        assert_eq!(
            architecture,
            Architecture {
                preset: "paper".into(),
                backbone: BackboneKind::EfficientnetB5,
                input_px: 768,
                features: Features::Pyramid,
                whitened: false,
                flow: FlowConfig {
                    channels: vec![304, 304, 304],
                    hidden: 1024,
                    kernels: vec![3, 3, 3, 5],
                    cross_scale: true,
                    clamp: 3.0,
                },
            }
        );
        assert_eq!(architecture.shapes(), [[304, 24, 24], [304, 12, 12], [304, 6, 6]]);
        // 275.2 million: four blocks of two subnets, each ten convolutions and three factors.
        assert_eq!(architecture.flow.values(), 275_227_288);
        assert_eq!(
            Preset::Paper.schedule(),
            Schedule {
                epochs: 240,
                batch: 16,
                learning_rate: 2e-4,
                epsilon: 1e-4,
                weight_decay: 1e-5,
                clip_norm: 1.0,
                one_cycle: false,
                average: None,
                patience: None,
            }
        );
    }
}
