//! How far a picture is shifted against what pictures of its kind look like: by the profiles of its columns and rows.

/// Places along a side of the picture. A shift is told to one of them.
pub const PLACES: usize = 64;

/// The largest shift looked for.
const FARTHEST: usize = 16;

/// Profiles are compared where at least this much of them overlaps; shifted, they must be as much alike as this, and by
/// this much more than unshifted: else nothing is called a shift.
const ALIKE: f32 = 0.8;
const MORE_ALIKE: f32 = 0.1;

/// Mean grey values along the width and the height. None where a side has too few pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Profiles {
    pub columns: Option<[f32; PLACES]>,
    pub rows: Option<[f32; PLACES]>,
}

impl Profiles {
    /// From sums along each side, one for each place that was looked at.
    pub fn new(columns: &[u32], rows: &[u32]) -> Self {
        Self { columns: places(columns, rows.len()), rows: places(rows, columns.len()) }
    }

    /// The larger shift of the two directions against `reference`, as a share of the side; 0 where none can be told.
    pub fn shift_from(&self, reference: &Self) -> f64 {
        let lags = [(&self.columns, &reference.columns), (&self.rows, &reference.rows)]
            .map(|(own, usual)| own.as_ref().zip(usual.as_ref()).map_or(0, |(own, usual)| lag(own, usual)));
        #[expect(clippy::cast_precision_loss, reason = "at most 16")]
        let share = |lag: usize| lag as f64 / PLACES as f64;
        lags.into_iter().map(share).fold(0.0, f64::max)
    }

    /// What `all` have in common, each freed of its own brightness and contrast.
    pub fn mean<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Self {
        Self {
            columns: mean(all.clone().filter_map(|profiles| profiles.columns.as_ref())),
            rows: mean(all.filter_map(|profiles| profiles.rows.as_ref())),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "some thousand grey values")]
fn places(sums: &[u32], each: usize) -> Option<[f32; PLACES]> {
    if sums.len() < PLACES || each == 0 {
        return None;
    }
    let place = |i: usize| {
        let part = &sums[i * sums.len() / PLACES..(i + 1) * sums.len() / PLACES];
        part.iter().sum::<u32>() as f32 / (part.len() * each) as f32
    };
    Some(std::array::from_fn(place))
}

fn mean<'a>(all: impl Iterator<Item = &'a [f32; PLACES]>) -> Option<[f32; PLACES]> {
    let mut sum = None;
    for one in all {
        let sum = sum.get_or_insert([0.0; PLACES]);
        let (middle, norm) = spread(one);
        if norm > 0.0 {
            sum.iter_mut().zip(one).for_each(|(sum, value)| *sum += (value - middle) / norm);
        }
    }
    sum
}

/// Places by which `own` lies off `usual`, in either direction.
fn lag(own: &[f32; PLACES], usual: &[f32; PLACES]) -> usize {
    let unshifted = likeness(own, usual);
    let shifted = (1..=FARTHEST).flat_map(|lag| {
        let right = likeness(&own[lag..], &usual[..PLACES - lag]);
        let left = likeness(&own[..PLACES - lag], &usual[lag..]);
        [(lag, right), (lag, left)]
    });
    let best = shifted.max_by(|(_, one), (_, other)| one.total_cmp(other));
    match best {
        Some((lag, likeness)) if likeness >= ALIKE && likeness >= unshifted + MORE_ALIKE => lag,
        Some(_) | None => 0,
    }
}

/// Correlation; 0 where one of them is even.
fn likeness(one: &[f32], other: &[f32]) -> f32 {
    let ((mean, norm), (other_mean, other_norm)) = (spread(one), spread(other));
    if norm == 0.0 || other_norm == 0.0 {
        return 0.0;
    }
    let products = one.iter().zip(other).map(|(a, b)| (a - mean) * (b - other_mean));
    products.sum::<f32>() / (norm * other_norm)
}

/// Mean, and the length of what is left without it: 0 where that is less than noise.
#[expect(clippy::cast_precision_loss, reason = "at most 64")]
fn spread(values: &[f32]) -> (f32, f32) {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let norm = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>().sqrt();
    (mean, if norm > 1e-3 { norm } else { 0.0 })
}
