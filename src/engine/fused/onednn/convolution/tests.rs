//! Packed convolutions, and each rewrite of their weights, against what they replace.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::Device;

use super::*;
use crate::cpu::map;
use crate::engine::fused::folded::Norm;

fn random(size: &[i64], seed: u64) -> Tensor {
    let mut rng = Pcg64::seed_from_u64(seed);
    let values: Vec<f32> = (0..size.iter().product()).map(|_: i64| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_slice(&values).view(size)
}

fn plain(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, stride: i64, padding: i64) -> Tensor {
    x.conv2d(weight, bias, [stride, stride], [padding, padding], [1, 1], x.size()[1] / weight.size()[1])
}

/// A convolution of `folded` as it is.
fn packed(folded: &Folded, x: &Tensor, stride: i64, activation: Activation) -> Tensor {
    let (input, kernel) = (folded.weight.size()[1], folded.weight.size()[2]);
    let by = Geometry { groups: x.size()[1] / input, ..Geometry::centred(kernel, stride) };
    run(folded, x, by, activation)
}

/// In f32, to a map of its own.
fn run(folded: &Folded, x: &Tensor, by: Geometry, activation: Activation) -> Tensor {
    let size: [i64; 4] = x.size().try_into().unwrap();
    let side = (size[2] + by.padding.0 + by.padding.1 - folded.weight.size()[2]) / by.stride + 1;
    let y = map::zeros([size[0], folded.bias.size()[0], side, side], Kind::Float).unwrap();
    let made = Convolution::new(folded, by, activation, (size, Kind::Float), Output::To(y)).unwrap();
    made.forward(&map::channels_last(x).unwrap()).unwrap()
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size());
    let error = (found - expected).abs().max().double_value(&[]);
    assert!(error < 1e-5, "{error} apart");
}

#[test]
fn every_activation_is_what_libtorch_computes_by_itself() {
    let (x, weight, bias) = (random(&[1, 3, 8, 8], 1) * 4.0, random(&[5, 3, 3, 3], 2), random(&[5], 3));
    let folded = Folded::new(&weight, Some(&bias)).unwrap();
    let y = plain(&x, &weight, Some(&bias), 1, 1);
    for (activation, expected) in [
        (Activation::None, y.shallow_clone()),
        (Activation::Relu6, y.relu6()),
        (Activation::Silu, y.silu()),
        (Activation::Sigmoid, y.sigmoid()),
        (Activation::LeakyRelu(0.1), y.maximum(&(&y * 0.1))),
    ] {
        assert_close(&packed(&folded, &x, 1, activation), &expected);
    }
}

#[test]
fn a_batch_norm_that_follows_is_folded() {
    let (x, weight) = (random(&[1, 4, 6, 6], 4), random(&[4, 1, 3, 3], 5));
    let (scale, bias, mean) = (random(&[4], 6), random(&[4], 7), random(&[4], 8));
    let variance = random(&[4], 9).abs() + 0.1;
    let expected = plain(&x, &weight, None, 1, 1).batch_norm(
        Some(&scale),
        Some(&bias),
        Some(&mean),
        Some(&variance),
        false,
        0.1,
        1e-3,
        false,
    );
    let norm = Norm { weight: scale, bias, mean, variance, epsilon: 1e-3 };
    let folded = Folded::new(&weight, None).unwrap().then_norm(&norm).unwrap();
    assert_close(&packed(&folded, &x, 1, Activation::None), &expected);
}

#[test]
fn more_padding_may_lie_behind_as_tensorflow_has_it() {
    for kernel in [3, 5] {
        let (x, weight) = (random(&[1, 3, 10, 10], 10), random(&[3, 1, kernel, kernel], 11));
        let (before, after) = ((kernel - 2) / 2, kernel - 2 - (kernel - 2) / 2);
        let padded = x.constant_pad_nd([before, after, before, after]);
        let folded = Folded::new(&weight, None).unwrap();
        let by = Geometry { padding: (before, after), stride: 2, groups: 3 };
        assert_close(&run(&folded, &x, by, Activation::None), &plain(&padded, &weight, None, 2, 0));
    }
}

