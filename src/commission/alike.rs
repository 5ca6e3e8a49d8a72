//! Whether a picture shows what was recorded before: a part that stays in view, or comes again.

use crate::dataset::likeness::{self, Thumbnail};
use crate::frame::Picture;

/// The fields of two pictures of one view differ by noise alone, which the mean of a field has little of: by no more than
/// so many grey values, and on average by no more than this.
const FIELD: f32 = 3.0;
const FIELDS: f32 = 0.75;

/// Places along a side where the grain is looked at, and how wide around each, in pixels.
const PLACES: usize = 24;
const AROUND: usize = 4;

/// From so many pictures on it is known what they have in common, and likeness can be told.
const TELLS_FROM: usize = 10;

/// Likeness is no guide where it takes more than one picture in so many for an old one: the parts look the same.
const MISTRUSTED: usize = 4;

/// Pictures recorded so far, as they are compared.
#[derive(Debug, Default)]
pub(super) struct Seen {
    views: Vec<View>,
    thumbnails: Vec<Thumbnail>,
    /// Pictures that likeness was asked about, and how many of them it called old.
    asked: usize,
    called_old: usize,
}

/// What a camera shows, coarse and fine.
#[derive(Debug)]
struct View {
    fields: Vec<f32>,
    /// How pixels stand out from what is around them, in pairs of neighbours: parts of cloth or brushed metal are told
    /// apart by nothing else.
    grain: Vec<[f32; 2]>,
}

impl Seen {
    /// Whether it shows something new; then it is remembered.
    pub(super) fn is_new(&mut self, picture: Picture<'_>) -> bool {
        let view = View { fields: likeness::fields(picture), grain: grain(picture) };
        // What comes again mostly does so soon.
        if self.views.iter().rev().any(|known| known.is_same(&view)) {
            return false;
        }
        let thumbnail = Thumbnail::new(view.fields.clone());
        if self.is_alike(&thumbnail) {
            return false;
        }
        self.views.push(view);
        self.thumbnails.push(thumbnail);
        true
    }

    fn is_alike(&mut self, thumbnail: &Thumbnail) -> bool {
        let is_mistrusted = self.called_old > TELLS_FROM.max(self.asked / MISTRUSTED);
        if self.thumbnails.len() < TELLS_FROM || is_mistrusted {
            return false;
        }
        self.asked += 1;
        let is_old = !likeness::across(&self.thumbnails, std::slice::from_ref(thumbnail)).is_empty();
        self.called_old += usize::from(is_old);
        is_old
    }
}

impl View {
    fn is_same(&self, other: &Self) -> bool {
        let differences = self.fields.iter().zip(&other.fields).map(|(one, other)| (one - other).abs());
        let (sum, most) = differences.fold((0.0, 0.0_f32), |(sum, most), one| (sum + one, most.max(one)));
        #[expect(clippy::cast_precision_loss, reason = "some hundred fields")]
        let mean = sum / self.fields.len() as f32;
        // Noise is alike from no pixel to the next, and grain is: where there is grain, one view must show it again.
        let neighbours = self.grain.iter().map(|&[one, next]| one * next).sum::<f32>();
        let again =
            self.grain.iter().zip(&other.grain).map(|(a, b)| a[0] * b[0] + a[1] * b[1]).sum::<f32>() / 2.0;
        mean <= FIELDS && most <= FIELD && again >= neighbours / 2.0
    }
}

