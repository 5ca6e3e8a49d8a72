//! What goes wrong with a part: where it is, how far it reaches, and what it does to the surface there.
//!
//! Every effect ends at a border: outside it the picture stays as it was, to the last bit.

use rand::RngExt;
use rand_pcg::Pcg64;

use super::part::{BORE_RADIUS, BOSS_RADIUS, HOLE_CENTRE, LIGHT, PLATE_CORNER, PLATE_HALF, SINK_RADIUS};
use super::plane::{Point, band, rounded_square, smooth_step};
use super::print::{self, Missing};
use super::surface::{Colour, Noise, mix, scaled};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Scratch,
    Pit,
    Stain,
    ChippedEdge,
    MissingPrint,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Scratch, Self::Pit, Self::Stain, Self::ChippedEdge, Self::MissingPrint];

    /// The name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Pit => "pit",
            Self::Stain => "stain",
            Self::ChippedEdge => "chipped_edge",
            Self::MissingPrint => "missing_print",
        }
    }
}

/// One defect at one place. Points and lengths are the part's.
#[derive(Clone, Debug)]
pub enum Defect {
    Scratch { from: Point, to: Point, bow: f32, half_width: f32, depth: f32, noise: Noise },
    Pits { craters: Vec<Crater>, noise: Noise },
    Stain { centre: Point, long_axis: Point, radius: f32, strength: f32, noise: Noise },
    Chip { centre: Point, radius: f32, noise: Noise },
    MissingPrint(Missing),
}

#[derive(Clone, Copy, Debug)]
pub struct Crater {
    centre: Point,
    radius: f32,
}

/// What a chip does to the outline of the part.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Distance into the hole that it leaves: positive where nothing is left of the part.
    pub outside: f32,
    /// How far the surface is broken, 0 to 1.
    pub fracture: f32,
}

impl Cut {
    pub const NONE: Self = Self { outside: f32::NEG_INFINITY, fracture: 0.0 };
}

impl Defect {
    /// A defect of this kind at a random place; `severity` goes from 0, just to be seen, to 1.
    pub fn place(kind: Kind, severity: f32, random: &mut Pcg64) -> Self {
        let grown = |small: f32, large: f32| small + (large - small) * severity;
        let noise = Noise(random.random());
        match kind {
            Kind::Scratch => {
                let half = grown(0.12, 0.42);
                let middle = point_on_face(0.06, random);
                let reach = Point::towards(random.random_range(0.0..std::f32::consts::PI)) * half;
                let bow = random.random_range(-0.25..0.25) * half;
                let (half_width, depth) = (grown(0.012, 0.018), grown(0.7, 1.0));
                Self::Scratch { from: middle - reach, to: middle + reach, bow, half_width, depth, noise }
            }
            Kind::Pit => {
                let centre = point_on_face(0.07, random);
                let radius = grown(0.028, 0.065);
                let mut craters = vec![Crater { centre, radius }];
                for _ in 0..random.random_range(0..=3_u8) {
                    let away = random.random_range(2.0..3.6) * radius;
                    let towards = Point::towards(random.random_range(0.0..std::f32::consts::TAU));
                    let radius = radius * random.random_range(0.3..0.65);
                    craters.push(Crater { centre: centre + towards * away, radius });
                }
                Self::Pits { craters, noise }
            }
            Kind::Stain => {
                let long_axis = Point::towards(random.random_range(0.0..std::f32::consts::PI));
                let (centre, radius) = (point_on_face(0.05, random), grown(0.075, 0.26));
                Self::Stain { centre, long_axis, radius, strength: grown(0.34, 0.62), noise }
            }
            Kind::ChippedEdge => {
                // Half of its middle lies outside: what is seen is a bite.
                let along = random.random_range(-0.62..0.62);
                let out = PLATE_HALF + random.random_range(-0.01..0.02);
                let centre = match random.random_range(0..4_u8) {
                    0 => Point::new(along, -out),
                    1 => Point::new(along, out),
                    2 => Point::new(-out, along),
                    _ => Point::new(out, along),
                };
                Self::Chip { centre, radius: grown(0.055, 0.17), noise }
            }
            Kind::MissingPrint => Self::MissingPrint(missing_print(severity, random)),
        }
    }

    pub fn missing_print(&self) -> Option<Missing> {
        if let Self::MissingPrint(missing) = self { Some(*missing) } else { None }
    }

    pub fn cut(&self, p: Point) -> Cut {
        let Self::Chip { centre, radius, noise } = self else { return Cut::NONE };
        let ragged =
            1.0 + 0.55 * noise.rough(p.x * 5.5, p.y * 5.5) + 0.08 * noise.rough(p.x * 30.0, p.y * 30.0);
        // Longer along the edge than it is deep.
        let q = p - *centre;
        let q = if centre.x.abs() > centre.y.abs() { q } else { Point::new(q.y, q.x) };
        let distance = Point::new(1.25 * q.x, 0.72 * q.y).length() - radius * ragged;
        let broken = 0.45 * radius * (1.0 + 0.7 * noise.rough(p.x * 12.0 + 9.0, p.y * 12.0));
        Cut { outside: -distance, fracture: 1.0 - smooth_step(0.85 * broken, broken, distance) }
    }

