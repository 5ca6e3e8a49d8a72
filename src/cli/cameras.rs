//! `csflowd cameras`.

use clap::Args;

use super::{exit, print};
use crate::capture::{self, devices};
use crate::commission::cameras;
use crate::progress::say;

pub(super) const LONG: &str = "List the cameras that are connected, each with a section for the station file

What is printed is TOML: what a camera is and what it sends stands in comments, above a [[camera]] section that opens it
in its largest format. Network cameras that speak RTSP are not found by this.";

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> anyhow::Result<u8> {
    capture::init()?;
    let devices = devices::list()?;
    if devices.is_empty() {
        say(cameras::NONE);
        return Ok(exit::NO_INPUT);
    }
    for (number, device) in (1..).zip(&devices) {
        let gap = if number > 1 { "\n" } else { "" };
        print(&format!("{gap}{}", cameras::tell(device, number)))?;
    }
    Ok(exit::OK)
}
