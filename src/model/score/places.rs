//! What is usual at each place of a part in a fixed pose, and whether it is worth knowing.
//!
//! A cell's value in a good image is taken as normal around the centre of its place. Both numbers come from a few
//! images alone, so they are drawn towards what holds for all places:
//!
//! - centre: `g + B (mean_p - g)` with `B = t / (t + v / n)`, where `g` is the mean of all, `v` the mean variance
//!   within a place and `t` the variance between places beyond what `v` explains (Efron and Morris, "Data analysis
//!   using Stein's estimator", 1975);
//! - variance: `(d v + (n - 1) v_p) / (d + n - 1)` with `d = 10` (the moderated variance of Smyth, 2004).
//!
//! Where places do not differ, `t` is 0 and every place has the same centre.

use tch::{Device, Kind, Tensor};

use crate::model::score::area::Area;

/// Images that the variance of all places counts for at each.
const PRIOR: f64 = 10.0;

/// Places are used from this gain on, in nats a cell: as much as if they explained a tenth of the variance of the
/// cells' values, since `-ln(1 - 0.1) / 2` is 0.053.
pub const MIN_GAIN: f64 = 0.05;

/// Centre and deviation of each cell, `[H_s, W_s]` at each scale, f32.
#[derive(Debug)]
pub struct Places {
    pub centre: Vec<Tensor>,
    pub deviation: Vec<Tensor>,
}

impl Places {
    /// From the cell maps of good images, `[n, H_s, W_s]` at each scale. Levels come from the cells that count.
    pub fn fit(maps: &[Tensor], area: Option<&Area>) -> Self {
        let (centre, deviation) = maps
            .iter()
            .enumerate()
            .map(|(scale, map)| {
                let place = Place::fit(map, &|values| pick(area, scale, values));
                (place.centre.to_kind(Kind::Float), place.variance.sqrt().to_kind(Kind::Float))
            })
            .unzip();
        Self { centre, deviation }
    }

    #[must_use]
    pub fn to_device(&self, device: Device) -> Self {
        let moved = |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.to_device(device)).collect();
        Self { centre: moved(&self.centre), deviation: moved(&self.deviation) }
    }

    /// Deviations from what is usual, of cell maps `[B, H_s, W_s]`.
    pub(super) fn normalise(&self, cells: &[Tensor]) -> Vec<Tensor> {
        let statistics = self.centre.iter().zip(&self.deviation);
        cells.iter().zip(statistics).map(|(map, (centre, deviation))| (map - centre) / deviation).collect()
    }
}