/// Scaled so that the squares of each picture's grain have the same sum; empty where a picture is too small.
fn grain(picture: Picture<'_>) -> Vec<[f32; 2]> {
    let (width, height) = (picture.size.width as usize, picture.size.height as usize);
    let channels = picture.format.channels();
    let Some(room) = width.checked_sub(2 * AROUND + 2) else { return Vec::new() };
    let mut grain = Vec::with_capacity(PLACES * PLACES);
    for row in 0..PLACES {
        let y = row * height / PLACES;
        let line = &picture.pixels[y * width * channels..(y + 1) * width * channels];
        // One channel tells as much as three: the middle one, which is green.
        let grey = |x: usize| f32::from(line[x * channels + channels / 2]);
        let stands_out = |x: usize| grey(x) - f32::midpoint(grey(x - AROUND), grey(x + AROUND));
        grain.extend((0..PLACES).map(|column| {
            let x = AROUND + column * room / PLACES;
            [stands_out(x), stands_out(x + 1)]
        }));
    }
    let norm = grain.iter().flatten().map(|value| value * value).sum::<f32>().sqrt();
    if norm > 0.0 {
        grain.iter_mut().flatten().for_each(|value| *value /= norm);
    }
    grain
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::frame::{PixelFormat, Size};

    const SIZE: Size = Size { width: 160, height: 120 };

    /// A disc with texture of its own, as a camera with this noise and exposure sees it.
    fn part(number: u64, noise: i32, gain: f64) -> Vec<u8> {
        let mut rng = Pcg64::seed_from_u64(number);
        let texture: Vec<i32> = (0..64).map(|_| rng.random_range(-12..12)).collect();
        let mut grain = Pcg64::seed_from_u64(1000 * number + u64::from(noise.unsigned_abs()));
        (0..SIZE.pixels())
            .map(|i| {
                let (x, y) = (i % 160, i / 160);
                let disc = if x.abs_diff(80).pow(2) + y.abs_diff(60).pow(2) < 2000 { 180 } else { 60 };
                let value = f64::from(disc + texture[x / 20 + 8 * (y / 15)]) * gain;
                grey(value + f64::from(grain.random_range(-noise..=noise)))
            })
            .collect()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
    fn grey(value: f64) -> u8 {
        value.round().clamp(0.0, 255.0) as u8
    }

    fn is_new(seen: &mut Seen, pixels: &[u8]) -> bool {
        seen.is_new(Picture { size: SIZE, format: PixelFormat::Gray8, pixels })
    }

    #[test]
    fn a_part_that_stays_in_view_is_old_from_the_first_picture_on_and_a_new_one_is_new() {
        let mut seen = Seen::default();
        for number in 0..20 {
            assert!(is_new(&mut seen, &part(number, 4, 1.0)), "part {number}");
            assert!(!is_new(&mut seen, &part(number, 5, 1.0)), "part {number} again");
        }
        assert!(!is_new(&mut seen, &part(3, 3, 1.0)), "a part that comes back");
        assert!(!is_new(&mut seen, &part(4, 3, 1.1)), "a part under another exposure");
    }

    /// Cloth: even but for a weave that no two pieces share, as optics show it, and noise.
    fn cloth(number: u64, noise: u64) -> Vec<u8> {
        let mut rng = Pcg64::seed_from_u64(number);
        let weave: Vec<f64> = (0..SIZE.pixels()).map(|_| rng.random_range(-30.0..30.0)).collect();
        let mut rng = Pcg64::seed_from_u64(noise);
        let pixel = |i: usize| (0..3).map(|k| weave[(i + k) % weave.len()]).sum::<f64>() / 3.0;
        (0..SIZE.pixels()).map(|i| grey(120.0 + pixel(i) + rng.random_range(-6.0..6.0))).collect()
    }

    #[test]
    fn cloth_is_told_apart_by_its_weave() {
        let mut seen = Seen::default();
        assert!((0..9).all(|number| is_new(&mut seen, &cloth(number, 100 + number))));
        assert!(!(0..9).any(|number| is_new(&mut seen, &cloth(number, 200 + number))));
    }

    #[test]
    fn where_all_parts_look_the_same_they_are_recorded_all_the_same() {
        let mut seen = Seen::default();
        assert!((0..10).all(|number| is_new(&mut seen, &part(number, 3, 1.0))));
        // The same ten parts under a light that changes: likeness knows them, until it has said so too often.
        let again = (0..100_u32).filter(|&i| {
            let gain = 1.05 + f64::from(i / 10) * 0.02;
            is_new(&mut seen, &part(u64::from(i % 10), 3, gain))
        });
        assert!(again.count() > 50);
    }
}
