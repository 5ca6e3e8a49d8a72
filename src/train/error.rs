//! Why training ended without a bundle, where neither an image, the weights nor the device is to blame.

use std::io;
use std::path::PathBuf;

use crate::frame::Size;
use crate::model::backbone::BackboneKind;

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("no weights of {}: {}", .kind.name(), remedy(*.kind))]
    NoWeights { kind: BackboneKind },
    #[error(
        "features need {} in {}: make room there, or name another folder in TMPDIR", gigabytes(*.bytes),
        .folder.display()
    )]
    NoRoom { folder: PathBuf, bytes: u64, source: io::Error },
    #[error("--from {}: {problem}", .file.display())]
    From { file: PathBuf, problem: String },
    #[error("{problem}: {remedy}")]
    Division { problem: String, remedy: &'static str },
    #[error(
        "{} is called defective, but {}, the same picture, is to be trained on as good: decide which it is, or train \
         all the same with --force", .defective.display(), .good.display()
    )]
    Contradiction { defective: PathBuf, good: PathBuf },
    #[error(
        "{} holds an interrupted training with other settings ({differences}): go on with those, or start anew with \
         --restart", .file.display()
    )]
    OtherSettings { file: PathBuf, differences: String },
    #[error("{} should hold an interrupted training but cannot be read: start anew with --restart", .file.display())]
    DamagedState { file: PathBuf },
    #[error("cannot keep the state of the training in {}", .file.display())]
    KeepState { file: PathBuf, source: io::Error },
    #[error("image {}: is {found}, but the product's ROI is drawn on {expected}", .file.display())]
    RoiSize { file: PathBuf, found: Size, expected: Size },
    #[error("stopped before {before}; nothing was written")]
    Stopped { before: &'static str },
    #[error("stopped before {before}; no bundle was written, and the same command goes on from here")]
    Interrupted { before: &'static str },
    #[error(
        "the loss is {value} at step {step} of epoch {epoch}: training diverged, nothing was written; look for broken \
         images among the good ones"
    )]
    Diverged { value: f64, step: usize, epoch: usize },
}

fn remedy(kind: BackboneKind) -> &'static str {
    match kind {
        BackboneKind::EfficientnetB5 => {
            "convert torchvision's with scripts/weights.py and give them by --backbone-weights"
        }
        BackboneKind::EfficientnetLite0
        | BackboneKind::EfficientnetLite1
        | BackboneKind::EfficientnetLite2 => "run `make setup`, or give them by --backbone-weights",
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn gigabytes(bytes: u64) -> String {
    let gigabytes = bytes as f64 / 1e9;
    if gigabytes < 1000.0 { format!("{gigabytes:.1} GB") } else { format!("{:.1} TB", gigabytes / 1e3) }
}
