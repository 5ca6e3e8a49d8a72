//! Switches that change one part of a preset's network, to measure what that part is worth.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::model::architecture::{Architecture, BadArchitecture};
use crate::model::backbone::BackboneKind;
use crate::model::features::Features;
use crate::model::flow::FlowConfig;
use crate::model::preset::Preset;

/// What is not given stays as the preset has it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Ablation (changes one part of the preset's network, to measure its worth)")]
#[group(id = "ablation")]
pub(super) struct Changes {
    /// Feature extractor
    #[arg(long, value_parser = backbone(), hide_short_help = true)]
    backbone: Option<BackboneKind>,
    /// Side of the square input in pixels
    #[arg(
        long,
        value_name = "PX",
        value_parser = clap::value_parser!(i64).range(128..=4096),
        hide_short_help = true
    )]
    input: Option<i64>,
    /// Feature maps from a pyramid of the picture, or from three depths of one pass
    #[arg(long, value_parser = features(), hide_short_help = true)]
    features: Option<Features>,
    /// Feature maps, the finest first: 1 to 3
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=3),
        hide_short_help = true
    )]
    scales: Option<u8>,
    /// Whether each scale of the flow hears its neighbours
    #[arg(
        long,
        value_parser = on_off(),
        value_name = "on|off",
        hide_short_help = true
    )]
    cross_scale: Option<bool>,
    /// Coupling blocks of the flow
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=32),
        hide_short_help = true
    )]
    blocks: Option<u8>,
    /// Hidden channels of each subnet
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(i64).range(1..=8192),
        hide_short_help = true
    )]
    hidden: Option<i64>,
    /// Kernel of the last block, odd
    #[arg(long, value_name = "K", value_parser = odd, hide_short_help = true)]
    last_kernel: Option<i64>,
    /// Whether features are whitened before the flow
    #[arg(
        long,
        value_parser = on_off(),
        value_name = "on|off",
        hide_short_help = true
    )]
    whiten: Option<bool>,
}

/// The changes do not go together, or not with the preset.
#[derive(Debug, thiserror::Error)]
#[error("{switch}: {problem}")]
pub(super) struct BadChange {
    switch: String,
    problem: String,
}

impl Changes {
    /// The preset's network with these changes.
    pub(super) fn apply(&self, preset: Preset) -> Result<Architecture, BadChange> {
        let unchanged = preset.architecture();
        let Architecture { backbone, input_px, features, whitened, ref flow, .. } = unchanged;
        let backbone = self.backbone.unwrap_or(backbone);
        let features = self.features.unwrap_or(features);
        let scales = self.scales.map_or(flow.scales(), usize::from);
        let changed = Architecture {
            preset: unchanged.preset.clone(),
            backbone,
            input_px: self.input.unwrap_or(input_px),
            features,
            whitened: self.whiten.unwrap_or(whitened),
            flow: FlowConfig {
                channels: features.channels(backbone, scales),
                hidden: self.hidden.unwrap_or(flow.hidden),
                kernels: self.kernels(&flow.kernels),
                cross_scale: self.cross_scale.unwrap_or(flow.cross_scale),
                clamp: flow.clamp,
            },
        };
        changed.check().map_err(BadChange::of)?;
        let preset =
            if changed == unchanged { changed.preset } else { format!("{}, changed", changed.preset) };
        Ok(Architecture { preset, ..changed })
    }

    /// The first kernel as often as there are blocks, but for the last.
    fn kernels(&self, preset: &[i64]) -> Vec<i64> {
        let mut kernels = preset.to_vec();
        let first = kernels[0];
        let last = kernels.pop().unwrap_or(first);
        if let Some(blocks) = self.blocks {
            kernels.resize(usize::from(blocks) - 1, first);
        }
        kernels.push(self.last_kernel.unwrap_or(last));
        kernels
    }
}

