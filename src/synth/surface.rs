//! What materials look like: colour, and the grain that machining leaves behind.

/// A seed that names one noise field.
#[derive(Clone, Copy, Debug)]
pub struct Noise(pub u32);

/// Linear red, green, blue; 1 is white.
pub type Colour = [f32; 3];

impl Noise {
    /// A smooth random field in -1..1 whose features are about one unit large.
    pub fn at(self, x: f32, y: f32) -> f32 {
        let (column, row) = (cell(x), cell(y));
        let (u, v) = (ease(x - x.floor()), ease(y - y.floor()));
        let corner = |dx, dy| self.lattice(column.wrapping_add(dx), row.wrapping_add(dy));
        let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * u;
        let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * u;
        top + (bottom - top) * v
    }

    /// Coarse and fine detail together, for blots and ragged outlines. Each is turned against the others, so
    /// that the lattice below them does not show.
    pub fn rough(self, x: f32, y: f32) -> f32 {
        let finer = Noise(self.0 ^ 0x55aa).at(1.3 * x + 1.7 * y, 1.3 * y - 1.7 * x);
        let finest = Noise(self.0 ^ 0xaa55).at(4.1 * x - 1.8 * y, 4.1 * y + 1.8 * x);
        (self.at(0.83 * x - 0.56 * y, 0.83 * y + 0.56 * x) + 0.5 * finer + 0.25 * finest) / 1.75
    }

    /// Brush strokes along x; `x` and `y` in grooves.
    pub fn brushed(self, x: f32, y: f32) -> f32 {
        let broad = Noise(self.0 ^ 0x1234);
        0.6 * self.at(x / 45.0, y) + 0.4 * broad.at(x / 160.0, y / 3.5)
    }

    /// One random value in -1..1 for each lattice point.
    fn lattice(self, column: u32, row: u32) -> f32 {
        let mut bits =
            self.0 ^ column.wrapping_mul(0x9e37_79b1) ^ row.wrapping_mul(0x85eb_ca77).rotate_left(13);
        bits = (bits ^ (bits >> 16)).wrapping_mul(0x7feb_352d);
        bits = (bits ^ (bits >> 15)).wrapping_mul(0x846c_a68b);
        let [_, _, low, high] = (bits ^ (bits >> 16)).to_le_bytes();
        f32::from(u16::from_le_bytes([low, high])) / 32_767.5 - 1.0
    }
}

/// The lattice cell that `x` lies in; negative ones wrap.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "any cell will do, if it is the same"
)]
fn cell(x: f32) -> u32 {
    x.floor() as i32 as u32
}

fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

pub fn grey(value: f32) -> Colour {
    [value; 3]
}

/// `from` where `share` is 0, `to` where it is 1.
pub fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * share)
}

pub fn scaled(colour: Colour, factor: f32) -> Colour {
    colour.map(|channel| channel * factor)
}
