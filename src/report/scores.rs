//! How the scores lie: good parts upwards, defective ones downwards, the threshold between them.

use maud::{Markup, html};

use crate::evaluate::evaluation::Evaluation;
use crate::report::chart::{Plot, Scale, number, px, upright};
use crate::report::page::Section;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 380.0;

/// About so many bars lie side by side.
const BARS: f64 = 48.0;

/// With more images than this in a bar, bars grow with the logarithm, so that single images are still seen.
const MOST_LINEAR: usize = 30;

/// Images whose score is above `from` and at most `to`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bar {
    from: f64,
    to: f64,
    good: usize,
    defective: usize,
}

pub(super) fn section(evaluation: &Evaluation) -> Section {
    let body = if let Some((bars, scale)) = bars(evaluation) {
        figure(evaluation, &bars, scale)
    } else {
        html! { p { "No image has a finite score." } }
    };
    Section { id: "scores", heading: "Scores".into(), body }
}

/// None if no score is finite. No bar lies on both sides of the threshold.
fn bars(evaluation: &Evaluation) -> Option<(Vec<Bar>, Scale)> {
    let scored: Vec<(f64, bool)> =
        evaluation.images.iter().filter_map(|image| Some((image.score?, image.is_good))).collect();
    let lowest = scored.iter().map(|&(score, _)| score).reduce(f64::min)?;
    let highest = scored.iter().map(|&(score, _)| score).reduce(f64::max)?;
    let threshold = evaluation.threshold;
    let low = lowest.min(threshold - evaluation.guard_band);
    let scale = Scale::fitting(low, highest.max(threshold));
    let (even_low, even_high) = (scale.even(low), scale.even(highest.max(threshold)));
    let width = if even_high > even_low { (even_high - even_low) / BARS } else { 1.0 };
    let middle = scale.even(threshold);
    #[expect(clippy::cast_possible_truncation, reason = "about fifty bars")]
    let place = |score: f64| ((scale.even(score) - middle) / width).ceil() as i32 - 1;
    let (first, last) = (place(low), place(highest).max(0));
    let edge = |i: i32| scale.value(middle + width * f64::from(i));
    let mut bars: Vec<Bar> =
        (first..=last).map(|i| Bar { from: edge(i), to: edge(i + 1), good: 0, defective: 0 }).collect();
    for (score, is_good) in scored {
        let index = usize::try_from(place(score) - first).unwrap_or(0).min(bars.len() - 1);
        if is_good { bars[index].good += 1 } else { bars[index].defective += 1 }
    }
    let (from, to) = (bars[0].from, bars[bars.len() - 1].to);
    let scale = if scale.is_log() { Scale::fitting(from, to) } else { Scale::linear(from, to) };
    Some((bars, scale))
}

