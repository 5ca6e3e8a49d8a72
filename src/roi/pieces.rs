//! The connected pieces of an ROI, and which of them the cells that count leave out.

use std::cmp::Reverse;
use std::ops::Range;

use crate::roi::{Roi, number};

/// A connected piece of an ROI, in pixels of the frame. Pixels that meet at a corner are connected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Of its bounding box: x, y.
    pub centre: [f64; 2],
    /// Of its bounding box: width, height.
    pub size: [usize; 2],
    pub pixels: usize,
}

/// How much of an ROI lies in the cells of a grid that count.
#[derive(Clone, Debug, PartialEq)]
pub struct Covered {
    /// Share of the ROI's pixels whose centre does.
    pub share: f64,
    /// How many cells count.
    pub cells: usize,
}

impl Roi {
    /// What the cells of a grid of `columns` by `rows` that count take of the ROI.
    pub fn covered(&self, columns: usize, rows: usize) -> Covered {
        let cells = self.cells(columns, rows);
        let inside = self.positions().filter(|&pixel| cells[self.cell_of(pixel, columns, rows)]).count();
        Covered {
            share: number(inside) / number(self.positions().count()),
            cells: cells.iter().filter(|&&counts| counts).count(),
        }
    }

    /// The pieces without a pixel in a cell that counts, the largest first.
    pub fn missed(&self, columns: usize, rows: usize) -> Vec<Piece> {
        let cells = self.cells(columns, rows);
        let width = self.size.width as usize;
        // Run by run: a frame may have 2^28 pixels, and a label for each would take gigabytes.
        let mut forest = Forest::default();
        let mut above: Vec<(Range<usize>, usize)> = Vec::new();
        for (y, line) in self.pixels.chunks_exact(width).enumerate() {
            let mut here = Vec::new();
            for span in runs(line) {
                let is_seen = span.clone().any(|x| cells[self.cell_of(y * width + x, columns, rows)]);
                let tree = forest.plant(Extent::of(&span, y, is_seen));
                // Those that it touches, at a corner too.
                let first = above.partition_point(|(other, _)| other.end < span.start);
                for &(_, other) in above[first..].iter().take_while(|(other, _)| other.start <= span.end) {
                    forest.unite(tree, other);
                }
                here.push((span, tree));
            }
            above = here;
        }
        let mut missed: Vec<Piece> =
            forest.roots().filter(|extent| !extent.is_seen).map(Extent::piece).collect();
        missed.sort_by_key(|piece| Reverse(piece.pixels));
        missed
    }

    /// Positions of the pixels that count.
    fn positions(&self) -> impl Iterator<Item = usize> {
        self.pixels.iter().enumerate().filter(|(_, counts)| **counts).map(|(pixel, _)| pixel)
    }

    /// x, y.
    fn place(&self, pixel: usize) -> [usize; 2] {
        let width = self.size.width as usize;
        [pixel % width, pixel / width]
    }

    /// The cell that the centre of `pixel` lies in.
    fn cell_of(&self, pixel: usize, columns: usize, rows: usize) -> usize {
        let [x, y] = self.place(pixel);
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        (2 * y + 1) * rows / (2 * height) * columns + (2 * x + 1) * columns / (2 * width)
    }
}

/// Where the pixels of a line that count stand together.
fn runs(line: &[bool]) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    let spans = line.chunk_by(|one, other| one == other).map(move |run| {
        end += run.len();
        (run[0], end - run.len()..end)
    });
    spans.filter(|(counts, _)| *counts).map(|(_, span)| span)
}

/// A piece, or what is known of it so far.
#[derive(Clone, Copy, Debug)]
struct Extent {
    low: [usize; 2],
    high: [usize; 2],
    pixels: usize,
    is_seen: bool,
}

impl Extent {
    fn of(span: &Range<usize>, y: usize, is_seen: bool) -> Self {
        Self { low: [span.start, y], high: [span.end, y + 1], pixels: span.len(), is_seen }
    }

    fn join(&mut self, other: Self) {
        for axis in 0..2 {
            self.low[axis] = self.low[axis].min(other.low[axis]);
            self.high[axis] = self.high[axis].max(other.high[axis]);
        }
        self.pixels += other.pixels;
        self.is_seen |= other.is_seen;
    }

    fn piece(&self) -> Piece {
        let Self { low, high, pixels, .. } = *self;
        let centre = std::array::from_fn(|axis| f64::midpoint(number(low[axis]), number(high[axis])));
        Piece { centre, size: std::array::from_fn(|axis| high[axis] - low[axis]), pixels }
    }
}

