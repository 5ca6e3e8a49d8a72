//! A fixed linear map before the flow that gives the features of each scale zero mean and unit covariance.
//!
//! The flow then starts where a Gaussian fit ends, instead of spending most of its epochs on learning the scale
//! of raw features. The map is invertible and its log-determinant constant, so likelihoods stay comparable.

use tch::{Device, Kind, Tensor};

use crate::model::Scales;

/// Share of the mean variance that is added to each variance: directions without variance stay bounded.
const SHRINKAGE: f64 = 1e-3;

/// `y = matrix * (x - mean)` at each cell.
#[derive(Debug)]
pub struct Whitening {
    /// `[C_s]` for each scale.
    pub mean: Scales,
    /// `[C_s, C_s]` for each scale, symmetric.
    pub matrix: Scales,
    /// Log-determinant of each matrix: what one cell contributes.
    log_det: Vec<f64>,
}

/// Sums from which a [`Whitening`] is fitted, in f64, so that features need not be in memory together.
#[derive(Debug)]
pub struct Moments {
    scales: Vec<Sums>,
}

#[derive(Debug)]
struct Sums {
    /// Of cells.
    count: i64,
    /// `[C]`.
    sum: Tensor,
    /// `[C, C]`.
    outer: Tensor,
}

impl Moments {
    /// `channels` are those of each scale.
    pub fn new(channels: &[i64]) -> Self {
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Double, Device::Cpu));
        let sums = |&c: &i64| Sums { count: 0, sum: zeros(&[c]), outer: zeros(&[c, c]) };
        Self { scales: channels.iter().map(sums).collect() }
    }

    /// # Shapes
    /// `[B, C_s, H_s, W_s]`.
    pub fn add(&mut self, features: &[Tensor]) {
        for (sums, x) in self.scales.iter_mut().zip(features) {
            let channels = x.size()[1];
            let cells = x.permute([0, 2, 3, 1]).reshape([-1, channels]).to_kind(Kind::Double);
            sums.count += cells.size()[0];
            sums.sum += cells.sum_dim_intlist([0].as_slice(), false, None);
            sums.outer += cells.tr().matmul(&cells);
        }
    }

    /// The symmetric (ZCA) whitening `V (L + shrinkage)^(-1/2) V^T` of the covariance `V L V^T`.
    pub fn whitening(&self, device: Device) -> Whitening {
        let (mean, matrix) = self.scales.iter().map(|sums| sums.fit(device)).unzip();
        Whitening::new(mean, matrix)
    }
}

impl Sums {
    fn fit(&self, device: Device) -> (Tensor, Tensor) {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 cells")]
        let count = self.count as f64;
        let centre = &self.sum / count;
        let covariance = &self.outer / count - centre.outer(&centre);
        let floor = covariance.diag(0).mean(None) * SHRINKAGE;
        let (values, vectors) = covariance.linalg_eigh("L");
        let scale = (values.clamp_min(0.0) + floor).rsqrt();
        let matrix = (&vectors * &scale).matmul(&vectors.tr());
        let stored = |tensor: Tensor| tensor.to_kind(Kind::Float).to_device(device);
        (stored(centre), stored(matrix))
    }
}

impl Whitening {
    pub fn new(mean: Scales, matrix: Scales) -> Self {
        let log_det = matrix.iter().map(|matrix| {
            let (_sign, log_det) = matrix.to_kind(Kind::Double).slogdet();
            log_det.double_value(&[])
        });
        let log_det = log_det.collect();
        Self { mean, matrix, log_det }
    }

    pub fn identity(channels: &[i64], device: Device) -> Self {
        let options = (Kind::Float, device);
        Self {
            mean: channels.iter().map(|&c| Tensor::zeros([c], options)).collect(),
            matrix: channels.iter().map(|&c| Tensor::eye(c, options)).collect(),
            log_det: vec![0.0; channels.len()],
        }
    }

    #[must_use]
    pub fn to_device(&self, device: Device) -> Self {
        let moved = |scales: &[Tensor]| scales.iter().map(|tensor| tensor.to_device(device)).collect();
        Self { mean: moved(&self.mean), matrix: moved(&self.matrix), log_det: self.log_det.clone() }
    }

    /// # Shapes
    /// `[B, C_s, H_s, W_s]` to the same.
    pub fn forward(&self, features: &[Tensor]) -> Scales {
        let maps = self.mean.iter().zip(&self.matrix).zip(features);
        maps.map(|((mean, matrix), x)| {
            let channels = mean.size()[0];
            let centred = x - mean.view([1, channels, 1, 1]);
            let weight = matrix.view([channels, channels, 1, 1]);
            centred.conv2d(&weight, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1)
        })
        .collect()
    }

    /// Log-determinant of the whole map for feature maps of these sizes: constant, the same for every picture.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 cells")]
    pub fn log_det(&self, features: &[Tensor]) -> f64 {
        let cells = features.iter().map(|map| (map.size()[2] * map.size()[3]) as f64);
        self.log_det.iter().zip(cells).map(|(log_det, cells)| log_det * cells).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitened_features_have_zero_mean_and_unit_covariance() {
        tch::manual_seed(1);
        let features = [(16, 6), (8, 3), (4, 5)].map(|(side, channels)| {
            let mix = Tensor::randn([channels, channels], (Kind::Float, Device::Cpu));
            let noise = Tensor::randn([64, side, side, channels], (Kind::Float, Device::Cpu));
            (noise.matmul(&mix) + 3.0).permute([0, 3, 1, 2]).contiguous()
        });
        let mut moments = Moments::new(&[6, 3, 5]);
        moments.add(&features);
        let whitening = moments.whitening(Device::Cpu);
        let white = whitening.forward(&features);
        for x in &white {
            let channels = x.size()[1];
            let cells = x.permute([0, 2, 3, 1]).reshape([-1, channels]);
            let mean = cells.mean_dim([0].as_slice(), false, None).abs().max().double_value(&[]);
            assert!(mean < 1e-3, "mean {mean}");
            let covariance = cells.tr().matmul(&cells) / cells.size()[0];
            let off = (covariance - Tensor::eye(channels, (Kind::Float, Device::Cpu))).abs().max();
            assert!(off.double_value(&[]) < 0.15, "covariance off by {off:?}");
        }
        assert!(whitening.log_det(&features).is_finite());
    }
}
