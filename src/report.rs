//! An evaluation as one page for people: it needs nothing but itself, prints well and reads without colour.
//!
//! A page is a list of sections; each knows one thing about the evaluation. Charts are drawn by `chart`, pictures by
//! `picture`. All text from outside is escaped by the template library.

mod chart;
mod examples;
mod page;
mod picture;
mod provenance;
mod roc;
mod scores;
mod summary;
mod tables;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::dataset::Labelled;
use crate::evaluate::Judged;
use crate::evaluate::compare::Comparison;
use crate::evaluate::pixels::MaskError;
use crate::evaluate::record::Record;
use crate::image_file::ImageFileError;
use crate::model::bundle::manifest::Manifest;
use crate::report::page::Page;
use crate::roi::Roi;

/// The name of the page in its folder.
pub const FILE: &str = "index.html";

/// What a report is made of. `judged` belongs to `images`, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub record: &'a Record,
    pub manifest: &'a Manifest,
    pub images: &'a [Labelled],
    pub judged: &'a [Judged],
    /// What counted of each image; None is the whole.
    pub roi: Option<&'a Roi>,
    /// With other bundles, if there are any.
    pub comparison: Option<&'a Comparison>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("report folder {}: cannot be made", .folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("report {}: cannot be written", .file.display())]
    Write { file: PathBuf, source: io::Error },
    #[error("a picture for the report cannot be read")]
    Image(#[from] ImageFileError),
    #[error("a mask for the report cannot be read")]
    Mask(#[from] MaskError),
    #[error("a picture for the report cannot be encoded")]
    Encode(#[from] image::ImageError),
}

/// Makes `folder`, if need be, and finds out whether the page can be written there. For before the long work.
pub fn prepare(folder: &Path) -> Result<(), ReportError> {
    fs::create_dir_all(folder).map_err(|source| ReportError::Folder { folder: folder.into(), source })?;
    let file = folder.join(FILE);
    let existed = file.exists();
    let opened = fs::File::options().append(true).create(true).open(&file).map(drop);
    // Work that fails must not leave an empty page behind.
    let tried = opened.and_then(|()| if existed { Ok(()) } else { fs::remove_file(&file) });
    tried.map_err(|source| ReportError::Write { file, source })
}

/// Writes the page into `folder` and says where it is.
pub fn write(folder: &Path, subject: Subject<'_>) -> Result<PathBuf, ReportError> {
    let page = page(subject)?;
    let file = folder.join(FILE);
    fs::write(&file, page.html()).map_err(|source| ReportError::Write { file: file.clone(), source })?;
    Ok(file)
}

fn page(subject: Subject<'_>) -> Result<Page, ReportError> {
    let Record { about, notes, evaluation } = subject.record;
    let mut sections = vec![summary::section(evaluation, notes), scores::section(evaluation)];
    sections.extend(roc::section(evaluation, subject.comparison));
    sections.push(tables::figures(evaluation));
    sections.push(tables::classes(evaluation));
    sections.extend(evaluation.defects.as_ref().map(|hits| tables::defects(hits, evaluation)));
    sections.extend(subject.comparison.map(tables::comparison));
    sections.extend(tables::not_inspected(evaluation));
    sections.extend(examples::sections(subject)?);
    sections.push(provenance::section(subject.record, subject.manifest));
    let name = Path::new(&about.bundle).file_name().unwrap_or_default().to_string_lossy();
    Ok(Page { title: format!("Evaluation of {name}"), created: about.created.clone(), sections })
}

#[cfg(test)]
mod tests;
