//! The single defects of a mask, and which of them a published region touches.
//!
//! A defect is an 8-connected area of the mask, as a region is of the map.

use image::{GrayImage, ImageBuffer, Luma};
use imageproc::region_labelling::{Connectivity, connected_components};
use serde::Serialize;

use crate::calibrate::rate::Rate;
use crate::frame::Size;
use crate::verdict::regions::{AnomalyMap, Regions};

/// Where one group of sizes ends and the next begins, as multiples of the area of a network cell.
const STEPS: [f64; 3] = [0.25, 1.0, 4.0];

/// A mask taken apart.
#[derive(Debug)]
pub struct Defects {
    /// 0 where the part is good, else the number of the defect, from 1; row by row.
    pub labels: Vec<u32>,
    /// Pixels of each defect.
    pub areas: Vec<u32>,
}

/// One defect, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fate {
    /// Its area as a multiple of a network cell's.
    pub cells: f64,
    pub is_hit: bool,
}

/// How many of the defects a published region touches, by their size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hits {
    /// A defect is hit if one of its pixels lies in a cell of a published region.
    pub all: Rate,
    pub by_size: Vec<SizeGroup>,
}

/// Defects of at least `from_cells` and less than `below_cells` times the area of a network cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SizeGroup {
    pub from_cells: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below_cells: Option<f64>,
    pub hit: Rate,
}

impl Defects {
    /// `mask` marks the defective pixels of an image of `size`, row by row.
    ///
    /// # Panics
    /// If `mask` has another size.
    pub fn of(mask: &[bool], size: Size) -> Self {
        let pixels: Vec<u8> = mask.iter().map(|&is_defective| u8::from(is_defective)).collect();
        let mask: GrayImage =
            ImageBuffer::from_raw(size.width, size.height, pixels).expect("a mask of the image's size");
        let labels = connected_components(&mask, Connectivity::Eight, Luma([0])).into_raw();
        let mut areas = vec![0; labels.iter().copied().max().unwrap_or(0) as usize];
        for &label in labels.iter().filter(|&&label| label > 0) {
            areas[label as usize - 1] += 1;
        }
        Self { labels, areas }
    }

    /// What became of each, with the `regions` found in `map`; a cell is `cell_px` long on the longer side of the
    /// image.
    pub fn fates(&self, map: &AnomalyMap, map_threshold: f64, regions: &Regions, seen: Seen) -> Vec<Fate> {
        let published = published(map, map_threshold, regions, seen.size);
        let mut is_hit = vec![false; self.areas.len()];
        let (width, height) = (seen.size.width as usize, seen.size.height as usize);
        for (y, row) in self.labels.chunks(width).enumerate() {
            let cells = &published[y * map.height / height * map.width..][..map.width];
            for (x, &label) in row.iter().enumerate().filter(|&(_, &label)| label > 0) {
                is_hit[label as usize - 1] |= cells[x * map.width / width];
            }
        }
        let cell_area = seen.cell_area();
        let fate = |(&area, is_hit)| Fate { cells: f64::from(area) / cell_area, is_hit };
        self.areas.iter().zip(is_hit).map(fate).collect()
    }
}

/// How large an image is and how coarse the network sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub size: Size,
    /// Longer side of one network cell in pixels.
    pub cell_px: f64,
}

impl Seen {
    /// In pixels. The network stretches every image to a square, so the image has as many cells in a row as in a
    /// column.
    fn cell_area(self) -> f64 {
        let (width, height) = (f64::from(self.size.width), f64::from(self.size.height));
        let cells = width.max(height) / self.cell_px;
        width * height / (cells * cells)
    }
}

impl Hits {
    /// None without defects.
    pub fn count(fates: &[Fate]) -> Option<Self> {
        if fates.is_empty() {
            return None;
        }
        let rate = |members: &mut dyn Iterator<Item = &Fate>| {
            let (mut hits, mut all) = (0, 0);
            for fate in members {
                hits += usize::from(fate.is_hit);
                all += 1;
            }
            Rate::new(hits, all)
        };
        let edges: Vec<f64> = std::iter::once(0.0).chain(STEPS).collect();
        let group = |(i, &from_cells): (usize, &f64)| {
            let below_cells = edges.get(i + 1).copied();
            let is_member =
                |fate: &&Fate| fate.cells >= from_cells && below_cells.is_none_or(|below| fate.cells < below);
            let hit = rate(&mut fates.iter().filter(is_member));
            SizeGroup { from_cells, below_cells, hit }
        };
        let by_size = edges.iter().enumerate().map(group).collect();
        Some(Self { all: rate(&mut fates.iter()), by_size })
    }
}

