//! The images that were hardest to judge, with what the network saw in them.

use maud::{Markup, html};

use crate::calibrate::share::Percent;
use crate::evaluate::evaluation::Evaluation;
use crate::report::page::Section;
use crate::report::picture::{self, Pair};
use crate::report::{ReportError, Subject};
use crate::verdict::Outcome;

/// The good images with the highest scores, then those of each defect class with the lowest.
pub(super) fn sections(subject: Subject<'_>) -> Result<Vec<Section>, ReportError> {
    let mut sections = Vec::new();
    let good = hardest(subject, true, |_| true);
    if !good.is_empty() {
        let intro = "Highest scores first: these are, or nearly are, rejected for no fault.";
        let body = html! { p { (intro) " " (legend(subject)) } (figures(subject, &good)?) };
        sections.push(Section { id: "hard-good", heading: "Hardest good images".into(), body });
    }
    let classes: Vec<&str> = defect_classes(&subject.record.evaluation);
    if !classes.is_empty() {
        let mut body = html! { p { "Lowest scores of each class first: these do, or nearly do, escape. " (legend(subject)) } };
        for class in classes {
            let members = hardest(subject, false, |index| subject.images[index].class == class);
            body = html! { (body) h3 { (class) } (figures(subject, &members)?) };
        }
        sections.push(Section { id: "hard-defective", heading: "Hardest defective images".into(), body });
    }
    Ok(sections)
}

fn legend(subject: Subject<'_>) -> String {
    let roi =
        if subject.roi.is_some() { ". What is dark lies outside the ROI and was not inspected" } else { "" };
    format!(
        "Left the image, true defects outlined by dashes; right the same with the anomaly map as heat and the regions as \
         boxes{roi}."
    )
}

fn defect_classes(evaluation: &Evaluation) -> Vec<&str> {
    let is_defective =
        |class: &&str| evaluation.images.iter().any(|image| !image.is_good && image.class == *class);
    evaluation.classes.iter().map(|class| class.class.as_str()).filter(is_defective).collect()
}

/// Indices into the images whose maps were kept: good ones by falling, defective ones by rising score.
fn hardest(subject: Subject<'_>, is_good: bool, is_wanted: impl Fn(usize) -> bool) -> Vec<usize> {
    let score = |index: &usize| subject.judged[*index].score;
    let mut indices: Vec<usize> = (0..subject.images.len())
        .filter(|&index| subject.images[index].is_good == is_good && is_wanted(index))
        .filter(|&index| subject.judged[index].map.is_some())
        .collect();
    indices.sort_by(|a, b| {
        let order = score(a).total_cmp(&score(b));
        if is_good { order.reverse() } else { order }
    });
    indices
}

fn figures(subject: Subject<'_>, indices: &[usize]) -> Result<Markup, ReportError> {
    let figures = indices.iter().map(|&index| example(subject, index)).collect::<Result<Vec<_>, _>>()?;
    Ok(html! { div.examples { @for figure in figures { (figure) } } })
}

fn example(subject: Subject<'_>, index: usize) -> Result<Markup, ReportError> {
    let (label, judged) = (&subject.images[index], &subject.judged[index]);
    let Pair { plain, seen, width, height } =
        picture::pair(label, judged, subject.record.evaluation.map_threshold, subject.roi)?;
    let file = &subject.record.evaluation.images[index].file;
    let (verdict, is_wrong) = verdict(judged.outcome, label.is_good);
    let threshold = subject.record.evaluation.threshold;
    let outlined = if label.mask.is_some() { ", true defects outlined" } else { "" };
    let regions = match judged.regions.total {
        0 => "no region".into(),
        1 => "one region".into(),
        n => format!("{n} regions"),
    };
    Ok(html! {
        figure class={ "example" @if is_wrong { " wrong" } } {
            div.pictures {
                img src=(plain) width=(width) height=(height) alt={ "Image " (file) (outlined) };
                img src=(seen) width=(width) height=(height) alt={ "Anomaly map of " (file) ", " (regions) };
            }
            figcaption {
                strong { (verdict) }
                " · score " (format!("{:.4}", judged.score))
                @if threshold > 0.0 { " = " (Percent(judged.score / threshold).to_string()) " of the threshold" }
                " · " (regions) br;
                span.file { (file) }
            }
        }
    })
}

/// What was judged, and whether that was wrong.
fn verdict(outcome: Outcome, is_good: bool) -> (&'static str, bool) {
    match (outcome, is_good) {
        (Outcome::Good, true) => ("OK, rightly", false),
        (Outcome::Good, false) => ("OK, wrongly: escape", true),
        (Outcome::Anomalous, true) => ("not OK, wrongly: overkill", true),
        (Outcome::Anomalous, false) => ("not OK, rightly", false),
        (Outcome::Undecidable, _) => ("not decidable", false),
        (Outcome::NotInspected(_), _) => ("not inspected", false),
    }
}
