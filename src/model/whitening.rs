//! A fixed linear map before the flow that gives the features of each scale zero mean and unit covariance.
//!
//! The flow then starts where a Gaussian fit ends, instead of spending most of its epochs on learning the scale
//! of raw features. The map is invertible and its log-determinant constant, so likelihoods stay comparable.

use tch::{Device, Kind, Tensor};

use crate::model::{SCALES, Scales};

/// Share of the mean variance that is added to each variance: directions without variance stay bounded.
const SHRINKAGE: f64 = 1e-3;

/// `y = matrix * (x - mean)` at each cell.
#[derive(Debug)]
pub struct Whitening {
    /// `[C]` for each scale.
    pub mean: Scales,
    /// `[C, C]` for each scale, symmetric.
    pub matrix: Scales,
}

/// Sums from which a [`Whitening`] is fitted, in f64, so that features need not be in memory together.
#[derive(Debug)]
pub struct Moments {
    count: [i64; SCALES],
    sum: Scales,
    outer: Scales,
}

impl Moments {
    pub fn new(channels: i64) -> Self {
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Double, Device::Cpu));
        Self {
            count: [0; SCALES],
            sum: std::array::from_fn(|_| zeros(&[channels])),
            outer: std::array::from_fn(|_| zeros(&[channels, channels])),
        }
    }

    /// # Shapes
    /// `[B, C, H_s, W_s]`.
    pub fn add(&mut self, features: &Scales) {
        for (s, x) in features.iter().enumerate() {
            let channels = x.size()[1];
            let cells = x.permute([0, 2, 3, 1]).reshape([-1, channels]).to_kind(Kind::Double);
            self.count[s] += cells.size()[0];
            self.sum[s] += cells.sum_dim_intlist([0].as_slice(), false, None);
            self.outer[s] += cells.tr().matmul(&cells);
        }
    }

    /// The symmetric (ZCA) whitening `V (L + shrinkage)^(-1/2) V^T` of the covariance `V L V^T`.
    pub fn whitening(&self, device: Device) -> Whitening {
        let mut mean = Vec::with_capacity(SCALES);
        let mut matrix = Vec::with_capacity(SCALES);
        for s in 0..SCALES {
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 cells")]
            let count = self.count[s] as f64;
            let centre = &self.sum[s] / count;
            let covariance = &self.outer[s] / count - centre.outer(&centre);
            let floor = covariance.diag(0).mean(None) * SHRINKAGE;
            let (values, vectors) = covariance.linalg_eigh("L");
            let scale = (values.clamp_min(0.0) + floor).rsqrt();
            mean.push(centre.to_kind(Kind::Float).to_device(device));
            matrix.push((&vectors * &scale).matmul(&vectors.tr()).to_kind(Kind::Float).to_device(device));
        }
        let three = |v: Vec<Tensor>| Scales::try_from(v).expect("one a scale");
        Whitening { mean: three(mean), matrix: three(matrix) }
    }
}

impl Whitening {
    pub fn identity(channels: i64, device: Device) -> Self {
        let options = (Kind::Float, device);
        Self {
            mean: std::array::from_fn(|_| Tensor::zeros([channels], options)),
            matrix: std::array::from_fn(|_| Tensor::eye(channels, options)),
        }
    }

    /// # Shapes
    /// `[B, C, H_s, W_s]` to the same.
    pub fn forward(&self, features: &Scales) -> Scales {
        std::array::from_fn(|s| {
            let channels = self.mean[s].size()[0];
            let centred = &features[s] - self.mean[s].view([1, channels, 1, 1]);
            let weight = self.matrix[s].view([channels, channels, 1, 1]);
            centred.conv2d(&weight, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1)
        })
    }

    /// Log-determinant of the whole map for feature maps of these sizes: constant, the same for every picture.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand cells")]
    pub fn log_det(&self, features: &Scales) -> f64 {
        (0..SCALES)
            .map(|s| {
                let cells = features[s].size()[2] * features[s].size()[3];
                let (_, log_det) = self.matrix[s].to_kind(Kind::Double).slogdet();
                log_det.double_value(&[]) * cells as f64
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitened_features_have_zero_mean_and_unit_covariance() {
        tch::manual_seed(1);
        let mix = Tensor::randn([6, 6], (Kind::Float, Device::Cpu));
        let features: Scales = [16, 8, 4].map(|side| {
            let noise = Tensor::randn([8, side, side, 6], (Kind::Float, Device::Cpu));
            (noise.matmul(&mix) + 3.0).permute([0, 3, 1, 2]).contiguous()
        });
        let mut moments = Moments::new(6);
        moments.add(&features);
        let whitening = moments.whitening(Device::Cpu);
        let white = whitening.forward(&features);
        for x in &white {
            let cells = x.permute([0, 2, 3, 1]).reshape([-1, 6]);
            let mean = cells.mean_dim([0].as_slice(), false, None).abs().max().double_value(&[]);
            assert!(mean < 1e-3, "mean {mean}");
            let covariance = cells.tr().matmul(&cells) / cells.size()[0];
            let off = (covariance - Tensor::eye(6, (Kind::Float, Device::Cpu))).abs().max();
            assert!(off.double_value(&[]) < 0.15, "covariance off by {off:?}");
        }
        assert!(whitening.log_det(&features).is_finite());
    }
}
