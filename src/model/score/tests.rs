//! Scores against numbers by hand, and cells that do not count.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tch::{Device, Kind, Tensor};

use super::*;

/// Near-normal values of mean 0 and variance 1: libtorch's own generator belongs to the whole process.
pub(super) fn noise(seed: u64, size: &[i64]) -> Tensor {
    let mut rng = Pcg64::seed_from_u64(seed);
    let one = |_| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
    let values: Vec<f32> = (0..size.iter().product::<i64>()).map(one).collect();
    Tensor::from_slice(&values).view(size)
}

/// Latent values of two pictures with 8, 4 and 2 cells a side.
pub(super) fn latent(seed: u64) -> Vec<Tensor> {
    [8, 4, 2].into_iter().zip(seed..).map(|(side, seed)| noise(seed, &[2, 5, side, side])).collect()
}

#[test]
fn the_mean_is_half_the_mean_square_of_all_values() {
    let z = [
        Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0]).view([1, 1, 2, 2]),
        Tensor::from_slice(&[5.0_f32]).view([1, 1, 1, 1]),
    ];
    // (1 + 4 + 9 + 16 + 25) / 5 / 2
    assert_eq!(mean_score(&z).double_value(&[0]), 5.5);
}

#[test]
fn half_precision_is_reduced_in_single() {
    let z = [Tensor::full([1, 1, 64, 64], 300.0, (Kind::Half, Device::Cpu))];
    assert_eq!(mean_score(&z).double_value(&[0]), 45_000.0);
    assert_eq!(cell_maps(&z)[0].double_value(&[0, 5, 5]), 90_000.0);
}
