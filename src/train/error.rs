//! Why training ended without a bundle, where neither an image, the weights nor the device is to blame.

use std::io;
use std::path::PathBuf;

use crate::frame::Size;
use crate::model::backbone::BackboneKind;

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("--out {}: {problem}", .file.display())]
    Out { file: PathBuf, problem: String, source: Option<io::Error> },
    #[error("no weights of {}: {}", .kind.name(), remedy(*.kind))]
    NoWeights { kind: BackboneKind },
    #[error("image {}: is {found}, but the product's ROI is drawn on {expected}", .file.display())]
    RoiSize { file: PathBuf, found: Size, expected: Size },
    #[error("stopped before {before}; nothing was written")]
    Stopped { before: &'static str },
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
