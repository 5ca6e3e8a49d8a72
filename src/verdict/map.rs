//! Anomaly maps at another resolution. The cells stay as coarse as the network made them.

use crate::verdict::regions::AnomalyMap;

/// Where a new column or row takes its value from: two old ones and the weight of the second.
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

impl AnomalyMap {
    /// Bilinear, cell centres on cell centres, borders repeated: `interpolate(mode="bilinear",
    /// align_corners=False)` of PyTorch. Near a cell that is not finite the result is not finite either.
    ///
    /// # Panics
    /// If this map has no cells.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize) -> AnomalyMap {
        assert_eq!(self.values.len(), self.width * self.height, "map values do not fill its size");
        let columns = taps(self.width, width);
        let mut values = Vec::with_capacity(width * height);
        for row in taps(self.height, height) {
            let upper = &self.values[row.first * self.width..][..self.width];
            let lower = &self.values[row.second * self.width..][..self.width];
            values.extend(columns.iter().map(|column| {
                let at = |row: &[f32]| mix(row[column.first], row[column.second], column.weight);
                mix(at(upper), at(lower), row.weight)
            }));
        }
        AnomalyMap { width, height, values }
    }

    /// The largest value; infinity if one is not finite, since an unknown cell is suspect.
    pub fn max(&self) -> f64 {
        let all_finite = self.values.iter().all(|value| value.is_finite());
        let max = self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if all_finite { f64::from(max) } else { f64::INFINITY }
    }
}

fn mix(a: f32, b: f32, weight: f32) -> f32 {
    a + (b - a) * weight
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "positions in a picture, far below 2^24"
)]
fn taps(old: usize, new: usize) -> Vec<Tap> {
    assert!(old > 0, "a map without cells cannot be resized");
    let scale = old as f64 / new as f64;
    let tap = |i: usize| {
        let centre = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, (old - 1) as f64);
        let first = centre as usize;
        Tap { first, second: (first + 1).min(old - 1), weight: (centre - first as f64) as f32 }
    };
    (0..new).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(width: usize, height: usize, values: &[f32]) -> AnomalyMap {
        AnomalyMap { width, height, values: values.to_vec() }
    }

    #[test]
    fn twice_the_size_is_what_pytorch_makes_of_it() {
        let grown = map(2, 2, &[1.0, 2.0, 3.0, 5.0]).resized(4, 4);
        let expected = [
            [1.0, 1.25, 1.75, 2.0],
            [1.5, 1.8125, 2.4375, 2.75],
            [2.5, 2.9375, 3.8125, 4.25],
            [3.0, 3.5, 4.5, 5.0],
        ];
        assert_eq!(grown, map(4, 4, &expected.concat()));
    }

    #[test]
    fn the_own_size_changes_nothing_and_one_cell_fills_everything() {
        let same = map(3, 2, &[1.0, 7.0, -2.0, 0.5, 4.0, 9.0]);
        assert_eq!(same.resized(3, 2), same);
        assert_eq!(map(1, 1, &[3.0]).resized(2, 3), map(2, 3, &[3.0; 6]));
    }

    #[test]
    fn uneven_sizes_stay_within_the_old_values() {
        let grown = map(3, 1, &[0.0, 3.0, 1.0]).resized(7, 5);
        assert_eq!((grown.values.len(), grown.values[0], grown.values[6]), (35, 0.0, 1.0));
        assert!(grown.values.iter().all(|v| (0.0..=3.0).contains(v)));
    }

    #[test]
    fn the_largest_value_of_a_map_with_an_unknown_cell_is_infinite() {
        assert_eq!(map(2, 1, &[1.0, 4.0]).max(), 4.0);
        assert_eq!(map(2, 1, &[1.0, f32::NAN]).max(), f64::INFINITY);
    }
}
