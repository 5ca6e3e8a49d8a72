//! Flows of every shape: invertible, with the determinant that autograd finds, as large as their size says.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Kind, Tensor, nn};

use super::*;

/// Of the largest map, in cells.
const SIDE: i64 = 4;

/// With equal and with unequal channels, some of them odd: those are not halved evenly.
fn configs() -> Vec<FlowConfig> {
    let channels: [&[i64]; 5] = [&[3], &[4, 4], &[3, 5], &[4, 4, 4], &[2, 5, 7]];
    let config = |channels: &[i64], cross_scale| FlowConfig {
        channels: channels.to_vec(),
        hidden: 3,
        kernels: vec![3, 1],
        cross_scale,
        clamp: 3.0,
    };
    channels
        .iter()
        .flat_map(|channels| [true, false].map(|cross_scale| config(channels, cross_scale)))
        .collect()
}

/// Channels in reverse: no channel of a pair stays, of an odd number one does.
fn reversed(config: &FlowConfig) -> Vec<Permutation> {
    let order = |&channels: &i64| (0..channels).rev().collect();
    config.kernels.iter().map(|_| config.channels.iter().map(order).collect()).collect()
}

/// With values that change what goes through.
fn flow(config: &FlowConfig) -> (nn::VarStore, Flow) {
    let store = nn::VarStore::new(Device::Cpu);
    let flow = Flow::new(&store.root(), config, &reversed(config));
    let mut rng = Pcg64::seed_from_u64(5);
    let mut variables: Vec<_> = store.variables().into_iter().collect();
    variables.sort_by(|(one, _), (other, _)| one.cmp(other));
    tch::no_grad(|| {
        for (_, mut variable) in variables {
            variable.copy_(&random(variable.size().as_slice(), &mut rng));
        }
    });
    (store, flow)
}

fn random(size: &[i64], rng: &mut Pcg64) -> Tensor {
    let values: Vec<f32> = (0..size.iter().product()).map(|_: i64| rng.random_range(-0.5..0.5)).collect();
    Tensor::from_slice(&values).view(size)
}

/// Maps of one picture, from one vector.
fn maps(flat: &Tensor, config: &FlowConfig) -> Scales {
    let mut start = 0;
    let map = |(s, &channels): (usize, &i64)| {
        let side = SIDE >> s;
        let length = channels * side * side;
        let map = flat.narrow(0, start, length).view([1, channels, side, side]);
        start += length;
        map
    };
    config.channels.iter().enumerate().map(map).collect()
}

fn values(config: &FlowConfig) -> i64 {
    config.channels.iter().enumerate().map(|(s, channels)| channels * (SIDE >> s) * (SIDE >> s)).sum()
}

fn flatten(scales: &[Tensor]) -> Tensor {
    Tensor::cat(&scales.iter().map(|x| x.flatten(0, -1)).collect::<Vec<_>>(), 0)
}

#[test]
fn the_inverse_undoes_a_flow_of_any_shape() {
    let _guard = tch::no_grad_guard();
    for config in configs() {
        let (_store, flow) = flow(&config);
        let x = random(&[values(&config)], &mut Pcg64::seed_from_u64(6));
        let (latent, _) = flow.forward(&maps(&x, &config));
        assert!((flatten(&latent) - &x).abs().max().double_value(&[]) > 0.1, "{config:?} changes nothing");
        let error = (flatten(&flow.inverse(&latent)) - x).abs().max().double_value(&[]);
        assert!(error < 1e-4, "{config:?}: the inverse misses the input by {error:e}");
    }
}

#[test]
fn the_determinant_is_that_of_the_jacobian_which_autograd_finds() {
    for config in configs() {
        let (_store, flow) = flow(&config);
        let x = random(&[values(&config)], &mut Pcg64::seed_from_u64(7)).set_requires_grad(true);
        let (latent, log_det) = flow.forward(&maps(&x, &config));
        let latent = flatten(&latent);
        let row = |i| Tensor::run_backward(&[latent.get(i)], &[&x], true, false).remove(0);
        let jacobian = Tensor::stack(&(0..values(&config)).map(row).collect::<Vec<_>>(), 0);
        let (_sign, expected) = jacobian.to_kind(Kind::Double).slogdet();
        let (expected, found) = (expected.double_value(&[]), flatten(&log_det).sum(None).double_value(&[]));
        assert!(expected.abs() > 0.1, "{config:?}: a determinant of 1 would show nothing");
        assert!((found - expected).abs() < 1e-3, "{config:?}: log det {found}, autograd finds {expected}");
    }
}

#[test]
fn scales_hear_one_another_only_where_they_are_connected() {
    for config in configs().into_iter().filter(|config| config.scales() > 1) {
        let (_store, flow) = flow(&config);
        let x = random(&[values(&config)], &mut Pcg64::seed_from_u64(8)).set_requires_grad(true);
        let (latent, _) = flow.forward(&maps(&x, &config));
        // From the whole of scale 0 back to the smallest map.
        let gradient = Tensor::run_backward(&[latent[0].sum(None)], &[&x], false, false).remove(0);
        let heard = maps(&gradient, &config)[1].abs().max().double_value(&[]);
        assert_eq!(heard > 0.0, config.cross_scale, "{config:?}: {heard}");
    }
}

#[test]
fn an_untrained_flow_changes_the_order_of_channels_alone() {
    let _guard = tch::no_grad_guard();
    for config in configs() {
        let store = nn::VarStore::new(Device::Cpu);
        let flow = Flow::new(&store.root(), &config, &reversed(&config));
        let x = random(&[values(&config)], &mut Pcg64::seed_from_u64(9));
        // Two blocks reverse twice.
        let (latent, log_det) = flow.forward(&maps(&x, &config));
        assert_eq!(flatten(&latent), x);
        assert_eq!(flatten(&log_det).abs().max().double_value(&[]), 0.0);
    }
}

#[test]
fn a_flow_has_as_many_values_as_its_size_says() {
    for config in configs() {
        let (store, _flow) = flow(&config);
        let made: usize = store.variables().values().map(Tensor::numel).sum();
        assert_eq!(config.values(), made, "{config:?}");
    }
}
