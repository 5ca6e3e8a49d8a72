//! The ROC curve, whole and where few good parts are rejected.

use maud::{Markup, html};

use crate::calibrate::rate::{Limits, Rate};
use crate::evaluate::compare::{Comparison, letter};
use crate::evaluate::evaluation::{Evaluation, Image};
use crate::evaluate::metrics::Curve;
use crate::report::chart::{Plot, Scale, px};
use crate::report::page::Section;
use crate::verdict;

/// The right chart ends here.
const FPR_ZOOMED: f64 = 0.1;

struct Drawn {
    name: String,
    /// Dashes and gaps, which tell curves apart without colour.
    stroke: String,
    corners: Vec<(f64, f64)>,
}

/// None unless there are good and defective images.
pub(super) fn section(evaluation: &Evaluation, comparison: Option<&Comparison>) -> Option<Section> {
    let evaluations: Vec<&Evaluation> = match comparison {
        Some(comparison) => comparison.bundles.iter().map(|record| &record.evaluation).collect(),
        None => vec![evaluation],
    };
    let drawn: Vec<Drawn> = evaluations
        .iter()
        .enumerate()
        .map(|(i, evaluation)| Drawn { name: letter(i), stroke: dashes(i), corners: corners(evaluation) })
        .collect();
    if drawn[0].corners.is_empty() {
        return None;
    }
    let stopped = Rate::new(not_ok(evaluation), evaluation.defective);
    let point = (evaluation.overkill, stopped);
    // As much of the height as the curves and the point need, the interesting part large.
    let start =
        |drawn: &Drawn| drawn.corners.iter().find(|corner| corner.0 > 0.0).map_or(1.0, |corner| corner.1);
    let lowest = drawn.iter().map(start).fold(limits(stopped).low, f64::min);
    let floor = [0.95, 0.9, 0.8, 0.5, 0.0].into_iter().find(|&floor| floor < lowest).unwrap_or(0.0);
    let body = html! {
        figure {
            div.pair {
                (chart("roc-whole", "ROC curve", &drawn, point, (1.0, 0.0)))
                (chart("roc-zoomed", "ROC curve, low false positive rates", &drawn, point, (FPR_ZOOMED, floor)))
            }
            figcaption {
                "Share of defective images found over share of good images rejected, for every possible threshold; to the \
                 right the part up to " (FPR_ZOOMED) ". The circle is the threshold of "
                @if drawn.len() > 1 { (letter(0)) } @else { "the bundle" }
                ", its arms are the exact 95 % limits."
                @if drawn.len() > 1 { " The letters are those of the comparison." }
            }
        }
    };
    Some(Section { id: "roc", heading: "ROC curve".into(), body })
}

/// No two curves have the same: from the fifth on, a dash and ever more dots.
fn dashes(curve: usize) -> String {
    match curve {
        0 => "none".into(),
        1 => "8 4".into(),
        2 => "2 3".into(),
        3 => "5 5".into(),
        n => format!("10 3{}", " 2 3".repeat(n - 3)),
    }
}

fn corners(evaluation: &Evaluation) -> Vec<(f64, f64)> {
    let scored = evaluation.images.iter().map(|image| (image.ranked(), !image.is_good));
    Curve::new(scored).roc()
}

/// All, where nothing is known.
fn limits(rate: Rate) -> Limits {
    rate.limits.unwrap_or(Limits { low: 0.0, high: 1.0 })
}

fn not_ok(evaluation: &Evaluation) -> usize {
    let is_found = |image: &&Image| !image.is_good && image.evaluation == verdict::Evaluation::NotOk as u8;
    evaluation.images.iter().filter(is_found).count()
}

fn chart(id: &str, title: &str, drawn: &[Drawn], point: (Rate, Rate), (right, floor): (f64, f64)) -> Markup {
    let plot = Plot {
        left: 60.0,
        top: 12.0,
        width: 360.0,
        height: 300.0,
        x: Scale::linear(0.0, right),
        y: Scale::linear(floor, 1.0),
    };
    let clip = format!("{id}-clip");
    let (overkill, stopped) = point;
    let at = (plot.at_x(overkill.rate.unwrap_or(0.0)), plot.at_y(stopped.rate.unwrap_or(0.0)));
    let arms = (
        (plot.at_x(limits(overkill).low), plot.at_x(limits(overkill).high)),
        (plot.at_y(limits(stopped).low), plot.at_y(limits(stopped).high)),
    );
    html! {
        svg viewBox="0 0 440 362" role="img" aria-labelledby={ (id) "-title" } {
            title id={ (id) "-title" } { (title) }
            defs { clipPath id=(clip) {
                rect x=(px(plot.left)) y=(px(plot.top - 3.0)) width=(px(plot.width + 3.0))
                    height=(px(plot.height + 3.0)) {}
            } }
            (plot.y_axis("defective images found"))
            (plot.x_axis("good images rejected"))
            g clip-path={ "url(#" (clip) ")" } {
                @for (i, one) in drawn.iter().enumerate() {
                    (stroke(i, one, &plot.path(&one.corners)))
                }
                line.reach x1=(px((arms.0).0)) x2=(px((arms.0).1)) y1=(px(at.1)) y2=(px(at.1)) {}
                line.reach x1=(px(at.0)) x2=(px(at.0)) y1=(px((arms.1).0)) y2=(px((arms.1).1)) {}
                circle.mark cx=(px(at.0)) cy=(px(at.1)) r="4.5" {}
            }
            @if drawn.len() > 1 { (legend(&plot, drawn)) }
        }
    }
}

fn stroke(i: usize, one: &Drawn, path: &str) -> Markup {
    html! {
        path class={ "curve" @if i > 0 { " other" } } stroke-dasharray=(&one.stroke) d=(path) {}
    }
}

fn legend(plot: &Plot, drawn: &[Drawn]) -> Markup {
    let right = plot.right() - 8.0;
    html! {
        @for (i, one) in drawn.iter().enumerate() {
            @let y = plot.bottom() - 14.0 * f64::from(u32::try_from(drawn.len() - i).unwrap_or(0)) + 2.0;
            (stroke(i, one, &format!("M{} {}H{}", px(right - 70.0), px(y - 4.0), px(right - 30.0))))
            text x=(px(right - 22.0)) y=(px(y)) { (one.name) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_curves_are_drawn_alike() {
        assert_eq!((0..12).map(dashes).collect::<BTreeSet<_>>().len(), 12);
        assert_eq!(dashes(5), "10 3 2 3 2 3");
    }
}
