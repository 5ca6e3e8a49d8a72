//! The cells that count: an ROI laid over the grids of a network's scales.
//!
//! From the latent values on, what lies outside does not reach the score by any way: cells are picked, not multiplied by
//! zero, and a map is enlarged from the cells that count alone. Before that it does: backbone and flow see across the
//! border, so a change outside may still move the cells inside.

use std::fmt;

use tch::{Device, Kind, Tensor};

use crate::calibrate::share::Percent;
use crate::frame::Size;
use crate::model::architecture::Architecture;
use crate::model::score::scoring::ScoreKind;
use crate::roi::Roi;
use crate::roi::pieces::{Covered, Piece};

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

    /// Whether `roi` leaves cells enough for the score, and one to each of its pieces: nobody would inspect the others.
    pub fn check(&self, roi: &Roi, score: ScoreKind) -> Result<(), TooFewCells> {
        let [rows, columns] = self.cells[0].map(side);
        let counted = roi.cells(columns, rows).into_iter().filter(|&counts| counts).count();
        if counted == 0 {
            return Err(TooFewCells::None { columns, rows });
        }
        if let missed @ [piece, ..] = roi.missed(columns, rows).as_slice() {
            let cell = cell_px(roi.size(), columns, rows);
            return Err(TooFewCells::Missed { pieces: missed.len(), piece: *piece, cell });
        }
        if counted == 1 && score == ScoreKind::Spread {
            return Err(TooFewCells::NoSpread);
        }
        Ok(())
    }

    /// How much of `roi` is inspected, for people.
    pub fn inspected(&self, roi: &Roi) -> Inspected {
        let [rows, columns] = self.cells[0].map(side);
        let Covered { share, cells } = roi.covered(columns, rows);
        Inspected { share, cells, of: columns * rows, cell: cell_px(roi.size(), columns, rows) }
    }
}

/// The cells of the finest scale that have half their area in the ROI are too few.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum TooFewCells {
    #[error(
        "leaves no cell to inspect: the network's finest grid has {columns}x{rows} cells over the frame, and none \
         lies in the ROI with half its area; make it larger"
    )]
    None { columns: usize, rows: usize },
    #[error(
        "{} that nobody would inspect, {}{}x{} px around ({:.0}, {:.0}): a cell of the network's finest grid is \
         {:.0}x{:.0} px and counts where half of it lies in the ROI; draw it larger, leave it out, or train a network \
         with more cells",
        if *.pieces == 1 { "has a piece".to_owned() } else { format!("has {pieces} pieces") },
        if *.pieces == 1 { "" } else { "the largest of " },
        .piece.size[0], .piece.size[1], .piece.centre[0], .piece.centre[1], .cell[0], .cell[1]
    )]
    Missed { pieces: usize, piece: Piece, cell: [f64; 2] },
    #[error(
        "leaves one cell to inspect, and the score is the spread of the cells: one has none, so every part would score \
         0; make it larger, or train with another --score"
    )]
    NoSpread,
}

/// How much of an ROI lies in the finest scale's cells that count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inspected {
    /// Of the ROI's pixels.
    pub share: f64,
    /// The cells that count, and how many there are.
    pub cells: usize,
    pub of: usize,
    /// Width and height of one in pixels of the frame.
    pub cell: [f64; 2],
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { share, cells, of, cell: [width, height] } = self;
        write!(
            f,
            "{} of its pixels lie in the {cells} of {of} cells that count; a cell is {width:.0}x{height:.0} px",
            Percent(*share)
        )
    }
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
    /// Of an ROI that `grids` and the score go with: see [`Grids::check`].
    pub fn new(roi: &Roi, grids: &Grids, score: ScoreKind, device: Device) -> Result<Self, TooFewCells> {
        grids.check(roi, score)?;
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

    /// An anomaly map with 0 where nothing is inspected. No map value and no map threshold lies below that, so there is
    /// neither heat nor a region outside; the smallest value inside would be a region where all of the ROI is one.
    pub(super) fn show(&self, map: &Tensor) -> Tensor {
        map.where_self(&self.shown, &map.zeros_like())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen cells")]
fn cell_px(frame: Size, columns: usize, rows: usize) -> [f64; 2] {
    [f64::from(frame.width) / columns as f64, f64::from(frame.height) / rows as f64]
}

fn plane(cells: &[bool], rows: usize, columns: usize) -> Tensor {
    let side = |n: usize| i64::try_from(n).expect("cells of a picture");
    Tensor::from_slice(cells).view([1, side(rows), side(columns)])
}

fn side(n: i64) -> usize {
    usize::try_from(n).expect("a count of cells")
}
