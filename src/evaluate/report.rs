//! What an evaluation found: the shape of its JSON, and the table for people.

use std::fmt;

use serde::Serialize;

use crate::calibrate::binomial::share_interval;
use crate::calibrate::share::Percent;
use crate::evaluate::pixels::PixelAuroc;

/// A bundle on a test set. Figures that the set cannot give, for want of good or defective images, are absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    pub threshold: f64,
    pub guard_band: f64,
    pub good: usize,
    pub defective: usize,
    /// Image AUROC, good against all defective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1_max: Option<f64>,
    /// Share of good images rejected by the threshold that catches all, or 99 %, of the defective ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpr_at_tpr_100: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpr_at_tpr_99: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel: Option<PixelAuroc>,
    /// Good images judged not OK.
    pub overkill: Rate,
    /// Defective images judged OK.
    pub escape: Rate,
    /// Within the guard band. Neither OK nor not OK: the gate rejects them.
    pub not_decidable: usize,
    /// The network gave no finite score. Ranked as the worst; the gate rejects them.
    pub not_inspected: usize,
    /// By name.
    pub classes: Vec<Class>,
    pub time_ms: Times,
    /// In the order they were given.
    pub images: Vec<Image>,
}

/// What became of some images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub ok: usize,
    pub not_ok: usize,
    pub not_decidable: usize,
    pub not_inspected: usize,
}

/// The images of one folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    pub class: String,
    pub images: usize,
    /// Good against this class alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
    #[serde(flatten)]
    pub counts: Counts,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Image {
    pub file: String,
    pub class: String,
    /// Absent if it was not finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// 1 OK, 2 `NotOK`, 3 `NotDecidable`, 0 not inspected.
    pub evaluation: u8,
}

/// Pre-processing and network for one image alone, reading the file excluded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    pub p50: f64,
    pub p99: f64,
}

/// A share that was counted, with its exact 95 % interval (Clopper and Pearson).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    pub count: usize,
    pub of: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    pub low: f64,
    pub high: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "counts of images")]
    pub fn new(count: usize, of: usize) -> Self {
        let (low, high) = share_interval(count, of, 0.95);
        Self { count, of, rate: (of > 0).then(|| count as f64 / of as f64), low, high }
    }
}

impl Counts {
    pub fn total(self) -> usize {
        self.ok + self.not_ok + self.not_decidable + self.not_inspected
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rate) = self.rate else { return f.write_str("no such images") };
        let (rate, low, high) = (Percent(rate), Percent(self.low), Percent(self.high));
        write!(f, "{} of {} = {rate} (95 %: {low} to {high})", self.count, self.of)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.4}"));
        let percent = |value: Option<f64>| value.map_or("-".into(), |v| Percent(v).to_string());
        let widest = self.classes.iter().map(|c| c.class.chars().count()).max().unwrap_or(0).max(10);

        writeln!(f, "{:widest$}  images   AUROC     OK  not OK  undecided  not inspected", "class")?;
        for Class { class, images, auroc, counts } in &self.classes {
            writeln!(
                f,
                "{class:widest$}  {images:6}  {:>6}  {:5}  {:6}  {:9}  {:13}",
                figure(*auroc),
                counts.ok,
                counts.not_ok,
                counts.not_decidable,
                counts.not_inspected,
            )?;
        }
        writeln!(f)?;
        writeln!(f, "image AUROC        {}", figure(self.auroc))?;
        if let Some(pixel) = self.pixel {
            let (auroc, error) = (pixel.auroc, pixel.error_max);
            writeln!(f, "pixel AUROC        {auroc:.4} +- {error:.1e}, over {} images", pixel.images)?;
        }
        writeln!(f, "average precision  {}", figure(self.average_precision))?;
        writeln!(f, "largest F1         {}", figure(self.f1_max))?;
        writeln!(f, "FPR at 100 % TPR   {}", percent(self.fpr_at_tpr_100))?;
        writeln!(f, "FPR at 99 % TPR    {}", percent(self.fpr_at_tpr_99))?;
        writeln!(f, "at threshold       {:.6}, guard band {}", self.threshold, self.guard_band)?;
        writeln!(f, "  overkill         {}", self.overkill)?;
        writeln!(f, "  escape           {}", self.escape)?;
        write!(f, "time per image     p50 {:.1} ms, p99 {:.1} ms", self.time_ms.p50, self.time_ms.p99)
    }
}