/// How much likelier the cells of a good image become by knowing what is usual at their place, in nats a cell:
/// places and level are fitted on half of the images and tried on the other half, and the other way round. At or
/// below 0 nothing is gained.
///
/// # Shapes
/// `[n, H_s, W_s]` at each scale, `n` at least 4.
pub fn gain(maps: &[Tensor], area: Option<&Area>) -> f64 {
    let n = maps[0].size()[0];
    let half = |first: i64| Tensor::arange_start_step(first, n, 2, (Kind::Int64, Device::Cpu));
    let (even, odd) = (half(0), half(1));
    let (mut sum, mut count) = (0.0, 0);
    for (scale, map) in maps.iter().enumerate() {
        if area.is_some_and(|area| area.pick(scale, map).is_none()) {
            continue;
        }
        let pick = |values: &Tensor| pick(area, scale, values);
        for (fitted, tried) in [(&even, &odd), (&odd, &even)] {
            let place = Place::fit(&map.index_select(0, fitted), &pick);
            let gains = pick(&place.gains(&map.index_select(0, tried).to_kind(Kind::Double)));
            sum += gains.sum(Kind::Double).double_value(&[]);
            count += gains.numel();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 cells")]
    let count = count as f64;
    sum / count
}

/// The cells of a scale that count; all of them where none does, since they are shown when the whole picture is.
pub(super) fn pick(area: Option<&Area>, scale: usize, values: &Tensor) -> Tensor {
    area.and_then(|area| area.pick(scale, values)).unwrap_or_else(|| values.flatten(-2, -1))
}

/// One scale's statistics, in f64.
struct Place {
    centre: Tensor,
    variance: Tensor,
    /// Mean and variance of all cells of all images.
    level: f64,
    total: f64,
}

impl Place {
    /// `counted` picks the cells that count, `[..., H, W]` to `[..., m]`.
    fn fit(map: &Tensor, counted: &dyn Fn(&Tensor) -> Tensor) -> Self {
        let map = map.to_kind(Kind::Double);
        #[expect(clippy::cast_precision_loss, reason = "a few images")]
        let n = map.size()[0] as f64;
        let mean = map.mean_dim([0].as_slice(), false, None);
        let within = map.var_dim([0].as_slice(), true, false);
        let mean_of = |values: &Tensor| counted(values).mean(None).double_value(&[]);
        let level = mean_of(&mean);
        let spread = (&mean - level).square();
        let (v, between) = (mean_of(&within), mean_of(&spread));
        let floor = f64::from(f32::EPSILON) * level.abs() + f64::from(f32::MIN_POSITIVE);
        let floor = floor * floor;
        let t = (between - v / n).max(0.0);
        let trust = if t > 0.0 { t / (t + v / n) } else { 0.0 };
        let centre = (&mean - level) * trust + level;
        let variance = ((within * (n - 1.0) + PRIOR * v) / (PRIOR + n - 1.0)).clamp_min(floor);
        let total = mean_of(&(&map - level).square()).max(floor);
        Self { centre, variance, level, total }
    }

    /// `ln N(x; centre, variance) - ln N(x; level, total)` of each cell.
    fn gains(&self, map: &Tensor) -> Tensor {
        let at_its_place = (map - &self.centre).square() / &self.variance + self.variance.log();
        let anywhere = (map - self.level).square() / self.total + self.total.ln();
        (anywhere - at_its_place) * 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::score::tests::noise;

    /// Cells of 32 images: noise, and `between` times something that belongs to the place.
    fn maps(between: f64, seed: u64) -> Vec<Tensor> {
        let side = |side| noise(seed, &[32, side, side]) + noise(seed + 99, &[1, side, side]) * between + 5.0;
        [8, 4].map(side).into()
    }

    #[test]
    fn places_that_differ_gain_and_places_that_do_not_gain_nothing() {
        // Known variances 1 within and b^2 between: ln(1 + b^2) / 2 nats if all were known.
        for seed in 0..4 {
            let none = gain(&maps(0.0, seed), None);
            assert!(none < 0.02, "seed {seed}: {none}");
            let half = gain(&maps(1.0, seed), None);
            assert!((0.1..0.5).contains(&half), "seed {seed}: {half}");
            assert!(gain(&maps(3.0, seed), None) > 0.6, "seed {seed}");
        }
    }

    #[test]
    fn statistics_are_drawn_towards_all_places_by_the_stated_formula() {
        // Two places, three images: means 2 and 6, variances 1 and 4.
        let map = Tensor::from_slice(&[1.0_f32, 4.0, 2.0, 6.0, 3.0, 8.0]).view([3, 1, 2]);
        let places = Places::fit(&[map], None);
        let (v, n) = (2.5, 3.0);
        let t = 4.0 - v / n;
        let trust = t / (t + v / n);
        let (c, d) = (&places.centre[0], &places.deviation[0]);
        assert!((c.double_value(&[0, 0]) - (4.0 - 2.0 * trust)).abs() < 1e-6);
        assert!((c.double_value(&[0, 1]) - (4.0 + 2.0 * trust)).abs() < 1e-6);
        assert!((d.double_value(&[0, 0]) - ((10.0 * v + 2.0) / 12.0_f64).sqrt()).abs() < 1e-6);
        assert!((d.double_value(&[0, 1]) - ((10.0 * v + 8.0) / 12.0_f64).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn cells_that_never_change_have_a_deviation_to_divide_by() {
        let places = Places::fit(&[Tensor::ones([4, 2, 2], (Kind::Float, Device::Cpu))], None);
        let seen = places.normalise(&[Tensor::ones([1, 2, 2], (Kind::Float, Device::Cpu))]);
        assert_eq!(seen[0].abs().max().double_value(&[]), 0.0);
    }
}
