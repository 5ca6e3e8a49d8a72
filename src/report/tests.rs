//! The page of a small evaluation.

use std::path::Path;

use super::*;
use crate::calibrate::evidence::Obtained;
use crate::calibrate::rate::Rate;
use crate::evaluate::promise::{Answer, ByPart};
use crate::evaluate::samples::{evaluate, part, record};
use crate::model::bundle::fixture::Fixture;

const PARTS: [(&str, u8); 8] = [
    ("cra<ck>", 80),
    ("cra<ck>", 120),
    ("cra<ck>", 250),
    ("good", 10),
    ("good", 20),
    ("good", 95),
    ("good", 110),
    ("pit", 200),
];

/// The page, and that of two bundles compared.
fn pages(folder: &Path) -> [String; 2] {
    let images = PARTS.map(|(class, grey)| part(folder, class, grey));
    let (mut evaluation, judged) = evaluate(&images).unwrap();
    // As a product's rules have it: not what stands in the bundle.
    (evaluation.map_threshold, evaluation.min_area_px) = (123.25, 17.0);
    let first = record(folder, "bundles/a & \"b\".csflow", evaluation.clone());
    let second = record(folder, "c.csflow", evaluation);
    let comparison = Comparison::new(vec![first.clone(), second]).unwrap();
    let manifest = Fixture::new().manifest;
    [None, Some(&comparison)].map(|comparison| {
        let subject = Subject {
            record: &first,
            manifest: &manifest,
            images: &images,
            judged: &judged,
            roi: None,
            comparison,
        };
        page(subject).unwrap().html()
    })
}

/// Pictures left out, one element a line.
fn readable(html: &str) -> String {
    let mut parts = html.split("data:image/jpeg;base64,");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        text += "JPEG";
        text += &part[part.find('"').unwrap()..];
    }
    text.replace("><", ">\n<")
}

/// The section of this name.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let start = page.find(&format!("<section id=\"{id}\"")).unwrap();
    let length = page[start..].find("</section>").unwrap();
    &page[start..start + length]
}

#[test]
fn the_page_says_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let [page, _] = pages(folder.path()).map(|page| readable(&page));
    for id in ["summary", "scores", "roc", "figures", "classes", "defects", "not-inspected", "hard-good"] {
        insta::assert_snapshot!(id, section(&page, id));
    }
    insta::assert_snapshot!("hard-defective", section(&page, "hard-defective"));
    let provenance = section(&page, "provenance");
    for known in [
        "line &amp; lot.toml",
        "7e577e57",
        "pyramid of 3 scales",
        "kernels [1, 3], 2 hidden channels",
        "<dd>mean</dd>",
        "4 of 4 images, held out from training",
        "none: there are too few parts",
        "<dd>2 of 3</dd>",
        "<dd>none</dd>",
        "<dd>123.25</dd>",
        "<dd>17 pixels</dd>",
        "3f9a1c2e3f9a",
        "0123abcd0123",
        "csflowd train",
        "cpu, f32",
        "cuda:0, f16",
        "tiny, efficientnet_lite0 at 128x128",
    ] {
        assert!(provenance.contains(known), "{known} in {provenance}");
    }
    assert!(section(&page, "defects").contains("One cell is 4x2 px of the frame."));
    assert!(page.contains("<html lang=\"en\">") && page.contains("Released by"));
}

#[test]
fn bundles_compared_stand_in_one_table_and_one_chart() {
    let folder = tempfile::tempdir().unwrap();
    let [_, page] = pages(folder.path()).map(|page| readable(&page));
    let table = section(&page, "comparison");
    assert!(table.contains("c.csflow (3f9a1c2e)") && table.contains("less that of A"), "{table}");
    let chart = section(&page, "roc");
    assert_eq!(chart.matches("stroke-dasharray=\"8 4\"").count(), 4, "{chart}");
    assert!(chart.contains("The circle is the threshold of A, its arms"), "{chart}");
}

