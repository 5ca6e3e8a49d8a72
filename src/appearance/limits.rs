//! Whether the network may be asked about a picture: only if it looks, as a whole, like those that it learned from.

use std::fmt;

use crate::appearance::shift::Profiles;
use crate::appearance::usual::Usual;
use crate::appearance::{Appearance, Look};

/// Parts that are put in place lie within so much of a side, and it takes so many pictures to know that they are.
const PLACED: f64 = 0.08;
const KNOWN_PLACED: usize = 50;

/// What a product file says: its own limits in place of the learned ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Own {
    /// Whether anything is checked.
    pub check: bool,
    pub brightness_min: Option<f64>,
    pub brightness_max: Option<f64>,
    pub black_max: Option<f64>,
    pub white_max: Option<f64>,
    pub sharpness_min: Option<f64>,
    pub shift_max: Option<f64>,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            check: true,
            brightness_min: None,
            brightness_max: None,
            black_max: None,
            white_max: None,
            sharpness_min: None,
            shift_max: None,
        }
    }
}

impl Own {
    /// The limits by their keys.
    pub fn named(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("brightness_min", self.brightness_min),
            ("brightness_max", self.brightness_max),
            ("black_max", self.black_max),
            ("white_max", self.white_max),
            ("sharpness_min", self.sharpness_min),
            ("shift_max", self.shift_max),
        ]
    }
}

/// What a picture may look like; no limit where there is None.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub brightness: (Option<f64>, Option<f64>),
    pub black: Option<f64>,
    pub white: Option<f64>,
    pub sharpness: Option<f64>,
    pub shift: Option<f64>,
    reference: Profiles,
}

/// Why a picture is not judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Oddity {
    TooDark { brightness: f64, least: f64 },
    TooBright { brightness: f64, most: f64 },
    Black { share: f64, most: f64 },
    White { share: f64, most: f64 },
    OutOfFocus { sharpness: f64, least: f64 },
    Shifted { share: f64, most: f64 },
}

impl Limits {
    /// The product's own limits; in place of those that it does not set, what was usual with a margin: the pictures learned
    /// from are a sample, and the network bears more than they show.
    pub fn new(usual: Option<&Usual>, own: Own) -> Self {
        if !own.check {
            return Self::default();
        }
        let learned = usual.map_or_else(Self::default, Self::learned);
        Self {
            brightness: (
                own.brightness_min.or(learned.brightness.0),
                own.brightness_max.or(learned.brightness.1),
            ),
            black: own.black_max.or(learned.black),
            white: own.white_max.or(learned.white),
            sharpness: own.sharpness_min.or(learned.sharpness),
            shift: own.shift_max.or(learned.shift),
            reference: learned.reference,
        }
    }

    fn learned(usual: &Usual) -> Self {
        let (least, most) = usual.brightness;
        let margin = ((most - least) / 2.0).max(0.15 * (most + least) / 2.0).max(8.0);
        let share = |most: f64| Some((2.0 * most).max(most + 0.1));
        // Where training's own pictures lie far apart, or cannot be laid over one another, a shift means nothing.
        let is_placed = usual.shift <= PLACED && usual.pictures >= KNOWN_PLACED;
        Self {
            brightness: (Some(least - margin), Some(most + margin)),
            black: share(usual.dark),
            white: share(usual.bright),
            sharpness: Some(0.6 * usual.sharpness),
            shift: is_placed.then(|| (1.5 * usual.shift).max(usual.shift + 0.04)),
            reference: usual.profiles(),
        }
    }

    /// The first limit that the picture breaks.
    pub fn oddity(&self, look: &Look) -> Option<Oddity> {
        let Appearance { brightness, dark, bright, sharpness } = look.appearance;
        let below = |value: f64, least: Option<f64>| least.filter(|&least| value < least);
        let above = |value: f64, most: Option<f64>| most.filter(|&most| value > most);
        if let Some(least) = below(brightness, self.brightness.0) {
            return Some(Oddity::TooDark { brightness, least });
        }
        if let Some(most) = above(brightness, self.brightness.1) {
            return Some(Oddity::TooBright { brightness, most });
        }
        if let Some(most) = above(dark, self.black) {
            return Some(Oddity::Black { share: dark, most });
        }
        if let Some(most) = above(bright, self.white) {
            return Some(Oddity::White { share: bright, most });
        }
        if let Some(least) = below(sharpness, self.sharpness) {
            return Some(Oddity::OutOfFocus { sharpness, least });
        }
        // The dearest to find out comes last.
        let most = self.shift?;
        let share = look.profiles.shift_from(&self.reference);
        (share > most).then_some(Oddity::Shifted { share, most })
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDark { brightness, least } => {
                write!(f, "too dark: mean brightness {brightness:.0}, at least {least:.0} is usual")
            }
            Self::TooBright { brightness, most } => {
                write!(f, "too bright: mean brightness {brightness:.0}, at most {most:.0} is usual")
            }
            Self::Black { share, most } => {
                write!(f, "{:.0} % of it is black, at most {:.0} % is usual", 100.0 * share, 100.0 * most)
            }
            Self::White { share, most } => {
                write!(f, "{:.0} % of it is white, at most {:.0} % is usual", 100.0 * share, 100.0 * most)
            }
            Self::OutOfFocus { sharpness, least } => {
                write!(f, "out of focus: sharpness {sharpness:.1}, at least {least:.1} is usual")
            }
            Self::Shifted { share, most } => {
                write!(
                    f,
                    "shifted by {:.0} % of a side, at most {:.0} % is usual",
                    100.0 * share,
                    100.0 * most
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
