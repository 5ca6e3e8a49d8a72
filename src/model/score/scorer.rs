//! From latent values to what is said about a picture, by the rules of one scoring.

use tch::{Device, Tensor};

use crate::model::score::area::Area;
use crate::model::score::places::Places;
use crate::model::score::scoring::{Fusion, ScoreKind, Scoring};
use crate::model::score::{Reading, cell_maps, fuse, mean_score, mean_score_in};
use crate::model::share;

#[derive(Debug)]
pub struct Scorer {
    pub scoring: Scoring,
    /// There if `scoring` uses positions.
    pub places: Option<Places>,
    /// Pixels of the anomaly map to one cell of the finest scale, in each direction.
    steps: i64,
    /// None: the whole picture counts.
    area: Option<Area>,
}

impl Scorer {
    pub fn new(scoring: Scoring, places: Option<Places>, steps: i64) -> Self {
        debug_assert_eq!(
            scoring.positions.used,
            places.is_some(),
            "positions and their statistics go together"
        );
        Self { scoring, places, steps, area: None }
    }

    /// The research code's.
    pub fn plain(steps: i64) -> Self {
        Self::new(Scoring::plain(), None, steps)
    }

    #[must_use]
    pub fn to_device(self, device: Device) -> Self {
        Self { places: self.places.map(|places| places.to_device(device)), ..self }
    }

    /// The same on the same tensors, where the whole picture counts.
    #[must_use]
    pub fn share(&self) -> Self {
        let share =
            |places: &Places| Places { centre: share(&places.centre), deviation: share(&places.deviation) };
        Self::new(self.scoring.clone(), self.places.as_ref().map(share), self.steps)
    }

    /// Centre and deviation of each cell at each scale, if there are any.
    pub fn statistics(&self) -> impl Iterator<Item = (&Tensor, &Tensor)> {
        self.places.iter().flat_map(|places| places.centre.iter().zip(&places.deviation))
    }

    /// The least size of a score that a difference is measured by: scores in deviations from what is usual may lie
    /// anywhere around 0.
    pub fn unit(&self) -> f64 {
        if self.is_relative() && self.scoring.score != ScoreKind::Mean { 1.0 } else { 0.0 }
    }

    /// Whether the whole picture counts.
    pub fn reads_whole(&self) -> bool {
        self.area.is_none()
    }

    /// What counts from now on.
    pub fn set_area(&mut self, area: Option<Area>) {
        self.area = area;
    }

    /// # Shapes
    /// `[B, C_s, H_s, W_s]` at each scale, the finest first.
    pub fn read(&self, latent: &[Tensor]) -> Reading {
        self.read_in(latent, self.area.as_ref())
    }

    /// The same for the whole picture, whatever the area.
    pub fn read_whole(&self, latent: &[Tensor]) -> Reading {
        self.read_in(latent, None)
    }

    fn read_in(&self, latent: &[Tensor], area: Option<&Area>) -> Reading {
        let cells = self.cells(latent);
        let scores = match self.scoring.score {
            ScoreKind::Mean => match area {
                None => mean_score(latent),
                Some(area) => mean_score_in(latent, area),
            },
            kind @ (ScoreKind::TopK { .. } | ScoreKind::Max | ScoreKind::Spread) => {
                of_cells(kind, &counted(&cells, area))
            }
        };
        let size = cells[0].size();
        let map = fuse(&cells, [size[1] * self.steps, size[2] * self.steps], area);
        // Below what is usual there is nothing to see.
        let map = if self.is_relative() { map.clamp_min(0.0) } else { map };
        Reading { scores, maps: area.map_or_else(|| map.shallow_clone(), |area| area.show(&map)) }
    }

    /// The scales' cell maps, `[B, H_s, W_s]`, compared with what is usual as far as the scoring says so.
    fn cells(&self, latent: &[Tensor]) -> Vec<Tensor> {
        let mut cells = cell_maps(latent);
        if let Some(places) = &self.places {
            cells = places.normalise(&cells);
        }
        match &self.scoring.fusion {
            Fusion::Mean => cells,
            Fusion::Normalised(levels) => {
                cells.iter().zip(levels).map(|(map, level)| (map - level.centre) / level.spread).collect()
            }
        }
    }

    /// Whether the map's 0 is what is usual, and its unit a deviation.
    fn is_relative(&self) -> bool {
        self.places.is_some() || matches!(self.scoring.fusion, Fusion::Normalised(_))
    }
}

/// The fused cells that count, `[B, n]`.
fn counted(cells: &[Tensor], area: Option<&Area>) -> Tensor {
    let size = cells[0].size();
    let fused = fuse(cells, [size[1], size[2]], area);
    match area {
        None => fused.flatten(1, -1),
        Some(area) => area.pick(0, &fused).expect("an area has cells at the finest scale"),
    }
}

/// A statistic of each picture's cells, `[B, n]` to `[B]`. A cell that is not a number makes it none.
fn of_cells(kind: ScoreKind, cells: &Tensor) -> Tensor {
    let n = cells.size()[1];
    match kind {
        ScoreKind::Mean => cells.mean_dim([1].as_slice(), false, None),
        // Numbers that are none count as the largest.
        ScoreKind::TopK { share } => {
            cells.topk(n_of(share, n), 1, true, false).0.mean_dim([1].as_slice(), false, None)
        }
        ScoreKind::Max => cells.amax([1].as_slice(), false),
        ScoreKind::Spread => cells.std_dim([1].as_slice(), false, false),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a part of a count of cells"
)]
fn n_of(share: f64, n: i64) -> i64 {
    // 5 % of 100 are 5, though the product may be a little more.
    ((share * n as f64 - 1e-9).ceil() as i64).clamp(1, n)
}

#[cfg(test)]
mod tests;