impl BadChange {
    fn of(BadArchitecture { key, problem }: BadArchitecture) -> Self {
        let switch = match key {
            "input_px" => "--input",
            "flow.hidden" => "--hidden",
            key => key,
        };
        Self { switch: switch.to_owned(), problem }
    }
}

fn backbone() -> impl TypedValueParser<Value = BackboneKind> {
    let named = |name: String| BackboneKind::ALL.into_iter().find(|kind| short(*kind) == name);
    PossibleValuesParser::new(BackboneKind::ALL.map(short))
        .map(move |name| named(name).expect("one of the names"))
}

/// `lite0` for `efficientnet_lite0`.
fn short(kind: BackboneKind) -> &'static str {
    kind.name().trim_start_matches("efficientnet_")
}

fn features() -> impl TypedValueParser<Value = Features> {
    let named = |name: String| Features::ALL.into_iter().find(|features| features.name() == name);
    PossibleValuesParser::new(Features::ALL.map(Features::name))
        .map(move |name| named(name).expect("one of the names"))
}

fn on_off() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["on", "off"]).map(|text| text == "on")
}

fn odd(text: &str) -> Result<i64, String> {
    text.parse()
        .ok()
        .filter(|kernel| (1..=15).contains(kernel) && kernel % 2 == 1)
        .ok_or_else(|| "must be an odd number from 1 to 15".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lite(changes: &Changes) -> Architecture {
        changes.apply(Preset::Lite).unwrap()
    }

    #[test]
    fn without_a_change_each_preset_is_itself() {
        for preset in Preset::ALL {
            assert_eq!(Changes::default().apply(preset).unwrap(), preset.architecture());
        }
        let same = Changes { hidden: Some(64), blocks: Some(4), ..Changes::default() };
        assert_eq!(lite(&same), Preset::Lite.architecture());
    }

    #[test]
    fn each_switch_changes_its_part_and_the_name() {
        let none = Changes::default;
        let other = lite(&Changes { backbone: Some(BackboneKind::EfficientnetLite2), ..none() });
        assert_eq!((other.backbone, other.flow.channels), (BackboneKind::EfficientnetLite2, vec![208; 3]));
        assert_eq!(other.preset, "lite, changed");
        assert_eq!(lite(&Changes { input: Some(384), ..none() }).input_px, 384);
        assert!(!lite(&Changes { whiten: Some(false), ..none() }).whitened);
        assert!(!lite(&Changes { cross_scale: Some(false), ..none() }).flow.cross_scale);
        assert_eq!(lite(&Changes { hidden: Some(8), ..none() }).flow.hidden, 8);
        let depths = Changes { features: Some(Features::Depths), scales: Some(2), ..none() };
        assert_eq!(lite(&depths).flow.channels, [40, 112]);
        assert_eq!(lite(&Changes { scales: Some(1), ..none() }).flow.channels, [192]);
    }

    #[test]
    fn blocks_are_added_and_left_out_before_the_last() {
        for (blocks, last_kernel, expected) in [
            (None, Some(3), &[3, 3, 3, 3][..]),
            (Some(2), None, &[3, 5]),
            (Some(1), None, &[5]),
            (Some(1), Some(1), &[1]),
            (Some(6), Some(7), &[3, 3, 3, 3, 3, 7]),
        ] {
            let changes = Changes { blocks, last_kernel, ..Changes::default() };
            assert_eq!(lite(&changes).flow.kernels, expected);
        }
    }

    #[test]
    fn changes_that_do_not_go_together_name_the_switch() {
        let of = |input, features, hidden| Changes { input, features, hidden, ..Changes::default() };
        for (changes, expected) in [
            (
                of(Some(192), None, None),
                "--input: 192 is not a multiple of 128 from 128 to 4096, as 3 scales of pyramid need",
            ),
            (
                of(Some(4096), Some(Features::Depths), Some(513)),
                "--hidden: 513 is more than 512, the most at this input size",
            ),
        ] {
            assert_eq!(changes.apply(Preset::Lite).unwrap_err().to_string(), expected);
        }
    }
}
