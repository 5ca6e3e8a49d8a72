//! Which pictures of one product show the same part: copies, bursts, one part under several exposures.
//!
//! All pictures of a product look alike, so what they have in common is taken away first: each picture is averaged in
//! 16 x 16 fields, freed of its own brightness and contrast, and the mean of all pictures is subtracted. What is left
//! is what this part has and the others have not, and its correlation tells.

use crate::dataset::groups::Growing;
use crate::frame::Picture;

/// Fields in each direction.
const SIDE: usize = 16;

/// Sums are kept in so many lanes, which the compiler turns into vectors.
const LANES: usize = 8;

/// Remainders that correlate more than this show one part. Measured: of the 761 training images of MTD, where most
/// parts were taken under several exposures, 96 % of the pairs found are of one part by their numbers; of the drawn
/// parts of `csflowd synth` no two are taken for one, and a noisy, brightened copy of each is found.
const SAME_PART: f32 = 0.975;

/// Pictures that look alike are taken for one part only if no more than a quarter of all, or ten, would be one: parts
/// of some products look the same, and nothing could be held out.
const LARGEST_GROUP: usize = 4;
const ALWAYS_ALLOWED: usize = 10;

/// A picture as it is compared: zero mean and unit norm, or all zero if it shows nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnail(Vec<f32>);

/// Mean grey value of each field of a picture.
pub fn fields(picture: Picture<'_>) -> Vec<f32> {
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    let channels = picture.format.channels();
    let stride = width * channels;
    let mut fields = Vec::with_capacity(SIDE * SIDE);
    for row in 0..SIDE {
        for column in 0..SIDE {
            let (rows, columns) = (span(row, height), span(column, width));
            let mut sum = 0_u64;
            for y in rows.clone() {
                let line = &picture.pixels[y * stride..(y + 1) * stride];
                let part = &line[columns.start * channels..columns.end * channels];
                sum += part.iter().map(|&value| u64::from(value)).sum::<u64>();
            }
            let values = rows.len() * columns.len() * channels;
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a grey value")]
            fields.push((sum as f64 / values as f64) as f32);
        }
    }
    fields
}

impl Thumbnail {
    pub fn of(picture: Picture<'_>) -> Self {
        Self::new(fields(picture))
    }

    /// From a picture's [`fields`].
    pub fn new(mut fields: Vec<f32>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "256")]
        let mean = fields.iter().sum::<f32>() / fields.len() as f32;
        for value in &mut fields {
            *value -= mean;
        }
        normalise(&mut fields);
        Self(fields)
    }
}

/// Pictures that look like one part, by their positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alike {
    /// How many pairs of pictures do.
    pub pairs: usize,
    /// Of those pairs as many as it takes to link the pictures of each part, the smaller position first.
    pub links: Vec<(usize, usize)>,
}

/// Pictures that show one part, but for those that are the `same`: None if pictures are too much alike to tell.
///
/// It compares each with each: 10,000 pictures take seconds.
pub fn near_duplicates(thumbnails: &[Thumbnail], same: &dyn Fn(usize, usize) -> bool) -> Option<Alike> {
    let remainders = remainders(thumbnails, &mean(thumbnails));
    let allowed = ALWAYS_ALLOWED.max(thumbnails.len() / LARGEST_GROUP);
    let mut groups = Growing::new(thumbnails.len());
    let mut alike = Alike::default();
    for (i, one) in remainders.iter().enumerate() {
        for (j, other) in remainders.iter().enumerate().skip(i + 1) {
            if dot(one, other) > SAME_PART && !same(i, j) {
                alike.pairs += 1;
                if let Some(size) = groups.join(i, j) {
                    if size > allowed {
                        return None;
                    }
                    alike.links.push((i, j));
                }
            }
        }
    }
    Some(alike)
}

