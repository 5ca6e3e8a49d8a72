//! An evaluation as a table for people.

use std::fmt;

use crate::calibrate::Guarantee;
use crate::calibrate::evidence::Obtained;
use crate::calibrate::share::{Bound, Percent};
use crate::evaluate::delong::Interval;
use crate::evaluate::evaluation::{Class, Evaluation, Percentiles};
use crate::evaluate::promise::{Answer, Promise};
use crate::evaluate::record::{About, Record};

/// Four decimals, or a dash for what the images could not give.
pub fn figure(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.4}"))
}

/// In percent, or a dash.
pub fn percent(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| Percent(value).to_string())
}

/// How large a cell of the network is, which a defect is measured by.
pub fn cell(cell_px: Option<[f64; 2]>) -> String {
    match cell_px {
        Some([width, height]) => format!("{width:.0}x{height:.0} px of the frame"),
        None => "not the same on all images: they differ in size".into(),
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} to {:.4}", self.low, self.high)
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1} ms, p99 {:.1} ms", self.p50, self.p99)
    }
}

/// One sentence.
impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parts, images, known, .. } = *self;
        let (most, sure) = (Bound(self.overkill_max), Percent(self.confidence));
        write!(f, "at most {most} with {sure} confidence, from {parts} parts")?;
        if images != parts {
            write!(f, " of {images} images")?;
        }
        if let Obtained::Folds { .. } = self.obtained {
            f.write_str(" in folds, if the network scores new parts as the folds' networks do")?;
        }
        if self.guarantee == Guarantee::None {
            write!(f, " (the {} asked for is not guaranteed)", Percent(self.target_overkill))?;
        }
        f.write_str(": ")?;
        f.write_str(match self.answer {
            Answer::Confirmed => "confirmed by these images",
            Answer::Consistent => "these images agree but are too few to confirm it",
            Answer::OtherUnit => return other_unit(f, self),
            Answer::Known => {
                return write!(
                    f,
                    "not tested, the network was trained on {known} of the good images or the threshold rests on them"
                );
            }
            Answer::Contradicted => "not kept on these images, which are unlike those of the calibration",
            Answer::NoGoodImages => "there are no good images here to tell",
            Answer::OtherThreshold => "but the product has a threshold of its own",
        })
    }
}

/// The figures, and what computed them.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { device, precision, calibrated_on, .. } = &self.about;
        writeln!(f, "{}", self.evaluation)?;
        writeln!(f, "{:18} {device}, {precision}", "judged on")?;
        write!(f, "{:18} {}", "calibrated on", calibrated_on.join(" and "))
    }
}

/// Why parts of another number of images cannot tell.
fn other_unit(f: &mut fmt::Formatter<'_>, promise: &Promise) -> fmt::Result {
    let Some(by_part) = promise.by_part else {
        return f.write_str(
            "these images agree, but parts are promised and images were counted: no confirmation",
        );
    };
    let (here, there) = (by_part.images_per_part, promise.calibrated_images_per_part());
    let (found, what) =
        if here < there { ("agree", "confirmation") } else { ("do not agree", "contradiction") };
    write!(
        f,
        "these parts {found}, but have {here:.1} images each and those of the calibration {there:.1}: no {what}"
    )
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        classes(f, &self.classes)?;
        writeln!(f)?;
        let mut line = |name: &str, value: &str| writeln!(f, "{name:18} {value}");
        let auroc = match self.auroc_interval {
            Some(interval) => format!("{} (95 %: {interval})", figure(self.auroc)),
            None => figure(self.auroc),
        };
        line("image AUROC", &auroc)?;
        line("average precision", &figure(self.average_precision))?;
        line("largest F1", &figure(self.f1_max))?;
        line("FPR at 100 % TPR", &percent(self.fpr_at_tpr_100))?;
        line("FPR at 99 % TPR", &percent(self.fpr_at_tpr_99))?;
        line("FPR at 95 % TPR", &percent(self.fpr_at_tpr_95))?;
        if let Some(pixel) = self.pixel {
            let about = format!("+- {:.1e}, over {} images", pixel.error_max, pixel.images);
            line("pixel AUROC", &format!("{:.4} {about}", pixel.auroc))?;
            line("pixel precision", &format!("{:.4} on average", pixel.average_precision))?;
            line("pixel largest F1", &format!("{:.4}", pixel.f1_max))?;
            line("AUPRO to FPR 0.3", &format!("{:.4}", pixel.aupro))?;
            if pixel.empty_masks > 0 {
                line("empty masks", &format!("{}, their pixels counted as good", pixel.empty_masks))?;
            }
        }
        if let Some(hits) = &self.defects {
            line("one cell", &cell(self.cell_px))?;
            line("defects hit", &hits.all.to_string())?;
            for group in &hits.by_size {
                line(&format!("  {group}"), &group.hit.to_string())?;
            }
        }
        if !self.outside_roi.is_empty() {
            line("outside the ROI", &format!("the whole defect of {} images", self.outside_roi.len()))?;
        }
        let false_regions = self.false_regions;
        if false_regions.images.of > 0 {
            line(
                "false regions",
                &format!("{}, on good images {}", false_regions.regions, false_regions.images),
            )?;
        }
        let guard_band = if self.guard_band > 0.0 {
            format!(", guard band {}, {} not decidable", self.guard_band, self.not_decidable)
        } else {
            String::new()
        };
        let regions = format!("map above {:.6}, at least {} px", self.map_threshold, self.min_area_px);
        line("a region", &regions)?;
        line("at threshold", &format!("{:.6}{guard_band}", self.threshold))?;
        line("  overkill", &self.overkill.to_string())?;
        if let Some(by_part) = self.promise.by_part {
            line("    by part", &by_part.overkill.to_string())?;
        }
        line("  escape", &self.escape.to_string())?;
        line("  promise", &self.promise.to_string())?;
        if self.not_inspected > 0 {
            line("not inspected", &format!("{}: the network gave no finite score", self.not_inspected))?;
        }
        let time = self.time_ms;
        line("time per image", &time.total.to_string())?;
        line("  pre-processing", &time.preprocess.to_string())?;
        line("  network", &time.inference.to_string())?;
        line("  regions", &time.regions.to_string())?;
        write!(f, "{:18} {}", "reading a file", time.read)
    }
}

fn classes(f: &mut fmt::Formatter<'_>, classes: &[Class]) -> fmt::Result {
    let widest = classes.iter().map(|c| c.class.chars().count()).max().unwrap_or(0).max(10);
    let heads = "images   AUROC  95 % interval         OK  not OK  undecided  not inspected";
    writeln!(f, "{:widest$}  {heads}", "class")?;
    for Class { class, images, auroc, auroc_interval, counts, .. } in classes {
        writeln!(
            f,
            "{class:widest$}  {images:6}  {:>6}  {:16}  {:5}  {:6}  {:9}  {:13}",
            figure(*auroc),
            auroc_interval.map_or("-".into(), |interval| interval.to_string()),
            counts.ok,
            counts.not_ok,
            counts.not_decidable,
            counts.not_inspected,
        )?;
    }
    Ok(())
}
