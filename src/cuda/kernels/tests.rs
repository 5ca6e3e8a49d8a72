//! Each kernel against what libtorch computes, on the CPU and on a CUDA device if there is one.

use tch::{Device, Kind, TchError, Tensor};

use super::flow::{FlowKernels, Said};
use super::resize::{Channels, ResizeKernels};
use super::trunk::{Depthwise, Excitation, Stem, TrunkActivation, TrunkKernels};
use super::*;
use crate::cuda::devices::devices;

const KINDS: [(Kind, f64); 3] = [(Kind::Float, 1e-5), (Kind::Half, 4e-3), (Kind::BFloat16, 3e-2)];

/// Numbers of no pattern, the same each time.
fn drawn(size: &[i64], seed: i64, on: Device) -> Tensor {
    let count: i64 = size.iter().product();
    let places = Tensor::arange(count, (Kind::Double, Device::Cpu)) * 12.9898 + seed;
    let values = places.sin() * 43_758.545;
    ((&values - values.floor()) * 2.0 - 1.0).to_kind(Kind::Float).view(size).to_device(on)
}

/// `[B, H, W, C]` to what libtorch takes.
fn planes(x: &Tensor) -> Tensor {
    x.to_device(Device::Cpu).to_kind(Kind::Float).permute([0, 3, 1, 2])
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f64, about: &str) {
    assert_eq!(found.size(), expected.size(), "{about}");
    let apart = (found - expected).abs().max().double_value(&[]);
    let largest = expected.abs().max().double_value(&[]);
    assert!(apart <= tolerance * largest, "{about}: {apart} apart, of {largest}");
}

/// On each device there is, for each kind.
fn everywhere(work: impl Fn(&Target, Kind, f64)) {
    for &device in devices().iter() {
        let target = Target::of(device).unwrap();
        for (kind, tolerance) in KINDS {
            work(&target, kind, tolerance);
        }
    }
}

#[test]
fn a_stem_is_a_convolution_of_every_second_or_fourth_pixel() {
    everywhere(|target, kind, tolerance| {
        let kernels = TrunkKernels::new(kind, TrunkActivation::Silu, target).unwrap();
        let on = target.device();
        for (side, step, pad) in [(20, 1, 1), (20, 2, 0), (44, 4, 1), (36, 1, 0)] {
            let stem = Stem { weight: drawn(&[3, 3, 3, 16], 1, on), bias: drawn(&[16], 2, on), pad };
            let x = drawn(&[2, side, side, 3], 3, on);
            let found = kernels.stem(&x, step, &stem).unwrap();
            let picture = planes(&x).slice(2, 0, side, step).slice(3, 0, side, step);
            // As many zeros behind as there is need for.
            let padded = picture.constant_pad_nd([pad, 1, pad, 1]);
            let weight = stem.weight.to_device(Device::Cpu).permute([3, 2, 0, 1]);
            let bias = stem.bias.to_device(Device::Cpu);
            let expected = padded.conv2d(&weight, Some(&bias), [2, 2], [0, 0], [1, 1], 1).silu();
            assert_close(&planes(&found), &expected, tolerance, &format!("{kind:?} {side} {step} {pad}"));
        }
    });
}

#[test]
fn a_depthwise_convolution_does_what_comes_before_and_after_it() {
    everywhere(|target, kind, tolerance| {
        let kernels = TrunkKernels::new(kind, TrunkActivation::Silu, target).unwrap();
        let on = target.device();
        for (k, stride, side, channels) in
            [(3, 1, 17, 70), (3, 2, 18, 8), (5, 1, 9, 24), (5, 2, 22, 130), (3, 1, 1, 2), (5, 1, 40, 6)]
        {
            let by = Depthwise {
                before: drawn(&[channels], 4, on),
                is_activated: true,
                weight: drawn(&[k, k, channels], 5, on),
                after: drawn(&[channels], 6, on),
                pad: k / 2,
                stride,
            };
            let x = (drawn(&[2, side, side, channels], 7, on) * 4.0).to_kind(kind);
            let (found, sums) = kernels.depthwise(&x, &by, true).unwrap();
            let each = |values: &Tensor| values.to_device(Device::Cpu).view([1, -1, 1, 1]);
            let entered = (planes(&x) + each(&by.before)).silu();
            let weight = by.weight.to_device(Device::Cpu).permute([2, 0, 1]).unsqueeze(1);
            let expected = entered.conv2d(
                &weight,
                Some(&by.after.to_device(Device::Cpu)),
                [stride, stride],
                [k / 2, k / 2],
                [1, 1],
                channels,
            );
            let (expected, about) = (expected.silu(), format!("{kind:?} {k} {stride} {side} {channels}"));
            assert_close(&planes(&found), &expected, tolerance, &about);
            let sums = sums.unwrap().to_device(Device::Cpu).sum_dim_intlist(1, false, None);
            let sum = expected.sum_dim_intlist([2, 3].as_slice(), false, None);
            assert_close(&sums, &sum, 2.0 * tolerance, &about);
        }
    });
}

