//! `[[camera]]`: a view, the pipeline that brings it, and what its pictures must look like.

use std::path::PathBuf;
use std::time::Duration;

use crate::frame::{CameraId, PixelFormat, Size};

/// One camera, ready to be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    pub id: CameraId,
    pub source: Source,
    /// GStreamer text, parameters filled in. Ends in `appsink name=frames`; a [`Source::Files`] pipeline
    /// begins with `appsrc name=camera`.
    pub pipeline: String,
    pub format: PixelFormat,
    /// What each frame must measure. None takes frames of any size, each as it is.
    pub size: Option<Size>,
    /// No frame for this long counts as loss.
    pub stall: Duration,
    /// First and longest pause between tries to rebuild a lost pipeline.
    pub retry: (Duration, Duration),
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The pipeline has its own source element.
    Pipeline,
    /// Image files, decoded by csflowd and pushed into the pipeline.
    Files(Files),
}

/// Replay of a folder of images. The file's name becomes the part id.
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    /// Searched with its sub-folders.
    pub folder: PathBuf,
    pub rate_hz: f64,
    /// Start again after the last file; otherwise the camera ends there.
    pub repeat: bool,
    pub order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By path.
    Sorted,
    /// In an order drawn from this seed, a new one for each pass.
    Shuffled { seed: u64 },
}
