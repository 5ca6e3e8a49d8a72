//! Pixels counted by the value of the map, in bounded memory, and the figures that follow from the counts.
//!
//! Pixels are counted instead of sorted: 300 images of 500x500 are 75 million. The bins follow the order of f32, so
//! they are as fine relative to small values as to large ones, and no value need be known before the first is
//! counted. Within a bin the order is lost; how much a figure can be off for that is computed with it.

use crate::evaluate::metrics::{Curve, Step};

/// Bits of an f32 below its sign and exponent.
const FRACTION: u32 = 23;

/// A bin spans `1 << SHIFT` neighbouring values of f32, a relative difference of at most 2^-15.
const SHIFT: u32 = 8;

/// AUPRO goes to this false positive rate, as Bergmann et al. chose it.
pub const AUPRO_FPR: f64 = 0.3;

/// A figure, and how far the value without bins can lie from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    pub value: f64,
    pub error_max: f64,
}

#[derive(Debug)]
pub struct Histogram {
    shift: u32,
    /// One page of bins for each sign and exponent, in the order of numbers; empty until a value falls into it, then
    /// of 768 KiB. Maps take some tens of them. The page of infinity holds all values that are not finite.
    pages: Vec<Vec<Bin>>,
}

/// Pixels that share a bin.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    defective: u64,
    good: u64,
    /// Each pixel of a defect counts as its share of that defect.
    overlap: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Without a value.
    pub fn new() -> Self {
        Self::with_bins_of(SHIFT)
    }

    /// A bin spans `1 << shift` neighbouring values; `shift` is at most [`FRACTION`].
    fn with_bins_of(shift: u32) -> Self {
        Self { shift, pages: vec![Vec::new(); 1 << (u32::BITS - FRACTION)] }
    }

    pub fn add_good(&mut self, value: f32) {
        self.bin(value).good += 1;
    }

    /// A pixel of a defect of `area` pixels.
    pub fn add_defective(&mut self, value: f32, area: u32) {
        let bin = self.bin(value);
        bin.defective += 1;
        bin.overlap += 1.0 / f64::from(area);
    }

    /// Area under the ROC curve. None, as all these, unless there are good pixels and defective ones.
    pub fn auroc(&self) -> Option<Bounded> {
        let value = self.curve().auroc()?;
        let sum = |of: fn(&Bin) -> f64| self.used().map(of).sum::<f64>();
        // Pairs that share a bin count half, and may count anything from none to whole.
        let undecided = sum(|bin| count(bin.defective) * count(bin.good));
        let pairs = sum(|bin| count(bin.defective)) * sum(|bin| count(bin.good));
        Some(Bounded { value, error_max: 0.5 * undecided / pairs })
    }

    pub fn average_precision(&self) -> Option<Bounded> {
        let curve = self.curve();
        curve.auroc()?;
        let value = curve.average_precision()?;
        let (mut low, mut high, mut all) = (0.0, 0.0, 0.0);
        self.walk(|before, bin| {
            // The defective pixels of a bin come before its good ones at best, all with the precision of the
            // last; after them at worst, with a precision that grows ever more slowly from the first to the last.
            let (caught, false_alarms) = before;
            let (next, worse) = (caught + count(bin.defective), false_alarms + count(bin.good));
            high += count(bin.defective) * ratio(next, next + false_alarms);
            low += 0.5 * count(bin.defective) * (ratio(caught, caught + worse) + ratio(next, next + worse));
            all += count(bin.defective);
        });
        Some(Bounded { value, error_max: (high / all - value).max(value - low / all).max(0.0) })
    }

    pub fn f1_max(&self) -> Option<Bounded> {
        let curve = self.curve();
        curve.auroc()?;
        let value = curve.f1_max()?;
        let all: f64 = self.used().map(|bin| count(bin.defective)).sum();
        let mut best = value;
        self.walk(|(caught, false_alarms), bin| {
            let caught = caught + count(bin.defective);
            best = best.max(ratio(2.0 * caught, caught + false_alarms + all));
        });
        Some(Bounded { value, error_max: best - value })
    }

    /// Area under the curve of the mean share of each defect that is found (per-region overlap) over the share of
    /// good pixels that are not spared, up to a false positive rate of `limit`, divided by `limit`. `defects` is how
    /// many there are. P. Bergmann et al., "Uninformed Students", CVPR 2020, and as their evaluation code
    /// has it: straight lines between thresholds, cut at the limit.
    pub fn aupro(&self, defects: usize, limit: f64) -> Option<Bounded> {
        let good: f64 = self.used().map(|bin| count(bin.good)).sum();
        if defects == 0 || good == 0.0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of defects")]
        let defects = defects as f64;
        let (mut area, mut error) = (0.0, 0.0);
        let mut overlap = 0.0;
        self.walk(|(_, false_alarms), bin| {
            let (start, width) = (false_alarms / good, count(bin.good) / good);
            let rise = bin.overlap / defects;
            if start < limit && width > 0.0 {
                // Within a bin the curve may go first up and then right, or the other way round.
                if start + width <= limit {
                    area += width * (overlap + 0.5 * rise);
                    error += 0.5 * width * rise;
                } else {
                    let inside = limit - start;
                    area += inside * (overlap + 0.5 * rise * inside / width);
                    error += inside * rise;
                }
            }
            overlap += rise;
        });
        Some(Bounded { value: area / limit, error_max: error / limit })
    }

    /// Calls `each` with every bin that is used, highest first, and the defective and good pixels above it.
    fn walk(&self, mut each: impl FnMut((f64, f64), &Bin)) {
        let mut above = (0.0, 0.0);
        for bin in self.used() {
            each(above, bin);
            above = (above.0 + count(bin.defective), above.1 + count(bin.good));
        }
    }

    /// Bins with a pixel, highest first.
    fn used(&self) -> impl Iterator<Item = &Bin> {
        self.pages.iter().rev().flat_map(|page| page.iter().rev()).filter(|bin| bin.defective + bin.good > 0)
    }

    fn curve(&self) -> Curve {
        Curve::from_groups(self.used().map(|bin| Step { caught: bin.defective, false_alarms: bin.good }))
    }

    fn bin(&mut self, value: f32) -> &mut Bin {
        let rank = rank(if value.is_finite() { value } else { f32::INFINITY });
        let page = &mut self.pages[(rank >> FRACTION) as usize];
        if page.is_empty() {
            page.resize(1 << (FRACTION - self.shift), Bin::default());
        }
        &mut page[((rank & ((1 << FRACTION) - 1)) >> self.shift) as usize]
    }
}