/// For each of `others` that shows a part of `ours`, the first such position in `ours`, and its own. What all have in
/// common is taken from `ours`.
pub fn across(ours: &[Thumbnail], others: &[Thumbnail]) -> Vec<(usize, usize)> {
    let mean = mean(ours);
    let [ours, others] = [ours, others].map(|thumbnails| remainders(thumbnails, &mean));
    let first = |other: &Vec<f32>| ours.iter().position(|one| dot(one, other) > SAME_PART);
    others.iter().enumerate().filter_map(|(j, other)| Some((first(other)?, j))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a number of files")]
fn mean(thumbnails: &[Thumbnail]) -> Vec<f32> {
    let mut mean = vec![0.0_f32; SIDE * SIDE];
    for Thumbnail(values) in thumbnails {
        mean.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    for sum in &mut mean {
        *sum /= thumbnails.len() as f32;
    }
    mean
}

/// What each has that the mean has not.
fn remainders(thumbnails: &[Thumbnail], mean: &[f32]) -> Vec<Vec<f32>> {
    let remainder = |Thumbnail(values): &Thumbnail| {
        let mut remainder: Vec<f32> = values.iter().zip(mean).map(|(value, mean)| value - mean).collect();
        normalise(&mut remainder);
        remainder
    };
    thumbnails.iter().map(remainder).collect()
}

/// The pixels of field `index` along a side of `length`; at least one.
fn span(index: usize, length: usize) -> std::ops::Range<usize> {
    let start = (index * length / SIDE).min(length - 1);
    start..((index + 1) * length / SIDE).max(start + 1)
}

fn normalise(values: &mut [f32]) {
    let norm = dot(values, values).sqrt();
    // What is left of equal pictures is rounding.
    let scale = if norm > 1e-4 { 1.0 / norm } else { 0.0 };
    for value in values {
        *value *= scale;
    }
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (one, _) = one.as_chunks::<LANES>();
    let (other, _) = other.as_chunks::<LANES>();
    for (a, b) in one.iter().zip(other) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::frame::{PixelFormat, Size};

    const SIZE: Size = Size { width: 50, height: 40 };

    /// Parts of one product: the same grey disc, with fine texture of its own on each part.
    fn part(number: u64) -> Vec<u8> {
        let mut rng = Pcg64::seed_from_u64(number);
        let texture: Vec<i32> = (0..64).map(|_| rng.random_range(-12..12)).collect();
        let value = |i: usize| {
            let (x, y) = (i % 50, i / 50);
            let disc = if x.abs_diff(25).pow(2) + y.abs_diff(20).pow(2) < 200 { 180 } else { 60 };
            u8::try_from(disc + texture[x / 7 + 8 * (y / 6)]).unwrap()
        };
        (0..SIZE.pixels()).map(value).collect()
    }

    fn thumbnail(pixels: &[u8]) -> Thumbnail {
        Thumbnail::of(Picture { size: SIZE, format: PixelFormat::Gray8, pixels })
    }

    #[test]
    fn a_noisy_brighter_picture_of_one_part_is_found_among_parts_that_all_look_alike() {
        let mut rng = Pcg64::seed_from_u64(99);
        let mut thumbnails: Vec<Thumbnail> = (0..12).map(|number| thumbnail(&part(number))).collect();
        let noisy = |&value: &u8| u8::try_from(i32::from(value) * 6 / 5 + rng.random_range(-4..=4)).unwrap();
        let again: Vec<u8> = part(7).iter().map(noisy).collect();
        thumbnails.push(thumbnail(&again));
        assert!(dot(&thumbnails[0].0, &thumbnails[1].0) > 0.9, "these parts do not look alike");
        let found = |pairs, links: &[_]| Some(Alike { pairs, links: links.to_vec() });
        assert_eq!(near_duplicates(&thumbnails, &|_, _| false), found(1, &[(7, 12)]));
        assert_eq!(near_duplicates(&thumbnails, &|i, j| (i, j) == (7, 12)), found(0, &[]));
        assert_eq!(across(&thumbnails[..12], &[thumbnails[12].clone(), thumbnail(&part(50))]), [(7, 0)]);
        // Three more: ten pairs of five pictures, which four link.
        thumbnails.extend([thumbnails[12].clone(), thumbnails[7].clone(), thumbnails[7].clone()]);
        let links = [12, 13, 14, 15].map(|again| (7, again));
        assert_eq!(near_duplicates(&thumbnails, &|_, _| false), found(10, &links));
        let mut many: Vec<Thumbnail> = (0..24).map(|number| thumbnail(&part(number))).collect();
        many.extend(vec![many[7].clone(); 10]);
        assert_eq!(near_duplicates(&many, &|_, _| false), None, "a third of all would be one part");
    }

    #[test]
    fn colour_and_size_do_not_matter_and_pictures_of_nothing_are_alike_to_none() {
        let grey = part(3);
        let rgb: Vec<u8> = grey.iter().flat_map(|&value| [value; 3]).collect();
        let coloured = Thumbnail::of(Picture { size: SIZE, format: PixelFormat::Rgb8, pixels: &rgb });
        assert!(dot(&coloured.0, &thumbnail(&grey).0) > 0.999_9);
        let tiny = Size { width: 1, height: 2 };
        let tiny = Thumbnail::of(Picture { size: tiny, format: PixelFormat::Gray8, pixels: &[0, 9] });
        assert!((dot(&tiny.0, &tiny.0) - 1.0).abs() < 1e-4);
        let blank = thumbnail(&[7; 2000]);
        for pictures in [&[blank.clone(), blank][..], &[]] {
            assert_eq!(near_duplicates(pictures, &|_, _| false), Some(Alike::default()));
        }
    }
}
