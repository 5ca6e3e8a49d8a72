//! Defect regions: connected cells of an anomaly map above a threshold, in frame pixels.

use image::{ImageBuffer, Luma};
use imageproc::region_labelling::{Connectivity, connected_components};

use crate::frame::Size;

/// At most this many regions are reported, worst first.
pub const MAX_REGIONS: usize = 16;

/// An anomaly map over the whole frame: `values[row * width + column]`, higher is more anomalous.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnomalyMap {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

impl AnomalyMap {
    /// Makes room for other values.
    pub fn resize(&mut self, width: usize, height: usize) {
        self.values.resize(width * height, 0.0);
        (self.width, self.height) = (width, height);
    }
}

/// A connected defect area. Lengths in frame pixels, origin top left, x right, y down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
    /// Centroid, weighted by the map's excess over its threshold.
    pub cx: f64,
    pub cy: f64,
    pub area_px: f64,
    /// Largest map value inside.
    pub peak: f64,
    /// Mean map value inside.
    pub mean: f64,
}

/// The regions of one frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Regions {
    /// Worst first (by peak), at most [`MAX_REGIONS`].
    pub worst: Vec<Region>,
    /// How many there were before the list was cut.
    pub total: usize,
    /// Longer side of one network cell in frame pixels: how coarse the map is, and so how far a border can
    /// be off. 0 when no map was made.
    pub cell_px: f64,
}

/// What counts as a region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegionRule {
    /// Map values above this belong to a region.
    pub map_threshold: f64,
    /// Smaller regions are left out.
    pub min_area_px: f64,
}

/// Finds the regions of `map`, which spans the whole `frame`. Neighbours are 8-connected. Values that are
/// not finite count as above any threshold: an unknown cell is suspect, not good.
pub fn find(map: &AnomalyMap, frame: Size, rule: RegionRule) -> Regions {
    assert_eq!(map.values.len(), map.width * map.height, "map values do not fill its size");
    let over = |v: f32| !v.is_finite() || f64::from(v) > rule.map_threshold;
    if !map.values.iter().any(|&v| over(v)) {
        return Regions::default();
    }
    let (width, height) = (to_u32(map.width), to_u32(map.height));
    let mask = ImageBuffer::<Luma<u8>, _>::from_fn(width, height, |x, y| {
        Luma([u8::from(over(map.values[y as usize * map.width + x as usize]))])
    });
    let labels = connected_components(&mask, Connectivity::Eight, Luma([0]));

    let mut sums: Vec<Sum> = Vec::new();
    for (x, y, label) in labels.enumerate_pixels() {
        let Some(index) = label.0[0].checked_sub(1) else { continue };
        let index = index as usize;
        if sums.len() <= index {
            sums.resize(index + 1, Sum::EMPTY);
        }
        sums[index].add(x, y, map.values[y as usize * map.width + x as usize], rule.map_threshold);
    }

    let step_x = f64::from(frame.width) / f64::from(width);
    let step_y = f64::from(frame.height) / f64::from(height);
    let mut worst: Vec<Region> = sums
        .iter()
        .map(|sum| sum.region(step_x, step_y))
        .filter(|region| region.area_px >= rule.min_area_px)
        .collect();
    worst.sort_by(|a, b| b.peak.total_cmp(&a.peak));
    let total = worst.len();
    worst.truncate(MAX_REGIONS);
    Regions { worst, total, cell_px: 0.0 }
}

/// Width and height of a network cell in pixels of `frame`, whose longer side is `cell_px`: the grid is square. This
/// is the map's true resolution, whatever it was enlarged to.
pub fn cell_size(cell_px: f64, frame: Size) -> [f64; 2] {
    let longer = f64::from(frame.width.max(frame.height));
    [frame.width, frame.height].map(|side| cell_px * f64::from(side) / longer)
}

#[derive(Clone, Copy)]
struct Sum {
    min_x: u32,
    min_y: u32,
    max_x: u32,
    max_y: u32,
    cells: f64,
    weight: f64,
    weighted_x: f64,
    weighted_y: f64,
    total: f64,
    peak: f64,
}

impl Sum {
    const EMPTY: Sum = Sum {
        min_x: u32::MAX,
        min_y: u32::MAX,
        max_x: 0,
        max_y: 0,
        cells: 0.0,
        weight: 0.0,
        weighted_x: 0.0,
        weighted_y: 0.0,
        total: 0.0,
        peak: f64::NEG_INFINITY,
    };

