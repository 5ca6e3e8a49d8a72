//! Setting a camera up: one picture of it, and the pictures to train on, through the pipeline that will judge.
//!
//! Nothing here needs a product or a bundle, and nothing that was written is ever written over.

mod alike;
pub mod cameras;
pub mod record;
mod shutter;
pub mod snapshot;
pub mod store;

use crate::capture::error::CaptureError;
use crate::commission::store::StoreError;
use crate::frame::CameraId;

/// Why there is no picture. `camera` is the one that was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommissionError {
    #[error("camera {camera}")]
    Capture { camera: CameraId, source: CaptureError },
    #[error("camera {camera}: no picture within {waited_s} s{}", if *.is_fired { ": is it fired?" } else { "" })]
    Silent { camera: CameraId, waited_s: f64, is_fired: bool },
    #[error("camera {camera}: the source ended after {frames} pictures")]
    Ended { camera: CameraId, frames: u64 },
    #[error("camera {camera}: {cause}")]
    Damaged { camera: CameraId, cause: String },
    #[error(
        "pictures of camera {camera} are taken or picked when a command comes, and here comes none: say --every or --key"
    )]
    NoTrigger { camera: CameraId },
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was recorded before is whole and stays.
    #[error("recording stopped after {recorded} pictures, which are kept")]
    Stopped { recorded: usize, source: StoreError },
    #[error("cannot start a thread for the camera")]
    Thread(#[source] std::io::Error),
}
