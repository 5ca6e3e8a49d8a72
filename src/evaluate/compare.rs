//! Several bundles on the same images, side by side. The first is what the others are held against.

use std::fmt;

use serde::Serialize;

use crate::calibrate::rate::{Limits, Rate};
use crate::calibrate::share::Percent;
use crate::evaluate::delong::{Difference, Placements};
use crate::evaluate::evaluation::Image;
use crate::evaluate::record::{About, Record};
use crate::evaluate::table::{figure, percent};

/// Width of a bundle's column.
const COLUMN: usize = 18;

/// At least one record; all are of the same images in the same order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub bundles: Vec<Record>,
    /// Of the image AUROC of each bundle but the first to that of the first, in their order; absent where there are
    /// no good or no defective images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Vec<Difference>>,
}

impl Comparison {
    /// None if the records are not of the same images.
    pub fn new(bundles: Vec<Record>) -> Option<Self> {
        let images = |record: &Record| -> Vec<(String, bool)> {
            record.evaluation.images.iter().map(|image| (image.file.clone(), image.is_good)).collect()
        };
        let (first, others) = bundles.split_first()?;
        if others.iter().any(|other| images(other) != images(first)) {
            return None;
        }
        let placed = placements(first);
        let difference = |other: &Record| placed.as_ref()?.difference(&placements(other)?);
        let differences = others.iter().map(difference).collect();
        Some(Self { bundles, differences })
    }

    /// What to show, a row for each figure: its name and a cell for each bundle.
    pub fn rows(&self) -> Vec<(&'static str, Vec<String>)> {
        let each = |cell: &dyn Fn(&Record) -> String| self.bundles.iter().map(cell).collect();
        let of = |figure: &dyn Fn(&Record) -> Option<f64>, show: fn(Option<f64>) -> String| {
            self.bundles.iter().map(|record| show(figure(record))).collect()
        };
        let rate = |rate: Rate| percent(rate.rate);
        let limits = |rate: Rate| {
            rate.limits.map_or("-".into(), |Limits { low, high }| format!("{} to {}", bare(low), bare(high)))
        };
        let mut rows = vec![
            ("image AUROC", of(&|r| r.evaluation.auroc, figure)),
            ("  95 %", each(&|r| r.evaluation.auroc_interval.map_or("-".into(), |i| i.to_string()))),
        ];
        rows.extend(self.difference_rows());
        rows.extend([
            ("average precision", of(&|r| r.evaluation.average_precision, figure)),
            ("largest F1", of(&|r| r.evaluation.f1_max, figure)),
            ("FPR at 100 % TPR", of(&|r| r.evaluation.fpr_at_tpr_100, percent)),
            ("FPR at 99 % TPR", of(&|r| r.evaluation.fpr_at_tpr_99, percent)),
            ("FPR at 95 % TPR", of(&|r| r.evaluation.fpr_at_tpr_95, percent)),
            ("pixel AUROC", of(&|r| Some(r.evaluation.pixel?.auroc), figure)),
            ("AUPRO to FPR 0.3", of(&|r| Some(r.evaluation.pixel?.aupro), figure)),
            ("defects hit", of(&|r| r.evaluation.defects.as_ref()?.all.rate, percent)),
            ("overkill", each(&|r| rate(r.evaluation.overkill))),
            ("  95 %", each(&|r| limits(r.evaluation.overkill))),
            ("escape", each(&|r| rate(r.evaluation.escape))),
            ("  95 %", each(&|r| limits(r.evaluation.escape))),
            ("not decidable", each(&|r| r.evaluation.not_decidable.to_string())),
            ("not inspected", each(&|r| r.evaluation.not_inspected.to_string())),
            ("time p50", each(&|r| format!("{:.1} ms", r.evaluation.time_ms.total.p50))),
            ("time p99", each(&|r| format!("{:.1} ms", r.evaluation.time_ms.total.p99))),
        ]);
        rows
    }

    fn difference_rows(&self) -> Vec<(&'static str, Vec<String>)> {
        let Some(differences) = self.differences.as_ref().filter(|differences| !differences.is_empty())
        else {
            return Vec::new();
        };
        let cells = |show: fn(&Difference) -> String| {
            std::iter::once("-".into()).chain(differences.iter().map(show)).collect()
        };
        let signed = |difference: &Difference| {
            difference
                .interval
                .map_or("-".into(), |limits| format!("{:+.4} to {:+.4}", limits.low, limits.high))
        };
        vec![
            ("  less that of A", cells(|difference| format!("{:+.4}", difference.difference))),
            ("  95 %", cells(signed)),
            ("  p", cells(|difference| difference.p_value.map_or("-".into(), p_value))),
        ]
    }
}

/// A letter for each bundle.
pub fn letter(bundle: usize) -> String {
    match u8::try_from(bundle) {
        Ok(n @ 0..26) => char::from(b'A' + n).to_string(),
        _ => format!("no. {}", bundle + 1),
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "below 0.0001".into() } else { format!("{p:.4}") }
}

/// Without its unit.
fn bare(share: f64) -> String {
    Percent(share).to_string().trim_end_matches(" %").into()
}

fn placements(record: &Record) -> Option<Placements> {
    let scores = |is_good: bool| -> Vec<f64> {
        let images = record.evaluation.images.iter().filter(|image: &&Image| image.is_good == is_good);
        images.map(Image::ranked).collect()
    };
    Placements::new(&scores(true), &scores(false))
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, record) in self.bundles.iter().enumerate() {
            let About { bundle, bundle_sha256, .. } = &record.about;
            let short = bundle_sha256.get(..8).unwrap_or(bundle_sha256);
            writeln!(f, "{}  {bundle} ({short})", letter(i))?;
        }
        writeln!(f)?;
        write!(f, "{:18}", "")?;
        for i in 0..self.bundles.len() {
            write!(f, " {:>COLUMN$}", letter(i))?;
        }
        for (name, cells) in self.rows() {
            write!(f, "\n{name:18}")?;
            for cell in cells {
                write!(f, " {cell:>COLUMN$}")?;
            }
        }
        Ok(())
    }
}