    /// The colour of the face at `p`, which was `face` before.
    pub fn tint(&self, p: Point, face: Colour) -> Colour {
        match self {
            Self::Scratch { from, to, bow, half_width, depth, noise } => {
                let chord = *to - *from;
                let q = (p - *from).in_axes(chord.direction());
                let along = q.x / chord.length();
                if !(0.0..=1.0).contains(&along) {
                    return face;
                }
                let bulge = 4.0 * along * (1.0 - along);
                let across = q.y - bow * bulge;
                let width =
                    half_width * (0.35 + 0.65 * bulge.sqrt()) * (1.0 + 0.3 * noise.at(along * 30.0, 0.5));
                groove(face, across / width, depth * smooth_step(0.0, 0.12, bulge), chord)
            }
            Self::Pits { craters, noise } => {
                craters.iter().fold(face, |face, crater| crater.tint(p, face, *noise))
            }
            Self::Stain { centre, long_axis, radius, strength, noise } => {
                let q = (p - *centre).in_axes(*long_axis);
                let ragged = 1.0 + 0.6 * noise.rough(p.x * 5.0, p.y * 5.0);
                let from_middle = Point::new(q.x, 1.45 * q.y).length() / (radius * ragged);
                let film = 1.0 - smooth_step(0.80, 1.0, from_middle);
                // Where it dried last it is darkest.
                let rim = band(from_middle - 0.85, 0.14);
                let patches = 0.78 + 0.22 * noise.at(p.x * 11.0, p.y * 11.0);
                mix(
                    face,
                    [face[0] * 0.60, face[1] * 0.47, face[2] * 0.33],
                    strength * film * (patches + 0.4 * rim),
                )
            }
            Self::Chip { .. } | Self::MissingPrint(_) => face,
        }
    }
}

/// A furrow seen across: one flank bright, one dark, by which of them faces the lamp.
fn groove(face: Colour, across: f32, depth: f32, chord: Point) -> Colour {
    if across.abs() >= 1.0 {
        return face;
    }
    let across_axis = Point::new(-chord.direction().y, chord.direction().x);
    let facing = across_axis.dot(LIGHT);
    let flank = -across * (1.0 - across.abs()) * 4.0 * facing;
    let floor = band(across, 0.6);
    scaled(face, 1.0 + depth * (0.75 * flank - 0.45 * floor))
}

impl Crater {
    fn tint(self, p: Point, face: Colour, noise: Noise) -> Colour {
        let from_centre = p - self.centre;
        let ragged = 1.0 + 0.35 * noise.rough(p.x * 28.0, p.y * 28.0);
        let distance = from_centre.length() / (self.radius * ragged);
        if distance >= 1.35 {
            return face;
        }
        // The far wall is lit; a burr stands around it.
        let facing = -from_centre.direction().dot(LIGHT);
        let wall = 0.30 + 0.42 * facing.max(0.0) * smooth_step(0.35, 0.9, distance);
        let burr = 1.0 - 0.20 * facing * band(distance - 1.15, 0.20);
        scaled(face, burr * (1.0 + (wall - 1.0) * (1.0 - smooth_step(0.82, 1.05, distance))))
    }
}

fn missing_print(severity: f32, random: &mut Pcg64) -> Missing {
    if random.random_bool(0.25) {
        return Missing::Mark;
    }
    let all = print::letters();
    // From two letters to the whole code.
    let wanted = 2.0 + severity * f32::from(all - 2);
    let count = (2..all).find(|&count| f32::from(count) >= wanted).unwrap_or(all);
    let first = random.random_range(0..=all - count);
    Missing::Letters { first, last: first + count - 1 }
}

/// A random point of the bare face, at least `margin` from its edges and holes.
fn point_on_face(margin: f32, random: &mut Pcg64) -> Point {
    loop {
        let mut anywhere = || random.random_range(-PLATE_HALF..PLATE_HALF);
        let p = Point::new(anywhere(), anywhere());
        let hole = Point::new(HOLE_CENTRE.copysign(p.x), HOLE_CENTRE.copysign(p.y));
        let clear = rounded_square(p, PLATE_HALF, PLATE_CORNER) < -margin
            && p.length() > BORE_RADIUS + margin
            && (p.length() - BOSS_RADIUS).abs() > margin / 2.0
            && (p - hole).length() > SINK_RADIUS + margin;
        if clear {
            return p;
        }
    }
}
