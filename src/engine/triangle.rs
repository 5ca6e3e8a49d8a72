//! The weights of libtorch's antialiased bilinear resize of bytes.
//!
//! Source of the formula: libtorch's `aten/src/ATen/native/cpu/UpSampleKernel.cpp`, which follows Pillow: a triangle over the
//! pixels that an output covers, its weights rounded to 16 bits, sums in 32 bits, rows first and columns after.

/// What the outputs along one dimension are made of.
#[derive(Debug)]
pub(super) struct Triangle {
    /// The first pixel of each, and what it and those behind it weigh.
    pub(super) outputs: Vec<(usize, Vec<i32>)>,
    /// Bits of the weights behind the point.
    pub(super) precision: u32,
}

impl Triangle {
    /// From `from` pixels to `to`.
    pub(super) fn new(from: usize, to: usize) -> Self {
        let weights = weights(from, to);
        let largest = weights.iter().flat_map(|(_, weights)| weights).fold(0.0, |most: f64, &w| most.max(w));
        let precision = precision(largest);
        let round = |weights: &Vec<f64>| weights.iter().map(|&weight| rounded(weight, precision)).collect();
        Self { outputs: weights.iter().map(|(first, weights)| (*first, round(weights))).collect(), precision }
    }
}

/// The first pixel that each output covers, and what it and those behind it weigh, which is 1 together.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sides of pictures"
)]
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f64>)> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let one = |output: usize| {
        let centre = scale * (output as f64 + 0.5);
        let first = ((centre - reach + 0.5) as i64).max(0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let weights = (first..end).map(|pixel| {
            let distance = (pixel as f64 - centre + 0.5) / reach;
            (1.0 - distance.abs()).max(0.0)
        });
        let weights: Vec<f64> = weights.collect();
        let sum: f64 = weights.iter().sum();
        (first, weights.into_iter().map(|weight| weight / sum).collect())
    };
    (0..to).map(one).collect()
}

/// As many bits as let the largest weight fit into 16.
fn precision(largest: f64) -> u32 {
    (0..22).find(|&bits| largest * f64::from(1_u32 << (bits + 1)) + 0.5 >= f64::from(1 << 15)).unwrap_or(22)
}

#[expect(clippy::cast_possible_truncation, reason = "it fits into 16 bits")]
fn rounded(weight: f64, precision: u32) -> i32 {
    (weight * f64::from(1_u32 << precision) + 0.5) as i32
}