fn figure(evaluation: &Evaluation, bars: &[Bar], scale: Scale) -> Markup {
    let most = bars.iter().map(|bar| bar.good.max(bar.defective)).max().unwrap_or(0);
    let is_log = most > MOST_LINEAR;
    let height = |images: usize| {
        #[expect(clippy::cast_precision_loss, reason = "counts of images")]
        let images = images as f64;
        if is_log { images.ln_1p() } else { images }
    };
    let top = 1.08 * height(most.max(1));
    let plot = Plot {
        left: 64.0,
        top: 24.0,
        width: WIDTH - 80.0,
        height: HEIGHT - 76.0,
        x: scale,
        y: Scale::linear(-top, top),
    };
    let bar = |bar: &Bar, value: f64, class: &str| {
        let (left, right) = (plot.at_x(bar.from) + 0.5, plot.at_x(bar.to) - 0.5);
        let (upper, lower) = (plot.at_y(value.max(0.0)), plot.at_y(value.min(0.0)));
        let width = (right - left).max(0.5);
        html! {
            rect class=(class) x=(px(left)) y=(px(upper)) width=(px(width)) height=(px(lower - upper)) {}
        }
    };
    let counts = ticks(most, is_log);
    let how = if is_log { "images (logarithmic)" } else { "images" };
    let along = if scale.is_log() { "score (logarithmic)" } else { "score" };
    let threshold = plot.at_x(evaluation.threshold);
    let band = plot.at_x((evaluation.threshold - evaluation.guard_band).max(bars[0].from));
    html! {
        figure {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby="scores-title" {
                title #scores-title { "Histogram of the scores: good images upwards, defective images downwards" }
                (patterns())
                @for count in counts.iter().flat_map(|&count| [(count, 1.0), (count, -1.0)]) {
                    @let y = plot.at_y(count.1 * height(count.0));
                    line.grid x1=(px(plot.left)) x2=(px(plot.right())) y1=(px(y)) y2=(px(y)) {}
                    text x=(px(plot.left - 8.0)) y=(px(y + 4.0)) text-anchor="end" { (count.0) }
                }
                @if evaluation.guard_band > 0.0 {
                    rect.band x=(px(band)) y=(px(plot.top)) width=(px(threshold - band))
                        height=(px(plot.height)) {}
                }
                @for each in bars.iter().filter(|bar| bar.good > 0) { (bar(each, height(each.good), "good")) }
                @for each in bars.iter().filter(|bar| bar.defective > 0) {
                    (bar(each, -height(each.defective), "defective"))
                }
                @let middle = px(plot.at_y(0.0));
                line.axis x1=(px(plot.left)) x2=(px(plot.right())) y1=(middle) y2=(middle) {}
                line.threshold x1=(px(threshold)) x2=(px(threshold)) y1=(px(plot.top - 8.0)) y2=(px(plot.bottom())) {}
                text x=(px(threshold)) y=(px(plot.top - 12.0)) text-anchor="middle" {
                    "threshold " (number(rounded(evaluation.threshold)))
                }
                text x=(px(plot.right())) y=(px(plot.top + 14.0)) text-anchor="end" { "good: " (evaluation.good) }
                text x=(px(plot.right())) y=(px(plot.bottom() - 8.0)) text-anchor="end" {
                    "defective: " (evaluation.defective)
                }
                (upright(20.0, plot.top + plot.height / 2.0, how))
                (plot.x_axis(along))
            }
            figcaption { (caption(evaluation)) }
        }
    }
}

/// Fillings that differ without colour.
fn patterns() -> Markup {
    html! {
        defs {
            pattern #hatch width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                line.hatch x1="0" y1="0" x2="0" y2="6" {}
            }
            pattern #dots width="5" height="5" patternUnits="userSpaceOnUse" {
                circle.dot cx="2" cy="2" r="0.9" {}
            }
        }
    }
}

/// Round numbers of images up to `most`.
fn ticks(most: usize, is_log: bool) -> Vec<usize> {
    if is_log {
        return [1, 10, 100, 1_000, 10_000, 100_000].into_iter().filter(|&count| count <= most).collect();
    }
    // Bars are no longer than this where they grow evenly.
    let most = f64::from(u8::try_from(most.max(1)).unwrap_or(u8::MAX));
    let is_whole = |tick: &f64| tick.fract() == 0.0 && *tick > 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few images")]
    Scale::linear(0.0, most).ticks().into_iter().filter(is_whole).map(|tick| tick as usize).collect()
}

fn caption(evaluation: &Evaluation) -> Markup {
    html! {
        "Scores of all images. Good ones (plain) point upwards, defective ones (hatched) downwards. What lies \
         to the right of the threshold is judged not OK."
        @if evaluation.guard_band > 0.0 {
            " What lies in the guard band (dotted) is not decided, and the gate rejects it."
        }
        @if evaluation.not_inspected > 0 {
            " Without a finite score, and not shown: " (evaluation.not_inspected) "."
        }
    }
}

/// To four significant digits.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powf(value.abs().log10().floor() - 3.0);
    (value / unit).round() * unit
}