/// Disjoint sets of runs.
#[derive(Debug, Default)]
struct Forest {
    /// Of each tree; a root is its own. What stands at a root is all of its piece so far.
    trees: Vec<(usize, Extent)>,
}

impl Forest {
    fn plant(&mut self, extent: Extent) -> usize {
        self.trees.push((self.trees.len(), extent));
        self.trees.len() - 1
    }

    fn root(&mut self, mut tree: usize) -> usize {
        while self.trees[tree].0 != tree {
            let parent = self.trees[tree].0;
            self.trees[tree].0 = self.trees[parent].0;
            tree = parent;
        }
        tree
    }

    fn unite(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if one != other {
            self.trees[one.max(other)].0 = one.min(other);
            let joined = self.trees[one.max(other)].1;
            self.trees[one.min(other)].1.join(joined);
        }
    }

    fn roots(&self) -> impl Iterator<Item = &Extent> {
        self.trees.iter().enumerate().filter(|(i, (parent, _))| i == parent).map(|(_, (_, extent))| extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Size;
    use crate::roi::{Point, Shapes};

    /// Of a frame of 40x20: cells of 10x10 on a grid of 4x2.
    fn roi(include: &[[f64; 4]]) -> Roi {
        let rectangle =
            |&[x, y, w, h]: &[f64; 4]| -> Vec<Point> { vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h]] };
        let include = include.iter().map(rectangle).collect();
        Roi::new(Size { width: 40, height: 20 }, &Shapes { include, ..Shapes::default() }).unwrap()
    }

    #[test]
    fn a_piece_is_missed_where_none_of_its_cells_counts() {
        let left = [0.0, 0.0, 20.0, 20.0];
        assert_eq!(roi(&[left]).missed(4, 2), []);
        // 4x5 and 6x6 of cells of 100 pixels.
        let missed = roi(&[left, [24.0, 2.0, 4.0, 5.0], [32.0, 12.0, 6.0, 6.0]]).missed(4, 2);
        assert_eq!(
            missed,
            [
                Piece { centre: [35.0, 15.0], size: [6, 6], pixels: 36 },
                Piece { centre: [26.0, 4.5], size: [4, 5], pixels: 20 },
            ]
        );
        // The same where the cells are smaller, and where it meets another piece at a corner.
        let small = roi(&[left, [24.0, 2.0, 4.0, 5.0]]);
        assert_eq!(small.missed(20, 10), []);
        assert_eq!(roi(&[[0.0, 0.0, 20.0, 10.0], [20.0, 10.0, 4.0, 5.0]]).missed(4, 2), []);
        // In a cell that counts by another piece.
        assert_eq!(roi(&[[0.0, 0.0, 16.0, 20.0], [18.0, 4.0, 2.0, 2.0]]).missed(4, 2), []);
    }

    #[test]
    fn a_piece_is_whole_whatever_its_shape() {
        // A comb whose teeth meet in its last row, and a dot between them.
        let comb = |x: usize, y: usize| (y == 19 || x.is_multiple_of(4)) && x < 33;
        let mask = |is_dot: bool| -> Vec<bool> {
            (0..800).map(|i| comb(i % 40, i / 40) || is_dot && i == 5 * 40 + 6).collect()
        };
        let of = |mask| {
            let shapes = Shapes { mask: Some(mask), ..Shapes::default() };
            Roi::new(Size { width: 40, height: 20 }, &shapes).unwrap().missed(4, 2)
        };
        let comb = Piece { centre: [16.5, 10.0], size: [33, 20], pixels: 9 * 19 + 33 };
        assert_eq!(of(mask(false)), [comb]);
        let dot = Piece { centre: [6.5, 5.5], size: [1, 1], pixels: 1 };
        assert_eq!(of(mask(true)), [comb, dot]);
    }

    #[test]
    fn covered_is_what_lies_in_cells_that_count() {
        assert_eq!(roi(&[[0.0, 0.0, 20.0, 20.0]]).covered(4, 2), Covered { share: 1.0, cells: 4 });
        // 4 of the 14 columns lie in cells that do not count; with 6 of 16 they do.
        assert_eq!(roi(&[[0.0, 0.0, 14.0, 20.0]]).covered(4, 2), Covered { share: 10.0 / 14.0, cells: 2 });
        assert_eq!(roi(&[[0.0, 0.0, 16.0, 20.0]]).covered(4, 2), Covered { share: 1.0, cells: 4 });
    }
}
