//! `csflowd cameras`.

use clap::Args;

use super::{exit, print};
use crate::capture::error::CaptureError;
use crate::capture::{self, devices};
use crate::commission::cameras;
use crate::progress::say;

pub(super) const LONG: &str = "List the cameras that are connected, each with a section for the station file

What is printed is TOML: what a camera is and what it sends stands in comments, above a [[camera]] section that opens it
in its largest format. GigE Vision and USB3 Vision cameras are found too, network cameras that speak RTSP are not.";

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> anyhow::Result<u8> {
    capture::init()?;
    let devices = devices::list()?;
    let genicam = match capture::genicam_cameras() {
        Err(CaptureError::NoGenicam) => Vec::new(),
        found => found?,
    };
    if devices.is_empty() && genicam.is_empty() {
        say(cameras::NONE);
        return Ok(exit::NO_INPUT);
    }
    let told = devices.iter().zip(1..).map(|(device, number)| cameras::tell(device, number));
    let told_genicam =
        genicam.iter().zip(devices.len() + 1..).map(|(camera, number)| cameras::tell_genicam(camera, number));
    print(&told.chain(told_genicam).collect::<Vec<_>>().join("\n\n"))?;
    Ok(exit::OK)
}
