//! libtorch's antialiased bilinear resize of bytes, which it has for CPUs alone, of the same integers on any device.
//!
//! Source of the formula: libtorch's `aten/src/ATen/native/cpu/UpSampleKernel.cpp`, which follows Pillow: a triangle over the
//! pixels that an output covers, its weights rounded to 16 bits, sums in 32 bits, rows first and columns after.

use tch::{Device, Kind, TchError, Tensor};

/// What each output pixel of one dimension is made of.
#[derive(Debug)]
pub(super) struct Taps {
    /// For the first pixel of each output, the second, and so on: where it is, `[n]`, and what it weighs, `[n]`, i32.
    pixels: Vec<(Tensor, Tensor)>,
    /// Bits of the weights behind the point.
    precision: u32,
}

impl Taps {
    /// From `from` pixels to `to`, on `device`.
    pub(super) fn new(from: i64, to: i64, device: Device) -> Result<Self, TchError> {
        let weights = weights(from, to);
        let largest = weights.iter().flat_map(|(_, weights)| weights).fold(0.0, |most: f64, &w| most.max(w));
        let precision = precision(largest);
        let most = weights.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let pixel = |k: usize| {
            let place = |(first, weights): &(i64, Vec<f64>)| {
                let k = i64::try_from(k.min(weights.len() - 1)).expect("a few dozen");
                first + k
            };
            let weight =
                |(_, weights): &(i64, Vec<f64>)| weights.get(k).map_or(0, |&w| rounded(w, precision));
            let places: Vec<i64> = weights.iter().map(place).collect();
            let weights: Vec<i32> = weights.iter().map(weight).collect();
            let there = |tensor: Tensor| tensor.f_to_device(device);
            Ok((there(Tensor::f_from_slice(&places)?)?, there(Tensor::f_from_slice(&weights)?)?))
        };
        Ok(Self { pixels: (0..most).map(pixel).collect::<Result<_, TchError>>()?, precision })
    }

    /// # Shapes
    /// `[H, W, C]`, u8, with another length of `dimension`.
    pub(super) fn apply(&self, pixels: &Tensor, dimension: i64) -> Result<Tensor, TchError> {
        let half = 1_i64 << (self.precision - 1);
        let mut sum: Option<Tensor> = None;
        for (places, weights) in &self.pixels {
            let mut shape = [1, 1, 1];
            shape[usize::try_from(dimension).expect("of three")] = weights.size()[0];
            let weights = weights.f_view(shape)?;
            let part = pixels.f_index_select(dimension, places)?.f_to_kind(Kind::Int)?;
            sum = Some(match sum {
                None => part.f_mul(&weights)?.f_add_scalar(half)?,
                Some(mut sum) => sum.f_addcmul_(&part, &weights)?,
            });
        }
        let sum = sum.ok_or_else(|| TchError::Shape("no pixel to make one of".to_owned()))?;
        let shifted = sum.f_bitwise_right_shift_tensor_scalar(i64::from(self.precision))?;
        shifted.f_clamp(0, 255)?.f_to_kind(Kind::Uint8)
    }
}

/// The first pixel that each output covers, and what it and those behind it weigh, which is 1 together.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sides of pictures")]
fn weights(from: i64, to: i64) -> Vec<(i64, Vec<f64>)> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let one = |output: i64| {
        let centre = scale * (output as f64 + 0.5);
        let first = ((centre - reach + 0.5) as i64).max(0);
        let end = ((centre + reach + 0.5) as i64).min(from);
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
