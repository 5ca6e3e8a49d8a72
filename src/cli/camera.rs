//! Which camera a command means.

use clap::Args;

use super::run::Settings;
use crate::config::camera::Camera;
use crate::config::problem::Problems;
use crate::config::{self, Sound};

#[derive(Debug, Args)]
pub(super) struct CameraChoice {
    #[command(flatten)]
    settings: Settings,
    /// The camera's id; may be left out where there is one
    #[arg(long, value_name = "ID")]
    camera: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum NoSuchCamera {
    #[error("--camera: there is no camera \"{id}\"; there are: {known}")]
    Unknown { id: String, known: String },
    #[error("--camera is missing: say which of {known}")]
    Missing { known: String },
}

impl CameraChoice {
    /// The camera as the daemon would run it. What else is wrong with the settings does not matter: before the first
    /// training there is no product.
    pub(super) fn find(&self) -> anyhow::Result<Camera> {
        let (config, Sound { cameras, .. }) = self.settings.with(None, config::examine);
        let found = match (&self.camera, cameras.as_slice()) {
            (Some(id), cameras) => cameras.iter().find(|camera| camera.id.as_str() == id),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        if let Some(camera) = found {
            return Ok(camera.clone());
        }
        let problems = config.err().map_or(Vec::new(), |Problems(problems)| problems);
        let of_cameras = |key: &str| {
            key.is_empty() || key == "camera" || key.starts_with("camera.") || key.starts_with("camera[")
        };
        let problems: Vec<_> = problems.into_iter().filter(|problem| of_cameras(&problem.key)).collect();
        if !problems.is_empty() {
            return Err(Problems(problems).into());
        }
        let known = cameras.iter().map(|camera| camera.id.as_str()).collect::<Vec<_>>().join(", ");
        Err(match &self.camera {
            Some(id) => NoSuchCamera::Unknown { id: id.clone(), known },
            None => NoSuchCamera::Missing { known },
        }
        .into())
    }
}
