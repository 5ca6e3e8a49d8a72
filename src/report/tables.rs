//! The figures in rows and columns.

use maud::{Markup, html};

use crate::calibrate::rate::{Limits, Rate};
use crate::evaluate::compare::{Comparison, letter};
use crate::evaluate::defects::Hits;
use crate::evaluate::delong::Interval;
use crate::evaluate::evaluation::{Class, Evaluation, FalseRegions};
use crate::evaluate::table::{cell, figure, percent};
use crate::report::chart;
use crate::report::page::Section;

/// Figures that do not depend on the threshold, and the time.
pub(super) fn figures(evaluation: &Evaluation) -> Section {
    let auroc_limits = evaluation.auroc_interval.map(|limits| format!("95 %: {limits}"));
    let mut rows = vec![
        ("Image AUROC", figure(evaluation.auroc), auroc_limits.unwrap_or_default()),
        ("Average precision", figure(evaluation.average_precision), String::new()),
        ("Largest F1", figure(evaluation.f1_max), "at the best of all thresholds".into()),
    ];
    for (name, value, found) in [
        ("False positives at 100 % found", evaluation.fpr_at_tpr_100, "all defective ones"),
        ("False positives at 99 % found", evaluation.fpr_at_tpr_99, "99 % of them"),
        ("False positives at 95 % found", evaluation.fpr_at_tpr_95, "95 % of them"),
    ] {
        rows.push((name, percent(value), format!("good images rejected to find {found}")));
    }
    if let Some(pixel) = evaluation.pixel {
        let empty = match pixel.empty_masks {
            0 => String::new(),
            masks => format!(", of which {masks} have an empty mask"),
        };
        let note = format!("within {:.0e}, over {} images{empty}", pixel.error_max, pixel.images);
        rows.extend([
            ("Pixel AUROC", figure(Some(pixel.auroc)), note),
            ("Pixel average precision", figure(Some(pixel.average_precision)), String::new()),
            ("Pixel largest F1", figure(Some(pixel.f1_max)), String::new()),
            (
                "AUPRO",
                figure(Some(pixel.aupro)),
                "per-region overlap, to a false positive rate of 0.3".into(),
            ),
        ]);
    }
    let FalseRegions { regions, images } = evaluation.false_regions;
    if images.of > 0 {
        let note = format!("on {} of {} good images", images.count, images.of);
        rows.push(("False regions", regions.to_string(), note));
    }
    let time = evaluation.time_ms;
    rows.extend([
        (
            "Time per image",
            format!("{:.1} ms", time.total.p50),
            format!("median; 99 %: {:.1} ms", time.total.p99),
        ),
        (
            "Time in the network",
            format!("{:.1} ms", time.inference.p50),
            format!("pre-processing {:.1} ms, regions {:.1} ms", time.preprocess.p50, time.regions.p50),
        ),
    ]);
    let body = html! {
        table {
            thead { tr { th scope="col" { "Figure" } th.n scope="col" { "Value" } th scope="col" { "Remark" } } }
            tbody { @for (name, value, remark) in rows {
                tr { th scope="row" { (name) } td.n { (value) } td { (remark) } }
            } }
        }
    };
    Section { id: "figures", heading: "Figures".into(), body }
}

pub(super) fn classes(evaluation: &Evaluation) -> Section {
    let body = html! {
        div.scroll { table {
            caption {
                "Each defect class alone against all good images. Wrong: good images judged not OK, defective \
                 images judged OK. In brackets and as bars the 95 % limits; bars run from 0 to 1."
            }
            thead { tr {
                th scope="col" { "Class" }
                @for head in ["Images", "AUROC"] { th.n scope="col" { (head) } }
                th scope="col" { "Limits" }
                @for head in ["OK", "Not OK", "Undecided", "Not inspected", "Wrong"] { th.n scope="col" { (head) } }
            } }
            tbody { @for class in &evaluation.classes { (class_row(class)) } }
        } }
    };
    Section { id: "classes", heading: "Classes".into(), body }
}

