//! Names that trained bundles and published weights rely on.

use csflowd::model::backbone::{Backbone, BackboneKind};
use csflowd::model::network::Network;
use csflowd::model::preset::Preset;
use csflowd::model::weights::{self, Weights};
use tch::{Device, Kind, Tensor, nn};

#[test]
fn the_parameters_of_the_flow_keep_their_names_and_shapes() {
    let network = Network::untrained(&Preset::Lite.architecture(), Device::Cpu);
    let variables = network.flow_store.variables().into_iter();
    let mut lines: Vec<String> =
        variables.map(|(name, tensor)| format!("{name} {:?}", tensor.size())).collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_weights_of_every_lite_member_fit() {
    for kind in
        [BackboneKind::EfficientnetLite0, BackboneKind::EfficientnetLite1, BackboneKind::EfficientnetLite2]
    {
        let Some(file) = weights::find(kind) else {
            println!("skipped: no weights of {}: run `make setup`", kind.name());
            continue;
        };
        let store = nn::VarStore::new(Device::Cpu);
        let taps = [3, 5, 6];
        let backbone = Backbone::new(&store.root(), kind, &taps);
        let weights = Weights::read(&file).unwrap();
        weights.load_into(&store, |name| kind.is_beyond(&taps, name)).unwrap();
        // 33 cells of 32 pixels on one side, 2 on the other: an odd map and a narrow one.
        let image = Tensor::zeros([1, 3, 64, 33 * 32], (Kind::Float, Device::Cpu));
        let features = tch::no_grad(|| backbone.forward(&image));
        for (features, (stage, height, width)) in features.iter().zip([(3, 8, 132), (5, 4, 66), (6, 2, 33)]) {
            assert_eq!(features.size(), [1, kind.channels(stage), height, width]);
            assert!(weights::is_finite(features));
        }

        // A trunk that ends early passes over the rest of the file, and over nothing else.
        let store = nn::VarStore::new(Device::Cpu);
        let early = Backbone::new(&store.root(), kind, &[3]);
        weights.load_into(&store, |name| kind.is_beyond(&[3], name)).unwrap();
        assert_eq!(tch::no_grad(|| early.forward(&image)), features[..1]);
        assert!(weights.load_into(&store, |name| kind.is_beyond(&[4], name)).is_err());
    }
}