#[test]
fn a_constant_that_inputs_lack_is_in_the_bias() {
    let (x, weight, bias) = (random(&[1, 3, 5, 5], 12), random(&[4, 3, 1, 1], 13), random(&[4], 14));
    let constant = random(&[3], 15);
    let expected = plain(&(&x + constant.view([1, 3, 1, 1])), &weight, Some(&bias), 1, 0);
    let folded = Folded::new(&weight, Some(&bias)).unwrap().after(&constant.to_kind(Kind::Double)).unwrap();
    assert_close(&packed(&folded, &x, 1, Activation::None), &expected);
}

#[test]
fn factors_and_orders_of_output_channels_are_folded() {
    let (x, weight, bias) = (random(&[1, 3, 5, 5], 18), random(&[4, 3, 1, 1], 19), random(&[4], 20));
    let (factor, shift, order) = (random(&[4], 21), random(&[4], 22), Tensor::from_slice(&[2_i64, 0, 3, 1]));
    let each = |values: &Tensor| values.view([1, -1, 1, 1]);
    let expected = plain(&x, &weight, Some(&bias), 1, 0) * each(&factor) + each(&shift);
    let folded = Folded::new(&weight, Some(&bias)).unwrap().then(&factor, &shift).unwrap();
    let folded = folded.reordered(&order).unwrap();
    assert_close(&packed(&folded, &x, 1, Activation::None), &expected.index_select(1, &order));
}

#[test]
fn an_addend_is_added_in_place() {
    for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.05)] {
        let (x, weight, bias) = (random(&[1, 3, 6, 6], 23), random(&[4, 3, 3, 3], 24), random(&[4], 25));
        let sum = random(&[1, 4, 3, 3], 26);
        let expected = plain(&x, &weight, Some(&bias), 2, 1) + &sum;
        let folded = Folded::new(&weight, Some(&bias)).unwrap();
        let by = Geometry::centred(3, 2);
        let y = map::channels_last(&sum.to_kind(kind)).unwrap().copy();
        let place = Output::Onto(y.shallow_clone());
        let made = Convolution::new(&folded, by, Activation::None, ([1, 3, 6, 6], kind), place).unwrap();
        let found = made.forward_onto(&map::channels_last(&x.to_kind(kind)).unwrap(), &y).unwrap();
        let error = (found.to_kind(Kind::Float) - &expected).abs().max().double_value(&[]);
        assert!(error < tolerance, "{kind:?}: {error} apart");
    }
}

#[test]
fn what_does_not_fit_is_an_error_of_one_line() {
    let folded = Folded::new(&random(&[4, 3, 3, 3], 27), None).unwrap();
    let x = [1, 3, 6, 6];
    let pack = |y| {
        let y = Output::To(map::zeros(y, Kind::Float).unwrap());
        Convolution::new(&folded, Geometry::centred(3, 1), Activation::None, (x, Kind::Float), y)
    };
    let f32_map = |size: [i64; 4]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    let last = |x: &Tensor| map::channels_last(x).unwrap();
    let made = pack([1, 4, 6, 6]).unwrap();
    assert_eq!(made.forward(&last(&f32_map(x))).unwrap().size(), [1, 4, 6, 6]);
    let wrong = [
        made.forward(&Tensor::zeros([6, 6], (Kind::Float, Device::Cpu))).map(drop),
        made.forward(&last(&f32_map([1, 3, 6, 5]))).map(drop),
        made.forward(&f32_map(x)).map(drop),
        made.forward(&last(&f32_map(x).to_kind(Kind::BFloat16))).map(drop),
        pack([1, 5, 6, 6]).unwrap().forward(&last(&f32_map(x))).map(drop),
    ];
    for error in wrong {
        let error = error.unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
    }
}