#[test]
fn an_excitation_is_in_the_weights_behind_it() {
    everywhere(|target, kind, tolerance| {
        let kernels = TrunkKernels::new(kind, TrunkActivation::Silu, target).unwrap();
        let on = target.device();
        for (channels, squeezed, outputs, parts) in [(24, 3, 10, 1), (330, 14, 40, 7), (1056, 44, 7, 70)] {
            let of = |size: &[i64], seed| drawn(size, seed, on);
            let by = Excitation {
                squeeze: (of(&[squeezed, channels], 8) * 0.2).to_kind(kind),
                squeeze_bias: of(&[squeezed], 9),
                excite: of(&[squeezed, channels], 10).to_kind(kind),
                excite_bias: of(&[channels], 11),
            };
            let project = of(&[outputs, channels], 12).to_kind(kind);
            let sums = of(&[2, parts, channels], 13);
            let found = kernels.excited(&sums, 5, &by, &project).unwrap();
            let float = |tensor: &Tensor| tensor.to_device(Device::Cpu).to_kind(Kind::Float);
            let mean = float(&sums).sum_dim_intlist(1, false, None) / 5.0;
            let hidden = (mean.matmul(&float(&by.squeeze).tr()) + float(&by.squeeze_bias)).silu();
            let factor = (hidden.matmul(&float(&by.excite)) + float(&by.excite_bias)).sigmoid();
            let expected = float(&project).unsqueeze(0) * factor.unsqueeze(1);
            assert_close(&float(&found), &expected, 2.0 * tolerance, &format!("{kind:?} {channels}"));
        }
    });
}

#[test]
fn a_hidden_layer_is_heard_and_enlarged() {
    everywhere(|target, kind, tolerance| {
        let kernels = FlowKernels::new(kind, target).unwrap();
        for (height, width, channels) in [(3, 5, 6), (1, 1, 4), (6, 6, 20)] {
            let x = drawn(&[2, height, width, channels], 14, target.device()).to_kind(kind);
            let bias = drawn(&[channels], 15, target.device());
            let sum = planes(&x) + bias.to_device(Device::Cpu).view([1, -1, 1, 1]);
            let expected = sum.maximum(&(&sum * 0.1));
            let (own, larger) = kernels.hear(&x, &bias, 0.1, true).unwrap();
            let about = format!("{kind:?} {height}x{width}x{channels}");
            assert_close(&planes(&own), &expected, tolerance, &about);
            let twice = expected.upsample_bilinear2d([2 * height, 2 * width], false, None, None);
            assert_close(&planes(&larger.unwrap()), &twice, tolerance, &about);
            let (alone, nothing) = kernels.hear(&x, &bias, 0.1, false).unwrap();
            assert!(nothing.is_none() && planes(&alone).equal(&planes(&own)), "{about}");
        }
    });
}

#[test]
fn a_half_is_coupled_and_channels_are_gathered() {
    everywhere(|target, kind, tolerance| {
        let kernels = FlowKernels::new(kind, target).unwrap();
        let of = |channels: i64, seed| drawn(&[2, 3, 3, channels], seed, target.device());
        let (half, said) = (of(5, 16), [17, 18, 19].map(|seed| of(10, seed).to_kind(kind)));
        let bias = drawn(&[10], 20, target.device());
        let before = half.copy();
        let whole = Said { same: &said[0], coarser: Some(&said[1]), finer: Some(&said[2]), bias: &bias };
        let heard = kernels.couple(whole, &half, 1.9, true).unwrap().unwrap();
        let sum = said.iter().fold(bias.shallow_clone(), |sum, said| sum + said.to_kind(Kind::Float));
        let expected = (sum.narrow(3, 0, 5).atan() * 1.9).exp() * before + sum.narrow(3, 5, 5);
        assert_close(&half, &expected, 1e-5, "coupled");
        assert_close(&heard.to_kind(Kind::Float), &expected, tolerance, "heard");

        let (first, second) = (of(3, 21) * 4.0, of(4, 22));
        let order = [6, 0, 3, 2, 5, 1, 4];
        let gathered = kernels.order(&order, 2).unwrap();
        let (pair, heard) = kernels.gather((&first, Some(&second)), &gathered, 2.0, true).unwrap();
        let places = Tensor::from_slice(&order).to_device(target.device());
        let expected = Tensor::cat(&[&first, &second], 3).index_select(3, &places).clamp(-2.0, 2.0);
        assert!(pair.first.equal(&expected.narrow(3, 0, 2)));
        assert!(pair.second.equal(&expected.narrow(3, 2, 5)));
        assert_close(&heard.unwrap().to_kind(Kind::Float), &pair.second, tolerance, "heard");
    });
}

