//! What can be built, what cannot, and where two networks part.

use super::*;
use crate::model::network::Network;
use crate::model::preset::Preset;
use tch::{Device, Kind, Tensor};

/// The lite preset with features from here and so many scales.
fn with(features: Features, scales: usize) -> Architecture {
    let lite = Preset::Lite.architecture();
    let channels = features.channels(lite.backbone, scales);
    Architecture { features, flow: FlowConfig { hidden: 2, channels, ..lite.flow }, ..lite }
}

#[test]
fn the_network_makes_maps_of_the_shapes_that_the_architecture_says() {
    let shapes = [[40, 20, 20], [112, 10, 10], [192, 5, 5]];
    for (features, scales, expected) in [
        (Features::Pyramid, 1, &[[192, 5, 5]][..]),
        (Features::Depths, 1, &shapes[..1]),
        (Features::Depths, 2, &shapes[..2]),
        (Features::Depths, 3, &shapes),
    ] {
        let architecture = Architecture { input_px: 160, ..with(features, scales) };
        assert_eq!(architecture.check(), Ok(()));
        assert_eq!(architecture.shapes(), expected);
        let network = Network::untrained(&architecture, Device::Cpu);
        let input = Tensor::zeros([1, 3, 160, 160], (Kind::Float, Device::Cpu));
        let made = tch::no_grad(|| network.features(&input));
        let made: Vec<Vec<i64>> = made.iter().map(Tensor::size).collect();
        assert_eq!(made, expected.iter().map(|shape| [&[1], &shape[..]].concat()).collect::<Vec<_>>());
        // A quarter of the input, whatever the cells are.
        let reading = tch::no_grad(|| network.read(&input));
        assert_eq!(reading.maps.size(), [1, 40, 40]);
    }
}

#[test]
fn the_input_must_give_every_scale_whole_cells() {
    for (features, scales, fits, does_not) in [
        (Features::Pyramid, 1, 160, 144),
        (Features::Pyramid, 2, 192, 160),
        (Features::Pyramid, 3, 256, 192),
        (Features::Depths, 1, 136, 132),
        (Features::Depths, 2, 144, 136),
        (Features::Depths, 3, 160, 144),
    ] {
        let of = |input_px| Architecture { input_px, ..with(features, scales) };
        assert_eq!(of(fits).check(), Ok(()));
        let error = of(does_not).check().unwrap_err();
        let step = features.stride() << (scales - 1);
        assert_eq!(
            error.to_string(),
            format!(
                "architecture.input_px: {does_not} is not a multiple of {step} from 128 to 4096, as {scales} \
                 scales of {} need",
                features.name()
            )
        );
    }
}

#[test]
fn hidden_layers_that_no_machine_holds_are_refused() {
    let mut architecture = Architecture { input_px: 4096, ..with(Features::Depths, 1) };
    architecture.flow.hidden = 513;
    assert_eq!(
        architecture.check().unwrap_err().to_string(),
        "architecture.flow.hidden: 513 is more than 512, the most at this input size"
    );
    architecture.flow.hidden = 512;
    assert_eq!(architecture.check(), Ok(()));
}

#[test]
fn two_architectures_part_at_the_first_number_that_differs_and_not_at_the_preset_s_name() {
    let lite = Preset::Lite.architecture();
    assert_eq!(lite.compare(&Architecture { preset: "other".into(), ..lite.clone() }), Ok(()));
    let wide = FlowConfig { hidden: 128, ..lite.flow.clone() };
    for (other, expected) in [
        (Preset::Paper.architecture(), "architecture.backbone is efficientnet_b5, not efficientnet_lite0"),
        (with(Features::Depths, 3), "architecture.features is depths, not pyramid"),
        (with(Features::Pyramid, 2), "architecture.flow.channels is [192, 192], not [192, 192, 192]"),
        (Architecture { flow: wide, ..lite.clone() }, "architecture.flow.hidden is 128, not 64"),
    ] {
        assert_eq!(lite.compare(&other).unwrap_err().to_string(), expected);
    }
}
