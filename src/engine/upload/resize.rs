//! libtorch's antialiased resize of bytes, which it has for CPUs alone, of the same integers on any device.

use tch::{Device, Kind, TchError, Tensor};

use crate::engine::triangle::Triangle;

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
    pub(super) fn new(from: usize, to: usize, device: Device) -> Result<Self, TchError> {
        let Triangle { outputs, precision } = Triangle::new(from, to);
        let most = outputs.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let pixel = |k: usize| {
            let place = |(first, weights): &(usize, Vec<i32>)| {
                i64::try_from(first + k.min(weights.len() - 1)).expect("a side of a picture")
            };
            let places: Vec<i64> = outputs.iter().map(place).collect();
            let weight = |(_, weights): &(usize, Vec<i32>)| weights.get(k).copied().unwrap_or(0);
            let weights: Vec<i32> = outputs.iter().map(weight).collect();
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
