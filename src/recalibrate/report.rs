//! What a calibration found: the shape of its JSON, and the text for people.

use std::fmt;

use serde::Serialize;

use crate::calibrate::share::{Bound, Percent};
use crate::calibrate::tail::Tail;
use crate::calibrate::{Calibration, Guarantee, attainable};
use crate::model::score::area::Inspected;

/// A calibration and what changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub bundle: String,
    /// Absent if nothing was to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Taken>,
    /// How much of the product's ROI was inspected; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roi: Option<RoiSeen>,
    pub threshold_before: f64,
    pub threshold: f64,
    pub map_threshold: f64,
    pub guard_band: f64,
    pub target_overkill: f64,
    pub confidence: f64,
    pub attained_overkill_bound: f64,
    /// `exact`, `cross_conformal` or `none`.
    pub guarantee: Guarantee,
    /// Whether the target is proven for any score law.
    pub guaranteed: bool,
    /// Held-out good parts, and how many images they have.
    pub parts: usize,
    pub images: usize,
    /// Parts that came after training.
    pub parts_from_production: usize,
    /// The rank of the threshold among the parts' scores; 1 is the largest.
    pub order: usize,
    /// Parts that the target takes.
    pub parts_needed: u64,
    /// The tightest target that these parts can carry.
    pub attainable_overkill: f64,
    /// Held-out parts within the guard band.
    pub not_decidable: usize,
    /// How often the bundle was calibrated again since training.
    pub recalibrations: usize,
    /// What lies beyond the scores, extrapolated; absent if there are too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    #[serde(skip)]
    summary: String,
}

/// How much of an ROI the scores are about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoiSeen {
    /// Share of its pixels in cells that count.
    pub inspected: f64,
    pub cells: usize,
    #[serde(skip)]
    summary: String,
}

impl From<Inspected> for RoiSeen {
    fn from(inspected: Inspected) -> Self {
        Self { inspected: inspected.share, cells: inspected.cells, summary: inspected.to_string() }
    }
}

/// What became of a folder's images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    pub folder: String,
    pub images: usize,
    /// Already in the calibration: passed over.
    pub known: usize,
    /// The same picture as another of the folder: passed over.
    pub repeated: usize,
    pub added: usize,
    /// Parts that are new.
    pub parts_added: usize,
    /// Added images of parts that the calibration held already, by the name.
    pub joined: usize,
    /// Pairs of added images that look like one part, and are counted as one.
    pub alike: usize,
}

impl Report {
    pub fn new(
        bundle: String,
        before: &Calibration,
        after: &Calibration,
        data: Option<Taken>,
        written: Option<String>,
        tail: Option<Tail>,
    ) -> Self {
        Self {
            bundle,
            written,
            data,
            roi: None,
            threshold_before: before.threshold,
            threshold: after.threshold,
            map_threshold: after.map_threshold,
            guard_band: after.guard_band,
            target_overkill: after.target_overkill,
            confidence: after.confidence,
            attained_overkill_bound: after.attained_overkill_bound,
            guarantee: after.guarantee,
            guaranteed: after.guaranteed(),
            parts: after.n,
            images: after.n_images(),
            parts_from_production: after.n_added(),
            order: after.order,
            parts_needed: after.n_needed,
            attainable_overkill: attainable(after.n, after.target().confidence),
            not_decidable: after.n_undecidable(),
            recalibrations: after.changes.len(),
            tail,
            summary: after.to_string(),
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, images, known, repeated, added, parts_added, joined, alike } = self;
        write!(f, "{folder}: {images} images; {added} added, {parts_added} new parts")?;
        if *joined > 0 {
            write!(f, "; {joined} joined parts of the same name that were there: right if that is one part")?;
        }
        if *alike > 0 {
            write!(f, "; pairs that look like one part, and are counted as one: {alike}")?;
        }
        if *known > 0 {
            write!(f, "; {known} passed over: they were in the calibration already")?;
        }
        if *repeated > 0 {
            write!(f, "; {repeated} passed over: they are the same pictures as others of the folder")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(data) = &self.data {
            writeln!(f, "data          {data}")?;
        }
        if let Some(RoiSeen { summary, .. }) = &self.roi {
            writeln!(f, "ROI           {summary}")?;
        }
        let production = self.parts_from_production;
        let training = self.parts - production;
        writeln!(f, "parts         {} ({training} from training, {production} from production)", self.parts)?;
        writeln!(f, "calibration   {}", self.summary)?;
        writeln!(f, "before        threshold {:.6}", self.threshold_before)?;
        writeln!(
            f,
            "at best       {} parts can carry a target of {} with {} confidence",
            self.parts,
            Bound(self.attainable_overkill),
            Percent(self.confidence)
        )?;
        if let Some(tail) = &self.tail {
            writeln!(f, "extrapolated  {tail}")?;
        }
        match &self.written {
            Some(file) => write!(f, "written       {file}; a running station takes it at its next start"),
            None => write!(f, "written       nothing: there was nothing to change"),
        }
    }
}
