//! Why a camera cannot be opened or has been lost.

use std::path::PathBuf;
use std::time::Duration;

use gstreamer::glib;

/// Where it surfaces, the camera's name stands beside it.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("gstreamer does not start")]
    Gstreamer(#[source] glib::Error),
    #[error("gstreamer cannot look for cameras")]
    NoMonitor,
    #[error("pipeline does not parse")]
    Unparsable(#[source] glib::Error),
    #[error("pipeline has no appsink named \"frames\": end it with `! appsink name=frames`")]
    NoSink,
    #[error(
        "pipeline has no appsrc named \"camera\": begin it with `appsrc name=camera !`, which csflowd pushes the pictures into"
    )]
    NoSource,
    #[error("pipeline does not start and does not say why")]
    NotStarted,
    #[error("{element}: {message}")]
    Element { element: String, message: String },
    #[error("no frame for {:.1} s{}", .0.as_secs_f64(), .1.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default())]
    Stalled(Duration, Option<String>),
    #[error("the stream has ended")]
    StreamEnded,
    #[error("the pipeline took no more pictures")]
    PushRefused,
    #[error("camera {device}: {cause}")]
    Device { device: String, cause: String },
    #[error("the camera does not answer: {0}")]
    Control(String),
    #[error("the camera is gone: unplugged, without power, or taken over by another program")]
    ControlLost,
    #[error("this csflowd was built without GenICam cameras: build it with the feature aravis")]
    NoGenicam,
    #[error("cannot read folder {}", folder.display())]
    Folder {
        folder: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("no image (png, jpg, jpeg, bmp, tif, tiff) in folder {}", folder.display())]
    NoImages { folder: PathBuf },
}