#[test]
fn what_is_no_number_stays_none() {
    everywhere(|target, kind, _| {
        let flow = FlowKernels::new(kind, target).unwrap();
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, target.device()));
        let is_none = |x: &Tensor| x.to_kind(Kind::Float).isnan().all().int64_value(&[]) == 1;
        for then in [TrunkActivation::Relu6, TrunkActivation::Silu] {
            let trunk = TrunkKernels::new(kind, then, target).unwrap();
            let by = Depthwise {
                before: zeros(&[4]),
                is_activated: true,
                weight: zeros(&[3, 3, 4]) + 1.0,
                after: zeros(&[4]),
                pad: 1,
                stride: 1,
            };
            let x = (zeros(&[1, 2, 2, 4]) + f64::NAN).to_kind(kind);
            let (y, sums) = trunk.depthwise(&x, &by, true).unwrap();
            assert!(is_none(&y) && is_none(&sums.unwrap()), "{kind:?} {then:?}");
        }
        let none = zeros(&[1, 1, 1, 4]) + f64::NAN;
        assert!(is_none(&flow.hear(&none.to_kind(kind), &zeros(&[4]), 0.1, false).unwrap().0));
        let order = flow.order(&[1, 0, 2, 3], 2).unwrap();
        let (pair, heard) = flow.gather((&none, None), &order, 1.0, true).unwrap();
        assert!(is_none(&pair.first) && is_none(&heard.unwrap()));
        // Too large for the kind is none, too: it is beyond all numbers, and of those one is taken from another.
        if kind == Kind::Half {
            let (_, heard) = flow.gather((&(zeros(&[1, 1, 1, 4]) + 1e5), None), &order, 1e6, true).unwrap();
            assert_eq!(heard.unwrap().to_kind(Kind::Float).isfinite().any().int64_value(&[]), 0);
        }
    });
}

#[test]
fn what_does_not_fit_is_an_error() {
    let trunk = TrunkKernels::new(Kind::Float, TrunkActivation::Relu6, &Target::Cpu).unwrap();
    let flow = FlowKernels::new(Kind::Float, &Target::Cpu).unwrap();
    let resize = ResizeKernels::new(&Target::Cpu).unwrap();
    let of = |size: &[i64]| drawn(size, 23, Device::Cpu);
    let depthwise = |k: i64, stride, channels: i64| Depthwise {
        before: of(&[channels]),
        is_activated: false,
        weight: of(&[k, k, channels]),
        after: of(&[channels]),
        pad: 1,
        stride,
    };
    let fails = |result: Result<(), TchError>| {
        let error = result.unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
    };
    let map = of(&[1, 4, 4, 4]);
    assert!(trunk.depthwise(&map, &depthwise(3, 1, 4), false).is_ok());
    fails(trunk.depthwise(&map, &depthwise(7, 1, 4), false).map(drop));
    fails(trunk.depthwise(&map, &depthwise(3, 3, 4), false).map(drop));
    fails(trunk.depthwise(&map, &depthwise(3, 1, 6), false).map(drop));
    fails(trunk.depthwise(&of(&[1, 4, 4, 5]), &depthwise(3, 1, 5), false).map(drop));
    fails(trunk.depthwise(&of(&[1, 4, 5, 4]), &depthwise(3, 1, 4), false).map(drop));
    fails(trunk.depthwise(&map.to_kind(Kind::Half), &depthwise(3, 1, 4), false).map(drop));
    fails(trunk.depthwise(&map.permute([0, 2, 1, 3]), &depthwise(3, 1, 4), false).map(drop));
    fails(flow.hear(&map, &of(&[3]), 0.1, false).map(drop));
    fails(flow.order(&[0, 4, 1], 1).map(drop));
    fails(flow.order(&[0, 1], 3).map(drop));
    let order = flow.order(&[0, 1, 2], 1).unwrap();
    fails(flow.gather((&map, None), &order, 1.0, false).map(drop));
    // A pixel behind the last, and a channel that is not there.
    fails(resize.taps(4, &[(3, vec![1, 1])], 1).map(drop));
    let taps = resize.taps(4, &[(0, vec![2])], 1).unwrap();
    let (x, y) = (of(&[1, 4, 1, 3]).to_kind(Kind::Uint8), resize.empty(&[1, 1, 1, 3]).unwrap());
    let channels = |origin| Channels { input: 3, output: 3, origin, stride: 1 };
    assert!(resize.along(&taps, channels(0), (&x, &y)).is_ok());
    fails(resize.along(&taps, channels(1), (&x, &y)).map(drop));
    fails(TrunkKernels::new(Kind::Double, TrunkActivation::Relu6, &Target::Cpu).and_then(|kernels| {
        kernels.depthwise(&map.to_kind(Kind::Double), &depthwise(3, 1, 4), false).map(drop)
    }));
}
