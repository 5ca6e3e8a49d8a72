//! An evaluation with everything that is needed to do it again.

use serde::Serialize;

use crate::evaluate::check::Note;
use crate::evaluate::evaluation::Evaluation;

/// What is printed as JSON, and what a report is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    pub about: About,
    /// What the reader should know of the test set.
    pub notes: Vec<Note>,
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// With what the figures were found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct About {
    /// As it was given.
    pub bundle: String,
    pub bundle_sha256: String,
    /// The product file whose rules held, as it was given; absent where the bundle's did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Of its region of interest; absent where the whole picture counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roi_sha256: Option<String>,
    /// As it was given.
    pub data: String,
    /// Over names and contents of all images and masks of the test.
    pub data_sha256: String,
    pub device: String,
    pub precision: String,
    /// What computed the scores that the threshold rests on, each as its device and precision: mostly one.
    pub calibrated_on: Vec<String>,
    pub software: String,
    pub libtorch: String,
    pub command: String,
    /// RFC 3339, UTC.
    pub created: String,
}
