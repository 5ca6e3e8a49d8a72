//! Changed copies of the pictures trained on, for changes that a good part may show: the network then knows them.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};
use tch::{Kind, Tensor};

use crate::frame::Size;

/// Changes that the product allows. A copy gets each at random.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augment {
    /// Left and right may be swapped.
    pub flip_h: bool,
    /// Top and bottom may be swapped.
    pub flip_v: bool,
    /// Turns by up to so many degrees, either way.
    pub rotate: f64,
    /// Percent by which a picture may be brighter or darker.
    pub brightness: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{given}\" is no change to a picture: give flip-h, flip-v, rotate=DEGREES (above 0, at most 45) or \
     brightness=PERCENT% (above 0%, at most 50%), with commas between them"
)]
pub struct BadAugment {
    given: String,
}

impl Augment {
    /// A changed copy of `pixels`, `[1, 3, S, S]` u8, into which a picture of `size` was stretched. What turns into
    /// view at the corners mirrors the picture.
    pub fn apply(self, pixels: &Tensor, size: Size, rng: &mut impl Rng) -> Tensor {
        // Drawn whether it is used or not: one change does not alter another's draws.
        let [flip_h, flip_v] = [rng.random_bool(0.5), rng.random_bool(0.5)];
        let [turn, light]: [f64; 2] = [rng.random_range(-1.0..=1.0), rng.random_range(-1.0..=1.0)];
        let mut picture = pixels.to_kind(Kind::Float);
        let sides: Vec<i64> = [(self.flip_h && flip_h).then_some(3), (self.flip_v && flip_v).then_some(2)]
            .into_iter()
            .flatten()
            .collect();
        if !sides.is_empty() {
            picture = picture.flip(&sides);
        }
        if self.rotate > 0.0 {
            picture = rotated(&picture, (turn * self.rotate).to_radians(), size);
        }
        (picture * (1.0 + light * self.brightness / 100.0)).round().clamp(0.0, 255.0).to_kind(Kind::Uint8)
    }
}

/// Turned about its centre, by `angle` as it is in the picture before it was stretched to a square.
fn rotated(picture: &Tensor, angle: f64, size: Size) -> Tensor {
    let aspect = f64::from(size.width) / f64::from(size.height);
    let (sin, cos) = angle.sin_cos();
    let matrix = [cos, -sin / aspect, 0.0, sin * aspect, cos, 0.0];
    let matrix = Tensor::from_slice(&matrix).to_kind(Kind::Float).view([1, 2, 3]);
    let grid = Tensor::affine_grid_generator(&matrix, picture.size(), false);
    let (bilinear, reflected) = (0, 2);
    picture.grid_sampler(&grid, bilinear, reflected, false)
}

impl FromStr for Augment {
    type Err = BadAugment;

    fn from_str(text: &str) -> Result<Self, BadAugment> {
        let mut augment = Self::default();
        for change in text.split(',').map(str::trim) {
            let bad = || BadAugment { given: change.into() };
            let number = |text: &str, most: f64| {
                text.trim().parse().ok().filter(|&value: &f64| value > 0.0 && value <= most).ok_or_else(bad)
            };
            match change.split_once('=') {
                None if change == "flip-h" => augment.flip_h = true,
                None if change == "flip-v" => augment.flip_v = true,
                Some(("rotate", degrees)) => augment.rotate = number(degrees, 45.0)?,
                Some(("brightness", share)) => {
                    let percent = share.strip_suffix('%').ok_or_else(bad)?;
                    augment.brightness = number(percent, 50.0)?;
                }
                _ => return Err(bad()),
            }
        }
        Ok(augment)
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = [
            self.flip_h.then(|| "flip-h".to_owned()),
            self.flip_v.then(|| "flip-v".to_owned()),
            (self.rotate > 0.0).then(|| format!("rotate={}", self.rotate)),
            (self.brightness > 0.0).then(|| format!("brightness={}%", self.brightness)),
        ];
        f.write_str(&changes.into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;
    use tch::Device;

    const SIZE: Size = Size { width: 64, height: 32 };

    fn picture() -> Tensor {
        // Left dark, right bright, with a light spot at the top left.
        let picture = Tensor::zeros([1, 3, 32, 32], (Kind::Float, Device::Cpu));
        drop(picture.narrow(3, 16, 16).fill_(100.0));
        drop(picture.narrow(2, 2, 4).narrow(3, 2, 4).fill_(200.0));
        picture.to_kind(Kind::Uint8)
    }

    fn copies(text: &str, n: usize) -> Vec<Tensor> {
        let augment: Augment = text.parse().unwrap();
        let mut rng = Pcg64::seed_from_u64(5);
        (0..n).map(|_| augment.apply(&picture(), SIZE, &mut rng)).collect()
    }

    #[test]
    fn flips_give_both_sides_and_nothing_else() {
        let flipped = picture().flip([3]);
        let copies = copies("flip-h", 20);
        let n_flipped = copies.iter().filter(|&copy| *copy == flipped).count();
        assert_eq!(n_flipped + copies.iter().filter(|&copy| *copy == picture()).count(), 20);
        assert!((4..=16).contains(&n_flipped), "{n_flipped} of 20");
    }

    #[test]
    fn a_turn_moves_what_is_far_from_the_centre_and_keeps_angles_of_the_unstretched_picture() {
        let copies = copies("rotate=5", 4);
        assert!(copies.iter().all(|copy| *copy != picture()));
        assert!(copies.iter().all(|copy| copy.size() == [1, 3, 32, 32] && copy.kind() == Kind::Uint8));
        // A quarter turn of a picture twice as wide as high carries the point right of the centre by a quarter of
        // the width to half the height above or below it: out of the square by a factor of 2, or by 1 from an eighth.
        let dot = Tensor::zeros([1, 1, 33, 33], (Kind::Float, Device::Cpu));
        drop(dot.narrow(2, 16, 1).narrow(3, 20, 1).fill_(9.0));
        let turned = rotated(&dot, std::f64::consts::FRAC_PI_2, SIZE);
        let at = turned.flatten(0, -1).argmax(0, false).int64_value(&[]);
        assert!(
            [(16 - 8) * 33 + 16, (16 + 8) * 33 + 16].contains(&at),
            "row {}, column {}",
            at / 33,
            at % 33
        );
    }

    #[test]
    fn brightness_stays_within_its_share() {
        let bright = |copy: &Tensor| copy.narrow(3, 20, 4).to_kind(Kind::Float).max().double_value(&[]);
        let seen: Vec<f64> = copies("brightness=10%", 20).iter().map(bright).collect();
        assert!(seen.iter().all(|value| (90.0..=110.0).contains(value)), "{seen:?}");
        assert!(
            seen.iter().any(|&value| value < 97.0) && seen.iter().any(|&value| value > 103.0),
            "{seen:?}"
        );
    }

    #[test]
    fn changes_are_read_and_printed_as_they_are_written() {
        let text = "flip-h,flip-v,rotate=3,brightness=5%";
        assert_eq!(text.parse::<Augment>().unwrap().to_string(), text);
        for text in
            ["", "flip", "rotate", "rotate=0", "rotate=90", "brightness=5", "brightness=nan%", "flip-h=1"]
        {
            let error = text.parse::<Augment>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("\"{text}\" is no change")), "{error}");
        }
    }
}
