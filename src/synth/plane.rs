//! Points of the drawing plane and signed distances to shapes: negative inside, positive outside.
//!
//! One unit is half the shorter side of the picture; x points right, y down, the origin lies in the middle.

use std::ops::{Add, Mul, Sub};

/// A point, or the way from one to another.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Point {
    pub x: f32,
    pub y: f32,
}

impl Point {
    pub const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// The unit vector at `angle` radians, clockwise from the x axis.
    pub fn towards(angle: f32) -> Self {
        Self::new(angle.cos(), angle.sin())
    }

    pub fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// This direction with length one; zero stays zero.
    pub fn direction(self) -> Self {
        self * (1.0 / self.length().max(1e-6))
    }

    /// The same vector seen in axes of which `x_axis` is the first.
    pub fn in_axes(self, x_axis: Self) -> Self {
        Self::new(self.dot(x_axis), self.dot(Self::new(-x_axis.y, x_axis.x)))
    }
}

impl Add for Point {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Point {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f32> for Point {
    type Output = Self;

    fn mul(self, factor: f32) -> Self {
        Self::new(self.x * factor, self.y * factor)
    }
}

/// Distance to a square around the origin that reaches `half` to each side, its corners rounded.
pub fn rounded_square(p: Point, half: f32, corner: f32) -> f32 {
    let q = Point::new(p.x.abs() - half + corner, p.y.abs() - half + corner);
    Point::new(q.x.max(0.0), q.y.max(0.0)).length() + q.x.max(q.y).min(0.0) - corner
}

/// Which way is straight out of that square.
pub fn out_of_square(p: Point, half: f32, corner: f32) -> Point {
    let step = 1e-3;
    let distance = |x, y| rounded_square(Point::new(x, y), half, corner);
    let dx = distance(p.x + step, p.y) - distance(p.x - step, p.y);
    let dy = distance(p.x, p.y + step) - distance(p.x, p.y - step);
    Point::new(dx, dy).direction()
}

/// Distance to a box around `centre`.
pub fn upright_box(p: Point, centre: Point, half: Point) -> f32 {
    let q = Point::new((p.x - centre.x).abs() - half.x, (p.y - centre.y).abs() - half.y);
    Point::new(q.x.max(0.0), q.y.max(0.0)).length() + q.x.max(q.y).min(0.0)
}

/// How much of a pixel lies inside a shape at `distance`, when the pixel is `width` wide.
pub fn coverage(distance: f32, width: f32) -> f32 {
    (0.5 - distance / width).clamp(0.0, 1.0)
}

/// 0 below `low`, 1 above `high`, smooth between.
pub fn smooth_step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// 1 in the middle of a band of `half` width around zero, falling smoothly to 0 at its borders.
pub fn band(x: f32, half: f32) -> f32 {
    1.0 - smooth_step(0.0, half, x.abs())
}