#[test]
fn a_promise_from_folds_is_not_said_to_rest_on_unseen_parts() {
    let folder = tempfile::tempdir().unwrap();
    let images = PARTS.map(|(class, grey)| part(folder.path(), class, grey));
    let (mut evaluation, _) = evaluate(&images).unwrap();
    let text = |evaluation: &_| summary::section(evaluation, &[]).body.into_string();
    let held_out = text(&evaluation);
    assert!(held_out.contains("from 2 good parts that the network was not trained on."), "{held_out}");
    assert!(held_out.contains("The 1 % asked for is not guaranteed"), "{held_out}");
    assert!(!held_out.contains("Good parts of this test"), "{held_out}");
    evaluation.promise.by_part = Some(ByPart { overkill: Rate::new(1, 3), images_per_part: 4.0 / 3.0 });
    evaluation.promise.answer = Answer::OtherUnit;
    let by_part = text(&evaluation);
    assert!(by_part.contains("with an image judged not OK: 1 of 3 = 33.3 %"), "{by_part}");
    assert!(by_part.contains("A part has 1.3 images here and 1.0 in the calibration."), "{by_part}");
    assert!(by_part.contains(">not tested<") && by_part.contains("another number"), "{by_part}");
    evaluation.promise.obtained = Obtained::Folds { k: 5 };
    evaluation.promise.answer = Answer::Known;
    let folds = text(&evaluation);
    assert!(!folds.contains("that the network was not trained on"), "{folds}");
    assert!(folds.contains("The network of the bundle was trained on all of them"), "{folds}");
    assert!(folds.contains("is not guaranteed") && folds.contains(">not tested<"), "{folds}");
}

#[test]
fn nothing_in_the_page_comes_from_elsewhere_or_runs() {
    let folder = tempfile::tempdir().unwrap();
    for page in pages(folder.path()) {
        let lower = page.to_lowercase();
        for never in ["http:", "https:", "<script", "javascript:", "@import", "<link", "<iframe", "onload"] {
            assert!(!lower.contains(never), "{never}");
        }
        for source in page.split("src=\"").skip(1) {
            assert!(source.starts_with("data:image/jpeg;base64,"), "{}", &source[..40]);
        }
        let name = "cra&lt;ck&gt;_80.png";
        assert!(page.contains(name) && !page.contains("<ck>"), "a name is not escaped");
        assert!(page.contains("<title>Evaluation of a &amp; &quot;b&quot;.csflow</title>"));
        let images = page.matches("<img ").count();
        assert!(images > 0 && page.matches(" alt=\"").count() == images, "an image has no text");
    }
}

#[test]
fn a_test_set_of_one_kind_has_a_page_too() {
    let folder = tempfile::tempdir().unwrap();
    for parts in [&PARTS[3..7], &PARTS[..3], &PARTS[2..3]] {
        let images: Vec<Labelled> =
            parts.iter().map(|&(class, grey)| part(folder.path(), class, grey)).collect();
        let (evaluation, judged) = evaluate(&images).unwrap();
        let record = record(folder.path(), "a.csflow", evaluation);
        let manifest = Fixture::new().manifest;
        let subject = Subject {
            record: &record,
            manifest: &manifest,
            images: &images,
            judged: &judged,
            roi: None,
            comparison: None,
        };
        let out = folder.path().join(format!("deep/{}", parts.len()));
        prepare(&out).unwrap();
        assert!(!out.join(FILE).exists(), "nothing was evaluated yet");
        let page = std::fs::read_to_string(write(&out, subject).unwrap()).unwrap();
        assert!(page.contains("There are no ") && !page.contains("NaN") && !page.contains("inf\""), "{page}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(prepare(&file).unwrap_err().to_string().ends_with("file: cannot be made"));
    std::fs::create_dir_all(folder.path().join("full").join(FILE)).unwrap();
    let error = prepare(&folder.path().join("full")).unwrap_err();
    assert!(error.to_string().ends_with("index.html: cannot be written"));
}
