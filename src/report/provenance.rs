//! Everything that is needed to find these figures again.

use maud::{Markup, html};

use crate::evaluate::record::Record;
use crate::model::bundle::manifest::{FORMAT, Manifest};
use crate::report::page::Section;

type Rows = Vec<(&'static str, String)>;

pub(super) fn section(record: &Record, manifest: &Manifest) -> Section {
    let body = html! {
        (group("This evaluation", evaluation(record)))
        (group("Bundle", bundle(record, manifest)))
        (group("Training", training(manifest)))
    };
    Section { id: "provenance", heading: "Provenance".into(), body }
}

fn evaluation(record: &Record) -> Rows {
    let about = &record.about;
    vec![
        ("Test set", about.data.clone()),
        ("SHA-256 of its images and masks", about.data_sha256.clone()),
        ("Made", about.created.clone()),
        ("Command", about.command.clone()),
        ("Software", format!("{}, libtorch {}", about.software, about.libtorch)),
        ("Device and precision", format!("{}, {}", about.device, about.precision)),
    ]
}

fn bundle(record: &Record, manifest: &Manifest) -> Rows {
    let (architecture, evaluation) = (&manifest.architecture, &record.evaluation);
    let side = architecture.input_px;
    let network =
        format!("{}, {} at {side}x{side} pixels", architecture.preset, architecture.backbone.name());
    vec![
        ("File", record.about.bundle.clone()),
        ("SHA-256", record.about.bundle_sha256.clone()),
        ("Format", FORMAT.to_string()),
        ("Network", network),
        ("SHA-256 of the backbone", manifest.provenance.backbone_sha256.clone()),
        ("Threshold", format!("{}, guard band {}", evaluation.threshold, evaluation.guard_band)),
        ("Map threshold", manifest.calibration.map_threshold.to_string()),
    ]
}

fn training(manifest: &Manifest) -> Rows {
    let training = &manifest.provenance;
    let images = format!(
        "{} trained on, {} watched, {} held out for calibration",
        training.trained_on, training.watched, training.held_out
    );
    vec![
        ("Good images", images),
        ("SHA-256 of the images", training.data_sha256.clone()),
        ("Seed", training.seed.to_string()),
        ("Made", training.created.clone()),
        ("Command", training.command.clone()),
        ("Software", format!("{}, libtorch {}", training.software, training.libtorch)),
    ]
}

fn group(name: &str, rows: Rows) -> Markup {
    html! {
        h3 { (name) }
        dl { @for (term, value) in rows {
            dt { (term) }
            dd class=[is_code(term).then_some("code")] { (value) }
        } }
    }
}

/// What is set in a font of even width.
fn is_code(term: &str) -> bool {
    term.starts_with("SHA-256") || matches!(term, "Command" | "File" | "Test set")
}
