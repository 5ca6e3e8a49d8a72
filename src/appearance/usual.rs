//! What good pictures of a product look like as a whole: learned from those it was trained and calibrated on.

use serde::{Deserialize, Serialize};

use crate::appearance::shift::{PLACES, Profiles};
use crate::appearance::{Appearance, Look};

/// The span of what was seen, without a margin. Stands in the bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usual {
    pub pictures: usize,
    pub brightness: (f64, f64),
    /// The largest shares of black and of white pixels.
    pub dark: f64,
    pub bright: f64,
    /// The least.
    pub sharpness: f64,
    /// The largest, as a share of the side.
    pub shift: f64,
    /// What shifts are told by; empty where pictures are too small for that.
    pub columns: Vec<f32>,
    pub rows: Vec<f32>,
}

impl Usual {
    /// None where there are no pictures.
    pub fn of(looks: &[Look]) -> Option<Self> {
        let Appearance { brightness, dark, bright, sharpness } = looks.first()?.appearance;
        let Profiles { columns, rows } = Profiles::mean(looks.iter().map(|look| &look.profiles));
        let brightness = (brightness, brightness);
        let values = |side: Option<[f32; PLACES]>| side.map_or(Vec::new(), |side| side.to_vec());
        let (columns, rows) = (values(columns), values(rows));
        let first = Self { pictures: 0, brightness, dark, bright, sharpness, shift: 0.0, columns, rows };
        Some(looks.iter().fold(first, Self::with))
    }

    /// With one more good picture. It goes on from pictures of training: a few of production alone teach no limits.
    #[must_use]
    pub fn with(self, look: &Look) -> Self {
        let Appearance { brightness, dark, bright, sharpness } = look.appearance;
        let shift = look.profiles.shift_from(&self.profiles());
        Self {
            pictures: self.pictures + 1,
            brightness: (self.brightness.0.min(brightness), self.brightness.1.max(brightness)),
            dark: self.dark.max(dark),
            bright: self.bright.max(bright),
            sharpness: self.sharpness.min(sharpness),
            shift: self.shift.max(shift),
            ..self
        }
    }

    pub fn profiles(&self) -> Profiles {
        let side = |values: &Vec<f32>| values.as_slice().try_into().ok();
        Profiles { columns: side(&self.columns), rows: side(&self.rows) }
    }

    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), String> {
        let Self { brightness: (least, most), dark, bright, sharpness, shift, .. } = *self;
        let greys = [least, most, sharpness].iter().all(|value| (0.0..=255.0).contains(value));
        let shares = [dark, bright, shift].iter().all(|value| (0.0..=1.0).contains(value));
        let profiles = [&self.columns, &self.rows];
        let sound = profiles.iter().all(|side| side.iter().all(|value| value.is_finite()));
        let complete = profiles.iter().all(|side| side.is_empty() || side.len() == PLACES);
        if greys && shares && least <= most && sound && complete {
            return Ok(());
        }
        Err("appearance: not what pictures can look like".into())
    }
}