    fn add(&mut self, x: u32, y: u32, value: f32, map_threshold: f64) {
        // JSON knows no infinity: the largest f32 stands for "worse than can be said".
        let value = if value.is_finite() { f64::from(value) } else { f64::from(f32::MAX) };
        let weight = (value - map_threshold).max(f64::MIN_POSITIVE);
        self.min_x = self.min_x.min(x);
        self.min_y = self.min_y.min(y);
        self.max_x = self.max_x.max(x);
        self.max_y = self.max_y.max(y);
        self.cells += 1.0;
        self.weight += weight;
        self.weighted_x += weight * (f64::from(x) + 0.5);
        self.weighted_y += weight * (f64::from(y) + 0.5);
        self.total += value;
        self.peak = self.peak.max(value);
    }

    fn region(&self, step_x: f64, step_y: f64) -> Region {
        Region {
            x: f64::from(self.min_x) * step_x,
            y: f64::from(self.min_y) * step_y,
            w: f64::from(self.max_x - self.min_x + 1) * step_x,
            h: f64::from(self.max_y - self.min_y + 1) * step_y,
            cx: self.weighted_x / self.weight * step_x,
            cy: self.weighted_y / self.weight * step_y,
            area_px: self.cells * step_x * step_y,
            peak: self.peak,
            mean: self.total / self.cells,
        }
    }
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).expect("an anomaly map has fewer than 2^32 columns")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Size = Size { width: 80, height: 40 };
    const RULE: RegionRule = RegionRule { map_threshold: 1.0, min_area_px: 0.0 };

    fn map(rows: &[&[f32]]) -> AnomalyMap {
        AnomalyMap { width: rows[0].len(), height: rows.len(), values: rows.concat() }
    }

    #[test]
    fn diagonal_cells_are_one_region_and_coordinates_are_frame_pixels() {
        let map = map(&[&[0.0, 3.0, 0.0, 0.0], &[0.0, 0.0, 3.0, 0.0]]);
        let found = find(&map, FRAME, RULE);
        assert_eq!(found.total, 1);
        let region = found.worst[0];
        assert_eq!((region.x, region.y, region.w, region.h), (20.0, 0.0, 40.0, 40.0));
        assert_eq!((region.cx, region.cy), (40.0, 20.0));
        assert_eq!((region.area_px, region.peak, region.mean), (800.0, 3.0, 3.0));
    }

    #[test]
    fn the_worst_region_comes_first_and_small_ones_are_left_out() {
        let map = map(&[&[2.0, 0.0, 5.0, 5.0], &[0.0, 0.0, 0.0, 4.0]]);
        let found = find(&map, FRAME, RULE);
        assert_eq!(found.worst.iter().map(|r| r.peak).collect::<Vec<_>>(), [5.0, 2.0]);
        let found = find(&map, FRAME, RegionRule { min_area_px: 500.0, ..RULE });
        assert_eq!(found.total, 1);
    }

    #[test]
    fn the_list_is_cut_at_sixteen_and_the_count_is_not() {
        let values =
            (0..81_u8).map(|i| if (i / 9) % 2 == 0 && i % 9 % 2 == 0 { 2.0 + f32::from(i) } else { 0.0 });
        let map = AnomalyMap { width: 9, height: 9, values: values.collect() };
        let found = find(&map, Size { width: 9, height: 9 }, RULE);
        assert_eq!((found.worst.len(), found.total), (16, 25));
        assert_eq!(found.worst[0].peak, 82.0);
    }

    #[test]
    fn a_cell_that_is_not_a_number_is_a_region_and_stays_finite_on_the_wire() {
        let found = find(&map(&[&[0.0, f32::NAN]]), FRAME, RULE);
        assert_eq!(found.total, 1);
        assert!(found.worst[0].peak.is_finite() && found.worst[0].cx.is_finite());
    }

    #[test]
    fn a_cell_is_as_wide_and_high_as_the_frame_divided_by_the_grid() {
        // A grid of 32 cells a side.
        assert_eq!(cell_size(40.0, Size { width: 1280, height: 1024 }), [40.0, 32.0]);
        assert_eq!(cell_size(40.0, Size { width: 1024, height: 1280 }), [32.0, 40.0]);
    }

    #[test]
    fn a_quiet_map_has_no_regions() {
        assert_eq!(find(&map(&[&[0.0, 1.0]]), FRAME, RULE), Regions::default());
    }
}