/// 1 if nothing was asked for.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 1.0 }
}

#[expect(clippy::cast_precision_loss, reason = "counts of pixels, below 2^53")]
fn count(n: u64) -> f64 {
    n as f64
}

/// The place of a number among all of f32: larger numbers have larger ranks.
fn rank(value: f32) -> u32 {
    // Adding zero turns -0 into 0.
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn ranks_keep_the_order_of_numbers() {
        let ascending =
            [f32::MIN, -1.0, -f32::MIN_POSITIVE, 0.0, f32::MIN_POSITIVE, 1.0, f32::MAX, f32::INFINITY];
        assert!(ascending.windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
        assert_eq!(rank(-0.0), rank(0.0));
    }

    #[test]
    fn coarse_bins_are_off_by_no_more_than_they_say() {
        let mut rng = Pcg64::seed_from_u64(5);
        let pixels: Vec<(f32, bool)> = (0..20_000)
            .map(|_| {
                let is_defective = rng.random_bool(0.1);
                let value: f32 = rng.random::<f32>().powi(8) * 1e4;
                (if is_defective { value * 3.0 } else { value }, is_defective)
            })
            .collect();
        let exact = Curve::new(pixels.iter().map(|&(value, bad)| (f64::from(value), bad)));
        // The second takes a whole power of two for one.
        for (shift, largest) in [(SHIFT, 1e-3), (FRACTION, 0.3)] {
            let mut histogram = Histogram::with_bins_of(shift);
            for &(value, is_defective) in &pixels {
                if is_defective { histogram.add_defective(value, 500) } else { histogram.add_good(value) }
            }
            let check = |found: Option<Bounded>, exact: Option<f64>| {
                let Bounded { value, error_max } = found.unwrap();
                let error = (value - exact.unwrap()).abs();
                assert!(error <= error_max + 1e-12 && error_max < largest, "{error} of {error_max}");
            };
            check(histogram.auroc(), exact.auroc());
            check(histogram.average_precision(), exact.average_precision());
            check(histogram.f1_max(), exact.f1_max());
            // Defects of one size: each pixel weighs the same, and the whole curve is that of ROC.
            let defects = pixels.iter().filter(|(_, bad)| *bad).count();
            let mut whole = histogram.aupro(1, 1.0).unwrap();
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let all = defects as f64 / 500.0;
            whole = Bounded { value: whole.value / all, error_max: whole.error_max / all };
            check(Some(whole), exact.auroc());
        }
    }

    #[test]
    fn numbers_of_any_size_and_sign_keep_their_order_and_what_is_none_comes_last() {
        let ascending =
            [f32::MIN, -2.5, -1e-20, 0.0, 1e-40, 1e-20, 2.5, 2.5003, 1e30, f32::MAX, f32::NEG_INFINITY];
        let mut histogram = Histogram::new();
        for (i, &value) in ascending.iter().enumerate() {
            if i < 5 { histogram.add_good(value) } else { histogram.add_defective(value, 6) }
        }
        assert_eq!(histogram.auroc(), Some(Bounded { value: 1.0, error_max: 0.0 }));
        assert_eq!(histogram.used().count(), ascending.len());
        histogram.add_good(f32::NAN);
        assert!(histogram.auroc().unwrap().value < 0.9);
    }

    #[test]
    fn pixels_of_one_kind_have_no_figures() {
        let mut histogram = Histogram::new();
        histogram.add_good(0.5);
        assert!(histogram.auroc().is_none() && histogram.average_precision().is_none());
        assert!(histogram.f1_max().is_none() && histogram.aupro(0, AUPRO_FPR).is_none());
        let mut histogram = Histogram::new();
        histogram.add_defective(0.5, 1);
        assert!(histogram.auroc().is_none() && histogram.average_precision().is_none());
        assert!(histogram.aupro(1, AUPRO_FPR).is_none());
    }
}
