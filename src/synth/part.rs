//! The part: a brushed cover plate with a turned boss, a bore, four countersunk holes and a printed code.
//!
//! Each part differs a little from the next, as real ones do: where it lies, how bright the light is, how the
//! tool went over it. Everything is a function of the point, so edges are smooth at any size and angle.

use rand::RngExt;
use rand_pcg::Pcg64;

use super::defects::{Cut, Defect};
use super::plane::{Point, band, coverage, out_of_square, rounded_square, smooth_step};
use super::print;
use super::surface::{Colour, Noise, grey, mix, scaled};

pub const PLATE_HALF: f32 = 0.80;
pub const PLATE_CORNER: f32 = 0.17;
pub const BOSS_RADIUS: f32 = 0.43;
pub const BORE_RADIUS: f32 = 0.17;
pub const HOLE_CENTRE: f32 = 0.60;
pub const SINK_RADIUS: f32 = 0.125;
const HOLE_RADIUS: f32 = 0.078;
const BEVEL: f32 = 0.035;

/// Where the light comes from: the upper left.
pub const LIGHT: Point = Point::new(-0.55, -0.835);
const ALUMINIUM: Colour = [0.585, 0.600, 0.622];
const FIXTURE: Colour = [0.098, 0.106, 0.118];
const INK: Colour = [0.085, 0.085, 0.105];
/// Grooves of the brush to a unit.
const GROOVES: f32 = 120.0;

/// What distinguishes one good part from the next.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    offset: Point,
    x_axis: Point,
    print_offset: Point,
    brightness: f32,
    ink_density: f32,
    grain: Noise,
}

impl Part {
    pub fn draw_lot(random: &mut Pcg64) -> Self {
        let mut around = |reach: f32| random.random_range(-reach..=reach);
        Self {
            offset: Point::new(around(0.010), around(0.010)),
            x_axis: Point::towards(around(0.014)),
            print_offset: Point::new(around(0.004), around(0.004)),
            brightness: 1.0 + around(0.03),
            ink_density: 0.86 + around(0.04),
            grain: Noise(random.random()),
        }
    }

    /// The point of the part that is seen at `p` of the picture.
    fn on_part(&self, p: Point) -> Point {
        (p - self.offset).in_axes(self.x_axis)
    }

    /// What the camera sees at `seen`, before its noise, when a pixel is `pixel` wide.
    pub fn colour_at(&self, seen: Point, pixel: f32, defect: Option<&Defect>) -> Colour {
        let p = self.on_part(seen);
        let whole = rounded_square(p, PLATE_HALF, PLATE_CORNER);
        let cut = defect.map_or(Cut::NONE, |defect| defect.cut(p));
        let plate = coverage(whole.max(cut.outside), pixel);
        let mut colour = self.fixture(seen, p);
        if plate > 0.0 {
            let face = self.face(p, whole, pixel, defect);
            let face = if cut.fracture > 0.0 { mix(face, self.fracture(p), cut.fracture) } else { face };
            colour = mix(colour, face, plate);
        }
        // The lamp stands to the upper left.
        scaled(colour, self.brightness * (1.0 + 0.075 * LIGHT.dot(seen)))
    }

    /// The dark mat below, in the shadow of the part.
    fn fixture(&self, seen: Point, p: Point) -> Colour {
        let shadow = rounded_square(p + LIGHT * 0.05, PLATE_HALF, PLATE_CORNER);
        let shade = 0.55 + 0.45 * smooth_step(-0.02, 0.09, shadow);
        let speckle = 1.0 + 0.07 * self.grain.rough(seen.x * 55.0, seen.y * 55.0);
        scaled(FIXTURE, shade * speckle)
    }

    /// The plate seen from above, boss, bore, holes and print included.
    fn face(&self, p: Point, whole: f32, pixel: f32, defect: Option<&Defect>) -> Colour {
        let from_centre = p.length();
        let boss = from_centre - BOSS_RADIUS;
        let radial = p.direction();
        let mut light = 1.0 + 0.085 * self.grain.brushed(p.x * GROOVES, p.y * GROOVES);

        // The bevel catches the light on one side and turns from it on the other.
        let bevel = smooth_step(-BEVEL - 0.5 * pixel, -BEVEL + 0.5 * pixel, whole);
        if bevel > 0.0 {
            let facing = out_of_square(p, PLATE_HALF, PLATE_CORNER).dot(LIGHT);
            light += bevel * (0.33 * facing - 0.06);
        }
        // The boss stands out: its foot lies in shadow on the far side.
        light -= 0.22 * (1.0 - smooth_step(0.0, 0.07, boss)) * smooth_step(-0.4, 1.0, -radial.dot(LIGHT));
        let on_boss = coverage(boss, pixel);
        light += (self.turned(from_centre, radial) - light) * on_boss;
        light += 0.36 * band(boss + 0.018, 0.020) * radial.dot(LIGHT);

        let tone = scaled(ALUMINIUM, light);
        let ink = print::ink(p - self.print_offset, pixel, defect.and_then(Defect::missing_print));
        let printed = mix(tone, INK, ink * self.ink_density);
        let flawed = defect.map_or(printed, |defect| defect.tint(p, printed));

        let colour = recess(flawed, p, BORE_RADIUS + 0.022, BORE_RADIUS, pixel);
        let hole = Point::new(HOLE_CENTRE.copysign(p.x), HOLE_CENTRE.copysign(p.y));
        recess(colour, p - hole, SINK_RADIUS, HOLE_RADIUS, pixel)
    }

    /// Turned metal: concentric grooves, and two bright fans that point at the lamp and away from it.
    fn turned(&self, from_centre: f32, radial: Point) -> f32 {
        let along = radial.in_axes(LIGHT);
        let fans = (along.x * along.x).powi(3);
        let across = (along.y * along.y).powi(4);
        let groove = Noise(self.grain.0 ^ 0x77).at(from_centre * GROOVES, 0.5);
        let feed = Noise(0x5eed).at(from_centre * 38.0, 0.5);
        0.90 + 0.26 * fans + 0.07 * across + 0.055 * groove + 0.03 * feed
    }

    /// Broken metal: bright, rough, without grain.
    fn fracture(&self, p: Point) -> Colour {
        let facets = Noise(self.grain.0 ^ 0x0f0f).rough(p.x * 42.0, p.y * 42.0);
        scaled([0.66, 0.66, 0.67], 0.86 + 0.42 * facets)
    }
}

/// A hole with a conical rim; its walls are lit on the side that faces the lamp.
fn recess(around: Colour, p: Point, rim: f32, hole: f32, pixel: f32) -> Colour {
    let from_centre = p.length();
    if from_centre > rim + pixel {
        return around;
    }
    let facing = -p.direction().dot(LIGHT);
    let cone = scaled(ALUMINIUM, 0.80 + 0.30 * facing);
    let wall = grey(0.045 + 0.10 * smooth_step(0.62, 1.0, from_centre / hole) * facing.max(0.0));
    let with_cone = mix(around, cone, coverage(from_centre - rim, pixel));
    mix(with_cone, wall, coverage(from_centre - hole, pixel))
}
