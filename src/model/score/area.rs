//! The cells that count: an ROI laid over the grids of a network's scales.
//!
//! What lies outside does not reach the score by any way: cells are picked, not multiplied by zero, and a map is
//! enlarged from the cells that count alone.

use tch::{Device, Kind, Tensor};

use crate::model::architecture::Architecture;
use crate::roi::Roi;

/// The cells of a network over the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grids {
    /// Rows and columns at each scale, the finest first.
    pub cells: Vec<[i64; 2]>,
    /// Pixels of the anomaly map to one cell of the finest scale, in each direction.
    pub steps: i64,
}

impl Grids {
    pub fn of(architecture: &Architecture) -> Self {
        let cells = architecture.shapes().into_iter().map(|[_, rows, columns]| [rows, columns]).collect();
        Self { cells, steps: architecture.map_steps() }
    }

    /// Whether `roi` leaves a cell.
    pub fn check(&self, roi: &Roi) -> Result<(), NoCell> {
        let [rows, columns] = self.cells[0].map(side);
        if roi.cells(columns, rows).contains(&true) { Ok(()) } else { Err(NoCell { rows, columns }) }
    }
}

/// No cell of the finest scale has half its area in the ROI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "leaves no cell to inspect: the network's finest grid has {columns}x{rows} cells over the frame, and none lies \
     in the ROI with half its area; make it larger"
)]
pub struct NoCell {
    rows: usize,
    columns: usize,
}

#[derive(Debug)]
pub struct Area {
    /// At each scale, the positions of the cells that count, row by row; none where its cells are too coarse.
    positions: Vec<Tensor>,
    /// At each scale, `[1, H, W]`, whether a cell counts.
    counts: Vec<Tensor>,
    /// `[1, steps H_0, steps W_0]`: where the anomaly map is shown.
    shown: Tensor,
}

impl Area {
    pub fn new(roi: &Roi, grids: &Grids, device: Device) -> Result<Self, NoCell> {
        grids.check(roi)?;
        let [rows, columns] = grids.cells[0].map(side);
        let (mut positions, mut counts) = (Vec::new(), Vec::new());
        for [rows, columns] in grids.cells.iter().map(|grid| grid.map(side)) {
            let cells = roi.cells(columns, rows);
            let counted: Vec<i64> =
                (0..).zip(&cells).filter(|(_, counts)| **counts).map(|(i, _)| i).collect();
            positions.push(Tensor::from_slice(&counted).to_device(device));
            counts.push(plane(&cells, rows, columns).to_device(device));
        }
        let steps = side(grids.steps);
        let inside = roi.cells(columns * steps, rows * steps);
        let inside = plane(&inside, rows * steps, columns * steps).to_device(device);
        let below = counts[0].repeat_interleave_self_int(grids.steps, 1, None);
        let below = below.repeat_interleave_self_int(grids.steps, 2, None);
        Ok(Self { positions, counts, shown: inside.logical_and(&below) })
    }

    /// The values of `scale` that count, `[..., H, W]` to `[..., n]`; None where no cell does.
    pub(super) fn pick(&self, scale: usize, values: &Tensor) -> Option<Tensor> {
        let positions = &self.positions[scale];
        (positions.numel() > 0).then(|| values.flatten(-2, -1).index_select(-1, positions))
    }

    /// The scales' cell maps as one of `size`: at each place the mean of the scales that have a cell which counts
    /// within reach. Where there is none the value is not a number.
    pub(super) fn fuse(&self, cells: &[Tensor], size: [i64; 2]) -> Tensor {
        let enlarge =
            |map: &Tensor| map.unsqueeze(1).upsample_bilinear2d(size, false, None, None).squeeze_dim(1);
        let mut sum: Option<(Tensor, Tensor)> = None;
        for (map, counts) in cells.iter().zip(&self.counts) {
            let inside = map.where_self(counts, &map.zeros_like());
            let weight = enlarge(&counts.to_kind(Kind::Float));
            let reached = weight.gt(0.0);
            let zero = Tensor::zeros([1], (Kind::Float, map.device()));
            let value = (enlarge(&inside) / &weight).where_self(&reached, &zero);
            let reached = reached.to_kind(Kind::Float);
            sum = Some(match sum {
                None => (value, reached),
                Some((values, scales)) => (values + value, scales + reached),
            });
        }
        let (values, scales) = sum.expect("a network has a scale");
        values / scales
    }

    /// An anomaly map with nothing in it where nothing is inspected.
    pub(super) fn show(&self, map: &Tensor) -> Tensor {
        map.where_self(&self.shown, &map.zeros_like())
    }
}

fn plane(cells: &[bool], rows: usize, columns: usize) -> Tensor {
    let side = |n: usize| i64::try_from(n).expect("cells of a picture");
    Tensor::from_slice(cells).view([1, side(rows), side(columns)])
}

fn side(n: i64) -> usize {
    usize::try_from(n).expect("a count of cells")
}
