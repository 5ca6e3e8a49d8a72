//! The way back by hand against the one that libtorch finds.

use tch::{Device, Kind, Tensor};

use super::*;
use crate::model::architecture::Architecture;
use crate::model::flow::FlowConfig;
use crate::model::preset::Preset;

fn network(channels: &[i64], hidden: i64, kernels: &[i64], cross_scale: bool) -> Network {
    let lite = Preset::Lite.architecture();
    let flow = FlowConfig {
        channels: channels.to_vec(),
        hidden,
        kernels: kernels.to_vec(),
        cross_scale,
        ..lite.flow
    };
    let network = Network::untrained(&Architecture { flow, ..lite }, Device::Cpu);
    let _guard = tch::no_grad_guard();
    for (name, mut variable) in network.flow_store.variables() {
        if name.contains("gamma") {
            drop(variable.fill_(0.7));
        }
    }
    network
}

fn features(batch: i64, side: i64, channels: &[i64]) -> Vec<Tensor> {
    let map = |(scale, &channels): (usize, &i64)| {
        let side = side >> scale;
        Tensor::randn([batch, channels, side, side], (Kind::Float, Device::Cpu))
    };
    channels.iter().enumerate().map(map).collect()
}

/// The largest difference relative to the largest value.
fn difference(one: &Tensor, other: &Tensor) -> f64 {
    let largest = |x: &Tensor| x.abs().max().double_value(&[]);
    largest(&(one - other)) / largest(one).max(1e-12)
}

#[test]
fn loss_and_gradient_are_those_of_libtorch() {
    if !cpu::is_available() {
        return;
    }
    tch::manual_seed(5);
    for (channels, hidden, kernels, cross_scale, side) in [
        (&[12, 12, 12][..], 8, &[3, 3, 5][..], true, 8),
        (&[7, 5, 9], 5, &[3, 1], true, 4),
        (&[6, 10], 4, &[5, 3], false, 8),
        (&[11], 16, &[3, 3], true, 4),
        (&[8, 8, 8], 16, &[3], true, 4),
    ] {
        let network = network(channels, hidden, kernels, cross_scale);
        let mut parameters = Parameters::of(&network.flow_store);
        let mut by_libtorch = Objective::by_libtorch(&network);
        let mut by_hand = Objective::new(&network, &parameters);
        // The blocks are made anew for a batch of another size.
        for batch in [3, 3, 1] {
            let features = features(batch, side, channels);
            let expected = by_libtorch.descend(&mut parameters, &features).unwrap();
            let found = by_hand.descend(&mut parameters, &features).unwrap();
            let alone = by_hand.loss(&parameters, &features).unwrap();
            assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found} {expected}");
            assert_eq!(alone, found);
            let gradients = by_libtorch.gradient.0.iter().zip(&by_hand.gradient.0);
            for (name, (expected, found)) in parameters.names().iter().zip(gradients) {
                let difference = difference(expected, found);
                assert!(
                    difference < 1e-4,
                    "{name}: {difference} of {channels:?}, {kernels:?}, batch {batch}"
                );
                assert!(expected.abs().max().double_value(&[]) > 0.0, "{name} is not learned");
            }
        }
    }
}

#[test]
fn where_latent_values_are_cut_nothing_is_learned() {
    if !cpu::is_available() {
        return;
    }
    tch::manual_seed(6);
    let channels = [6, 6];
    let network = network(&channels, 4, &[3, 3], true);
    let mut parameters = Parameters::of(&network.flow_store);
    let (mut by_libtorch, mut by_hand) =
        (Objective::by_libtorch(&network), Objective::new(&network, &parameters));
    let features: Vec<Tensor> = features(2, 4, &channels).iter().map(|x| x * 1e6).collect();
    let expected = by_libtorch.descend(&mut parameters, &features).unwrap();
    let found = by_hand.descend(&mut parameters, &features).unwrap();
    assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
    for (expected, found) in by_libtorch.gradient.0.iter().zip(&by_hand.gradient.0) {
        let difference = difference(expected, found);
        assert!(difference < 1e-3, "{difference}");
    }
}
