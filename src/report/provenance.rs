//! Everything that is needed to find these figures again.

use maud::{Markup, html};

use crate::calibrate::Guarantee;
use crate::calibrate::evidence::Obtained;
use crate::calibrate::share::Percent;
use crate::evaluate::record::Record;
use crate::model::bundle::manifest::{FORMAT, Manifest};
use crate::model::score::scoring::Fusion;
use crate::report::page::Section;

type Rows = Vec<(&'static str, String)>;

pub(super) fn section(record: &Record, manifest: &Manifest) -> Section {
    let body = html! {
        (group("This evaluation", evaluation(record)))
        (group("Bundle", bundle(record, manifest)))
        (group("Rules", rules(record, manifest)))
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
        ("Product file", or_none(about.product.as_ref())),
        ("SHA-256 of the ROI", or_none(about.roi_sha256.as_ref())),
        ("Command", about.command.clone()),
        ("Software", format!("{}, libtorch {}", about.software, about.libtorch)),
        ("Device and precision", format!("{}, {}", about.device, about.precision)),
        ("Those of the calibration", about.calibrated_on.join(" and ")),
    ]
}

fn bundle(record: &Record, manifest: &Manifest) -> Rows {
    let (architecture, scoring) = (&manifest.architecture, &manifest.scoring);
    let flow = &architecture.flow;
    let fusion = match scoring.fusion {
        Fusion::Mean => "mean",
        Fusion::Normalised(_) => "normalised",
    };
    let side = architecture.input_px;
    let network =
        format!("{}, {} at {side}x{side} pixels", architecture.preset, architecture.backbone.name());
    vec![
        ("File", record.about.bundle.clone()),
        ("SHA-256", record.about.bundle_sha256.clone()),
        ("Format", FORMAT.to_string()),
        ("Network", network),
        ("Features", format!("{} of {} scales", architecture.features.name(), flow.scales())),
        ("Flow", format!("kernels {:?}, {} hidden channels", flow.kernels, flow.hidden)),
        ("Whitening", yes(architecture.whitened)),
        ("Score", scoring.score.to_string()),
        ("Fusion of the scales", fusion.into()),
        ("Positions", yes(scoring.positions.used)),
        ("SHA-256 of the backbone", manifest.provenance.backbone_sha256.clone()),
    ]
}

/// What was judged by, and where that comes from.
fn rules(record: &Record, manifest: &Manifest) -> Rows {
    let (evaluation, calibration) = (&record.evaluation, &manifest.calibration);
    let obtained = match calibration.obtained {
        Obtained::HeldOut => "held out from training".into(),
        Obtained::Folds { k } => format!("judged in {k} folds"),
    };
    let guarantee = match calibration.guarantee {
        Guarantee::Exact => "for any law of the scores",
        Guarantee::CrossConformal => "if the network scores new parts as the folds' networks do",
        Guarantee::None => "none: there are too few parts",
    };
    let parts = format!("{} of {} images, {obtained}", calibration.n, calibration.n_images());
    vec![
        ("Threshold", format!("{}, guard band {}", evaluation.threshold, evaluation.guard_band)),
        ("Map threshold", evaluation.map_threshold.to_string()),
        ("Smallest region", format!("{} pixels", evaluation.min_area_px)),
        ("Parts of the calibration", parts),
        ("Overkill asked for", Percent(calibration.target_overkill).to_string()),
        ("Guarantee of it", guarantee.into()),
        ("Changes of the calibration since training", calibration.changes.len().to_string()),
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
        ("Folds", if training.folds == 0 { "none".into() } else { training.folds.to_string() }),
        ("Epoch kept", format!("{} of {}", training.epoch_kept, training.epochs_asked)),
        ("Augmentation", or_none(training.augmentation.as_ref())),
        ("Warm start from SHA-256", or_none(training.warm_start.as_ref())),
        ("Seed", training.seed.to_string()),
        ("Made", training.created.clone()),
        ("Command", training.command.clone()),
        ("Software", format!("{}, libtorch {}", training.software, training.libtorch)),
    ]
}

fn or_none(text: Option<&String>) -> String {
    text.map_or("none".into(), Clone::clone)
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.into()
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
    term.starts_with("SHA-256") || matches!(term, "Command" | "File" | "Test set" | "Product file")
}
