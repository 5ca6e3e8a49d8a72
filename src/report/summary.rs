//! What a reader in a hurry must know: how many good images are rejected, how many defective ones pass, and whether
//! the calibration kept its promise.

use maud::{Markup, html};

use crate::calibrate::Guarantee;
use crate::calibrate::evidence::Obtained;
use crate::calibrate::rate::Rate;
use crate::calibrate::share::{Bound, Percent};
use crate::evaluate::check::Note;
use crate::evaluate::evaluation::{Evaluation, Image};
use crate::evaluate::promise::{Answer, Promise};
use crate::report::page::Section;
use crate::verdict;

pub(super) fn section(evaluation: &Evaluation, notes: &[Note]) -> Section {
    let body = html! {
        p.answer { (answer(evaluation)) }
        div.cards {
            (card("Overkill", "good images judged not OK", evaluation.overkill))
            (card("Escape", "defective images judged OK", evaluation.escape))
            (promise(evaluation.promise))
        }
        @if evaluation.guard_band > 0.0 {
            p {
                (images(evaluation.not_decidable)) " in the guard band: not decided, so rejected by the gate. These \
                 count neither as overkill nor as escape."
            }
        }
        @if evaluation.not_inspected > 0 {
            p {
                strong { (images(evaluation.not_inspected)) " not inspected" }
                ": the network gave no finite score, so the gate rejects what they show."
            }
        }
        @if !notes.is_empty() {
            ul.notes { @for note in notes { li { (note.to_string()) } } }
        }
    };
    Section { id: "summary", heading: "Summary".into(), body }
}

fn answer(evaluation: &Evaluation) -> String {
    let is_passed = |image: &&Image| image.is_good && image.evaluation == verdict::Evaluation::Ok as u8;
    let passed = evaluation.images.iter().filter(is_passed).count();
    let stopped = evaluation.defective - evaluation.escape.count;
    let good = format!("{passed} of {} good images pass", evaluation.good);
    let defective = format!("{stopped} of {} defective images are stopped", evaluation.defective);
    match (evaluation.good, evaluation.defective) {
        (0, _) => format!("{defective}. There are no good images in this test."),
        (_, 0) => format!("{good}. There are no defective images in this test."),
        (_, _) => format!("{good}, {defective}."),
    }
}

fn card(name: &str, what: &str, rate: Rate) -> Markup {
    html! {
        div.card {
            h3 { (name) }
            @match rate.rate {
                Some(share) => {
                    p.big { (Percent(share).to_string()) }
                    p { (rate.count) " of " (rate.of) " " (what) }
                    @if let Some(limits) = rate.limits { p { "95 % interval: " (limits.to_string()) } }
                }
                None => {
                    p.big { "-" }
                    p { (what) ": there are none to count" }
                }
            }
        }
    }
}

fn promise(promise: Promise) -> Markup {
    let (word, why) = match promise.answer {
        Answer::Confirmed => ("confirmed", "The whole interval of the overkill lies within the promise."),
        Answer::Consistent => {
            ("not contradicted", "The images agree with it, but are too few to confirm it.")
        }
        Answer::Contradicted => (
            "not kept",
            "More good images are rejected than it allows. These images are unlike those of the calibration: find out \
             what has changed, and calibrate again.",
        ),
        Answer::OtherUnit if promise.by_part.is_some() => (
            "not tested",
            "It is about parts of as many images as those of the calibration, and these have another number: the more \
             images a part has, the more often it is rejected.",
        ),
        Answer::OtherUnit => (
            "not contradicted",
            "The images agree with it, but it is about parts, each of several images, and here images were counted: \
             that confirms nothing.",
        ),
        Answer::Known => (
            "not tested",
            "The network was trained on some of these good images, or the threshold rests on them: that they keep the \
             promise is no news.",
        ),
        Answer::NoGoodImages => ("not tested", "There are no good images in this test."),
        Answer::OtherThreshold => {
            ("not asked", "The product has a threshold of its own, of which the calibration says nothing.")
        }
    };
    let is_broken = promise.answer == Answer::Contradicted;
    html! {
        div class={ "card" @if is_broken { " bad" } } {
            h3 { "Promise of the calibration" }
            p.big { (word) }
            p {
                "At most " (Bound(promise.overkill_max).to_string()) " overkill, with "
                (Percent(promise.confidence).to_string()) " confidence, from " (promise.parts) " good parts"
                @if promise.images != promise.parts { " (" (promise.images) " images)" }
                @match promise.obtained {
                    Obtained::HeldOut => " that the network was not trained on.",
                    Obtained::Folds { k } => {
                        ", each judged by that one of " (k) " networks that was not trained on it. The network of the \
                         bundle was trained on all of them: the promise rests on its scoring new parts as those \
                         networks do, which is assumed and not proven."
                    }
                }
            }
            @if promise.guarantee == Guarantee::None {
                p { "The " (Percent(promise.target_overkill).to_string()) " asked for is not guaranteed: that takes more \
                    parts." }
            }
            @if let Some(by_part) = promise.by_part {
                p {
                    "Good parts of this test with an image judged not OK: " (by_part.overkill.to_string()) ". A part has "
                    (format!("{:.1}", by_part.images_per_part)) " images here and "
                    (format!("{:.1}", promise.calibrated_images_per_part())) " in the calibration."
                }
            }
            p { (why) }
        }
    }
}

fn images(n: usize) -> String {
    if n == 1 { "1 image".into() } else { format!("{n} images") }
}
