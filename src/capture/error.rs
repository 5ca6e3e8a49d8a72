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

impl CaptureError {
    /// What an element says, and what helps if it says why the system has refused it.
    pub(super) fn element(element: String, says: &str) -> Self {
        let advice = if says.contains("Permission denied") {
            "; `ls -l` shows the group that may use it: put csflowd's user there, by `usermod -aG GROUP USER` or \
             SupplementaryGroups= in its unit, which also has to name the device in DeviceAllow="
        } else if says.contains("Device or resource busy") {
            "; another program has it, which `fuser -v` names"
        } else {
            ""
        };
        Self::Element { element, message: format!("{says}{advice}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_comes_with_what_helps() {
        let told = |says: &str| CaptureError::element("v4l2src".to_owned(), says).to_string();
        let says =
            "Could not open device '/dev/video0' for reading and writing. (system error: Permission denied)";
        let text = told(says);
        assert!(text.starts_with(&format!("v4l2src: {says}; `ls -l` shows the group")), "{text}");
        assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
        let says = "Call to S_FMT failed for NV12 @ 640x480: Device or resource busy";
        assert_eq!(told(says), format!("v4l2src: {says}; another program has it, which `fuser -v` names"));
        assert_eq!(told("Cannot identify device."), "v4l2src: Cannot identify device.");
    }
}