impl std::fmt::Display for SizeGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.below_cells {
            Some(below) if self.from_cells == 0.0 => write!(f, "below {below} cells"),
            Some(below) => write!(f, "{} to {below} cells", self.from_cells),
            None => write!(f, "{} cells and more", self.from_cells),
        }
    }
}

/// The cells of `map` that belong to one of the regions that are told: not all are, if there are very many.
fn published(map: &AnomalyMap, map_threshold: f64, regions: &Regions, size: Size) -> Vec<bool> {
    let place = |cell: usize, cells: usize, pixels: u32| {
        #[expect(clippy::cast_precision_loss, reason = "cells of a map")]
        let middle = (cell as f64 + 0.5) / cells as f64;
        middle * f64::from(pixels)
    };
    let is_published = |(i, &value): (usize, &f32)| {
        let is_over = !value.is_finite() || f64::from(value) > map_threshold;
        let x = place(i % map.width, map.width, size.width);
        let y = place(i / map.width, map.height, size.height);
        is_over
            && regions.worst.iter().any(|region| {
                (region.x..region.x + region.w).contains(&x) && (region.y..region.y + region.h).contains(&y)
            })
    };
    map.values.iter().enumerate().map(is_published).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::regions::{self, RegionRule};

    const SIZE: Size = Size { width: 8, height: 8 };

    /// Two defects that touch at a corner, which makes them one; one of a single pixel; one of two.
    fn defects() -> Defects {
        let marked = [(0, 0), (1, 0), (2, 1), (6, 1), (0, 6), (1, 6)];
        let mut mask = vec![false; 64];
        for (x, y) in marked {
            mask[y * 8 + x] = true;
        }
        Defects::of(&mask, SIZE)
    }

    fn fates(map: [f32; 4]) -> Vec<Fate> {
        let map = AnomalyMap { width: 2, height: 2, values: map.to_vec() };
        let regions = regions::find(&map, SIZE, RegionRule { map_threshold: 1.0, min_area_px: 0.0 });
        defects().fates(&map, 1.0, &regions, Seen { size: SIZE, cell_px: 4.0 })
    }

    #[test]
    fn areas_that_touch_at_a_corner_are_one_defect() {
        assert_eq!(defects().areas, [3, 1, 2]);
        assert_eq!(Defects::of(&[false; 64], SIZE).areas, [0_u32; 0]);
    }

    #[test]
    fn a_defect_is_hit_where_a_region_lies_on_it() {
        let is_hit = |map| fates(map).iter().map(|fate| fate.is_hit).collect::<Vec<_>>();
        assert_eq!(is_hit([2.0, 0.0, 0.0, 0.0]), [true, false, false]);
        assert_eq!(is_hit([0.0, 2.0, f32::NAN, 0.0]), [false, true, true]);
        assert_eq!(is_hit([1.0, 1.0, 1.0, 1.0]), [false, false, false]);
        // The box of this region spans everything, but its cells lie on one defect only.
        assert_eq!(is_hit([0.0, 2.0, 0.0, 2.0]), [false, true, false]);
    }

    #[test]
    fn each_defect_counts_in_the_group_of_its_size() {
        let found = Hits::count(&fates([2.0, 0.0, 0.0, 0.0])).unwrap();
        // A cell has 16 pixels: all three are smaller than a quarter of it.
        assert_eq!((found.all.count, found.all.of), (1, 3));
        assert_eq!(found.by_size.iter().map(|group| group.hit.of).collect::<Vec<_>>(), [3, 0, 0, 0]);
        let sized = [0.25, 0.9, 1.0, 3.9, 4.0, 100.0].map(|cells| Fate { cells, is_hit: cells > 0.5 });
        let found = Hits::count(&sized).unwrap();
        let counted = found.by_size.iter().map(|group| (group.hit.count, group.hit.of)).collect::<Vec<_>>();
        assert_eq!(counted, [(0, 0), (1, 2), (2, 2), (2, 2)]);
        let names: Vec<String> = found.by_size.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["below 0.25 cells", "0.25 to 1 cells", "1 to 4 cells", "4 cells and more"]);
        assert_eq!(Hits::count(&[]), None);
    }

    #[test]
    fn a_cell_of_an_image_that_is_not_square_is_not_square_either() {
        let seen = Seen { size: Size { width: 64, height: 32 }, cell_px: 8.0 };
        assert_eq!(seen.cell_area(), 8.0 * 4.0);
    }
}
