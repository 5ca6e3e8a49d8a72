//! Exact binomial probabilities and their inverse: the mathematics of counts and of order statistics.
//!
//! For whole `k`, `P(Beta(k, n + 1 - k) <= x) = P(Binomial(n, x) >= k)`, so one function serves both.

/// `P(Binomial(n, x) >= k)`: the chance that of `n` tries, each succeeding with chance `x`, at least `k` succeed.
pub fn at_least(k: usize, n: usize, x: f64) -> f64 {
    if k == 0 || x >= 1.0 {
        return if k <= n { 1.0 } else { 0.0 };
    }
    if k > n || x <= 0.0 {
        return 0.0;
    }
    // The smaller number of terms is added up, in logarithms: (1 - x)^n alone can be too small for an f64.
    if 2 * k <= n + 1 {
        (1.0 - sum(0..k, n, x)).clamp(0.0, 1.0)
    } else {
        sum(0..n + 1 - k, n, 1.0 - x).clamp(0.0, 1.0)
    }
}

/// The `x` at which [`at_least`]`(k, n, x)` is `p`: the `p` quantile of `Beta(k, n + 1 - k)`.
///
/// # Panics
/// Unless `k` is in `1..=n` and `p` in `0..=1`.
pub fn beta_quantile(k: usize, n: usize, p: f64) -> f64 {
    assert!((1..=n).contains(&k) && (0.0..=1.0).contains(&p), "no quantile {p} of order {k} in {n}");
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if at_least(k, n, middle) < p { low = middle } else { high = middle }
    }
}

/// The interval that holds the true share with at least `confidence`, after `k` of `n` were seen
/// (Clopper and Pearson 1934). Everything if nothing was seen.
pub fn share_interval(k: usize, n: usize, confidence: f64) -> (f64, f64) {
    let tail = (1.0 - confidence) / 2.0;
    let low = if k == 0 { 0.0 } else { beta_quantile(k, n, tail) };
    let high = if k == n { 1.0 } else { beta_quantile(k + 1, n, 1.0 - tail) };
    (low, high)
}

/// Sum of the probabilities of `counts` successes, a range that starts at 0.
#[expect(clippy::cast_precision_loss, reason = "counts of images, far below 2^52")]
fn sum(counts: std::ops::Range<usize>, n: usize, x: f64) -> f64 {
    let (ln_x, ln_rest) = (x.ln(), (-x).ln_1p());
    let mut ln_choose = 0.0;
    let mut total = 0.0;
    for i in counts {
        total += (ln_choose + i as f64 * ln_x + (n - i) as f64 * ln_rest).exp();
        ln_choose += ((n - i) as f64 / (i + 1) as f64).ln();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected}");
    }

    #[test]
    fn tails_agree_with_sums_done_by_hand() {
        close(at_least(1, 1, 0.3), 0.3, 1e-15);
        close(at_least(2, 3, 0.5), 0.5, 1e-15);
        close(at_least(3, 3, 0.5), 0.125, 1e-15);
        close(at_least(1, 10, 0.1), 1.0 - 0.9_f64.powi(10), 1e-15);
        assert_eq!((at_least(0, 5, 0.2), at_least(6, 5, 0.2)), (1.0, 0.0));
        assert_eq!((at_least(3, 5, 0.0), at_least(5, 5, 1.0)), (0.0, 1.0));
    }

    #[test]
    fn quantiles_and_intervals_agree_with_scipy() {
        for (k, n, p, expected) in [
            (1, 100, 0.95, 0.029_513_049_607_039_925),
            (1, 100, 0.99, 0.045_007_413_978_564_045),
            (3, 100, 0.95, 0.061_619_200_396_040_69),
            (5, 761, 0.95, 0.011_987_594_599_165_12),
            (1, 3_000, 0.95, 0.000_998_079_011_996_586_5),
            (40, 100, 0.5, 0.395_350_762_328_935_23),
            (95, 100, 0.05, 0.897_746_622_356_725_5),
            (2, 2, 0.9, 0.948_683_298_050_513_8),
            (300, 30_000, 0.99, 0.011_383_792_150_180_977),
        ] {
            close(beta_quantile(k, n, p), expected, 1e-12);
        }
        let (low, high) = share_interval(3, 96, 0.95);
        close(low, 0.006_491_454_769_864_334, 1e-12);
        close(high, 0.088_618_099_661_560_96, 1e-12);
        let (low, high) = share_interval(11, 198, 0.95);
        close(low, 0.028_056_085_147_130_06, 1e-12);
        close(high, 0.097_228_419_388_505_06, 1e-12);
    }

    #[test]
    fn a_quantile_undoes_the_probability_even_where_it_is_tiny() {
        for (k, n) in [(1, 2), (2, 2), (3, 100), (50, 100), (99, 100), (7, 30_000), (1, 1_000_000)] {
            for p in [1e-6, 0.05, 0.5, 0.95, 0.999_999] {
                close(at_least(k, n, beta_quantile(k, n, p)), p, 1e-9);
            }
        }
    }

    #[test]
    fn shares_of_none_and_of_all_have_one_sided_intervals() {
        assert_eq!(share_interval(0, 0, 0.95), (0.0, 1.0));
        let (low, high) = share_interval(0, 10, 0.95);
        assert_eq!(low, 0.0);
        close(high, 1.0 - 0.025_f64.powf(0.1), 1e-12);
        let (low, high) = share_interval(10, 10, 0.95);
        assert_eq!(high, 1.0);
        close(low, 0.025_f64.powf(0.1), 1e-12);
    }
}
