//! Region of interest: which pixels of a frame count.
//!
//! Pure geometry: shapes in pixels of the frame in, a set of pixels out, and how much of a network's cell lies in
//! it. Reading the product file and the mask's image file is the settings' work; what the score makes of it is the
//! model's.

mod fill;
pub mod pieces;

use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::frame::Size;

/// A point in pixels of the frame, origin top left, x right, y down. Pixel `(0, 0)` spans 0 to 1.
pub type Point = [f64; 2];

/// What an ROI is made of: the pixels in any polygon of `include` (without one: in the whole frame) and in the
/// mask if there is one, but in no polygon of `exclude`.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    /// Closed by themselves. Where a polygon crosses itself, the even-odd rule says what is inside.
    pub include: Vec<Vec<Point>>,
    pub exclude: Vec<Vec<Point>>,
    /// For each pixel of the frame, row by row, whether it counts.
    pub mask: Option<Vec<bool>>,
}

/// The pixels of a frame that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roi {
    size: Size,
    /// Row by row.
    pixels: Vec<bool>,
    sha256: String,
}

/// A shape that cannot be meant; `key` is relative to the section, as `include[2]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {text}")]
pub struct BadShape {
    pub key: String,
    pub text: String,
}

impl Roi {
    /// The pixels of a frame of `size` that `shapes` leave. Every shape that cannot be meant is told.
    ///
    /// # Panics
    /// If the mask does not fill `size`.
    pub fn new(size: Size, shapes: &Shapes) -> Result<Self, Vec<BadShape>> {
        let lists = [("include", &shapes.include), ("exclude", &shapes.exclude)];
        let bad: Vec<BadShape> =
            lists.into_iter().flat_map(|(key, list)| bad_polygons(key, list, size)).collect();
        if !bad.is_empty() {
            return Err(bad);
        }
        let mut pixels = vec![shapes.include.is_empty(); size.pixels()];
        for polygon in &shapes.include {
            fill::polygon(polygon, size, |span| pixels[span].fill(true));
        }
        if let Some(mask) = &shapes.mask {
            assert_eq!(mask.len(), pixels.len(), "a mask fills its frame");
            pixels.iter_mut().zip(mask).for_each(|(pixel, &counts)| *pixel &= counts);
        }
        for polygon in &shapes.exclude {
            fill::polygon(polygon, size, |span| pixels[span].fill(false));
        }
        if !pixels.contains(&true) {
            let text = "no pixel of the frame is left to inspect".to_owned();
            return Err(vec![BadShape { key: String::new(), text }]);
        }
        let sha256 = sha256(size, &pixels);
        Ok(Self { size, pixels, sha256 })
    }

    /// Of the frames that it is drawn on.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Over the frame's size and the pixels that count, lower-case hex. Shapes that leave the same pixels are the
    /// same ROI.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether each pixel of the frame counts, row by row.
    pub fn pixels(&self) -> &[bool] {
        &self.pixels
    }

    /// Share of the frame's pixels that count.
    pub fn share(&self) -> f64 {
        let counted = self.pixels.iter().filter(|&&counts| counts).count();
        number(counted) / number(self.pixels.len())
    }

    /// The share of each cell's area that counts, row by row, where a grid of `columns` by `rows` equal cells
    /// spans the frame. Exact: a pixel on a border counts for its part on either side.
    pub fn coverage(&self, columns: usize, rows: usize) -> Vec<f64> {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let across: Vec<_> = (0..columns).map(|cell| spans(cell, columns, width)).collect();
        let mut shares = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            let mut sums = vec![0.0; width];
            for (y, part) in spans(row, rows, height) {
                let line = &self.pixels[y * width..][..width];
                for (sum, _) in sums.iter_mut().zip(line).filter(|(_, counts)| **counts) {
                    *sum += part;
                }
            }
            let share = |cell: &Vec<(usize, f64)>| cell.iter().map(|&(x, part)| sums[x] * part).sum::<f64>();
            shares.extend(across.iter().map(share));
        }
        shares
    }

    /// Which cells of such a grid count: those with at least half their area in the ROI.
    pub fn cells(&self, columns: usize, rows: usize) -> Vec<bool> {
        // Sums of parts that make one half may miss it by a rounding error.
        self.coverage(columns, rows).into_iter().map(|share| share >= 0.5 - 1e-9).collect()
    }
}

/// The pixels below one cell of `cells` over `pixels`, and which part of the cell's length each takes.
fn spans(cell: usize, cells: usize, pixels: usize) -> Vec<(usize, f64)> {
    let length = number(pixels) / number(cells);
    let (start, end) = (number(cell) * length, number(cell + 1) * length);
    let (first, last) = (cell * pixels / cells, ((cell + 1) * pixels).div_ceil(cells));
    (first..last)
        .map(|pixel| {
            let overlap = end.min(number(pixel + 1)) - start.max(number(pixel));
            (pixel, overlap.max(0.0) / length)
        })
        .collect()
}

fn bad_polygons(key: &str, polygons: &[Vec<Point>], size: Size) -> Vec<BadShape> {
    let mut bad = Vec::new();
    for (i, polygon) in polygons.iter().enumerate() {
        let key = format!("{key}[{i}]");
        let before = bad.len();
        if polygon.len() < 3 {
            let text = format!("a polygon needs at least 3 points, it has {}", polygon.len());
            bad.push(BadShape { key, text });
            continue;
        }
        for (j, &[x, y]) in polygon.iter().enumerate() {
            let is_inside =
                (0.0..=f64::from(size.width)).contains(&x) && (0.0..=f64::from(size.height)).contains(&y);
            if !is_inside {
                let text = format!("[{x}, {y}] lies outside the frame of {size}");
                bad.push(BadShape { key: format!("{key}[{j}]"), text });
            }
        }
        if bad.len() == before && !fill::is_visible(polygon, size) {
            let text = "the polygon encloses no pixel".to_owned();
            bad.push(BadShape { key, text });
        }
    }
    bad
}

fn sha256(size: Size, pixels: &[bool]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(size.width.to_le_bytes());
    hasher.update(size.height.to_le_bytes());
    for eight in pixels.chunks(8) {
        let byte = eight.iter().enumerate().fold(0_u8, |byte, (bit, &counts)| byte | u8::from(counts) << bit);
        hasher.update([byte]);
    }
    hex(&hasher.finalize())
}

#[expect(clippy::cast_precision_loss, reason = "pixels of a frame, far below 2^52")]
fn number(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