fn class_row(class: &Class) -> Markup {
    let Class { class: name, images, auroc, auroc_interval, counts, wrong } = class;
    html! {
        tr {
            th scope="row" { (name) }
            td.n { (images) }
            td.n {
                (figure(*auroc))
                @if let Some(Interval { low, high }) = auroc_interval { br; (format!("({low:.3} to {high:.3})")) }
            }
            td.forest {
                @if let Some(Interval { low, high }) = auroc_interval {
                    (chart::interval(*auroc, (*low, *high)))
                }
            }
            @for count in [counts.ok, counts.not_ok, counts.not_decidable, counts.not_inspected] {
                td.n { (count) }
            }
            td.n { (share(*wrong)) }
        }
    }
}

pub(super) fn defects(hits: &Hits, evaluation: &Evaluation) -> Section {
    let rows = hits.by_size.iter().map(|group| (group.to_string(), group.hit));
    let rows: Vec<(String, Rate)> = std::iter::once(("all".into(), hits.all)).chain(rows).collect();
    let body = html! {
        table {
            caption {
                "Single defects, as the masks show them, that a region lies on, by their area as a multiple of the \
                 area of one cell of the network. What is much smaller than a cell is hard to see. One cell is "
                (cell(evaluation.cell_px)) "."
                @if !evaluation.outside_roi.is_empty() {
                    " Defects outside the ROI are left out: in " (evaluation.outside_roi.len()) " images there is no other."
                }
            }
            thead { tr {
                th scope="col" { "Size" }
                @for head in ["Defects", "Hit", "Share"] { th.n scope="col" { (head) } }
                th scope="col" { "Limits" }
            } }
            tbody { @for (name, hit) in rows { tr {
                th scope="row" { (name) } td.n { (hit.of) } td.n { (hit.count) } td.n { (share(hit)) }
                td.forest { @if let Some(Limits { low, high }) = hit.limits { (chart::interval(hit.rate, (low, high))) } }
            } } }
        }
    };
    Section { id: "defects", heading: "Defects by size".into(), body }
}

pub(super) fn comparison(comparison: &Comparison) -> Section {
    let body = html! {
        ul { @for (i, record) in comparison.bundles.iter().enumerate() {
            @let short = record.about.bundle_sha256.get(..8).unwrap_or_default();
            li { strong { (letter(i)) } " " (record.about.bundle) " (" (short) ")" }
        } }
        div.scroll { table {
            caption {
                "The same images judged by each bundle. The differences of AUROC come with DeLong's 95 % limits and \
                 the chance p of one at least as large if the true areas were equal."
            }
            thead { tr {
                th scope="col" { "Figure" }
                @for i in 0..comparison.bundles.len() { th.n scope="col" { (letter(i)) } }
            } }
            tbody { @for (name, cells) in comparison.rows() {
                tr class=[name.starts_with(' ').then_some("sub")] {
                    th scope="row" { (name.trim()) }
                    @for cell in cells { td.n { (cell) } }
                }
            } }
        } }
    };
    Section { id: "comparison", heading: "Comparison".into(), body }
}

/// None if all were inspected.
pub(super) fn not_inspected(evaluation: &Evaluation) -> Option<Section> {
    let mut images = evaluation.images.iter().filter(|image| image.score.is_none()).peekable();
    images.peek()?;
    let body = html! {
        table {
            caption { "The network gave no finite score for these." }
            thead { tr { th scope="col" { "Class" } th scope="col" { "Image" } } }
            tbody { @for image in images { tr { th scope="row" { (image.class) } td.code { (image.file) } } } }
        }
    };
    Some(Section { id: "not-inspected", heading: "Images not inspected".into(), body })
}

fn share(rate: Rate) -> Markup {
    html! {
        (percent(rate.rate))
        @if let Some(limits) = rate.limits { br; "(" (limits.to_string()) ")" }
    }
}
