//! `[engine]`: what the network runs on.

use std::str::FromStr;

use super::raw;
use super::section::Section;

const BATCH_MAX: usize = 4;
pub const FRAME_QUEUE: usize = 8;
const MOST_DEVICES: usize = 64;

/// Where tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// CUDA device 0 if there is one, else the CPU.
    Auto,
    Cpu,
    Cuda(usize),
}

/// How finely the network computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The fastest in which the bundle's self-test shows no difference that counts.
    Auto,
    F32,
    /// On a GPU alone: f32 whose factors are rounded to ten bits.
    Tf32,
    Bf16,
    /// On a GPU alone.
    F16,
}

/// A word that names no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"auto\", \"f32\", \"tf32\", \"bf16\" or \"f16\", is \"{0}\"")]
pub struct BadPrecision(String);

/// A word that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"auto\", \"cpu\", \"cuda\" or \"cuda:N\", is \"{0}\"")]
pub struct BadDevice(String);

/// How one product takes the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// Both networks are in memory for a while, or the change is refused.
    Seamless,
    /// Where both do not fit, triggers are answered with `NOT_READY` for a while.
    Gap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    pub device: Device,
    pub precision: Precision,
    /// CPU threads of one network run; None takes all cores but one.
    pub threads: Option<i32>,
    /// Frames that wait are judged together, at most this many.
    pub batch_max: usize,
    /// Frames that may wait for inference; one more is answered with `FRAME_DROPPED`.
    pub frame_queue: usize,
    pub swap: Swap,
}

pub(super) fn read(raw: raw::Engine, section: &mut Section<'_>) -> Engine {
    Engine {
        device: section
            .get("device", raw.device)
            .and_then(|text| device(&text, section))
            .unwrap_or(Device::Auto),
        precision: section
            .get("precision", raw.precision)
            .and_then(|text| precision(&text, section))
            .unwrap_or(Precision::Auto),
        threads: section.whole("threads", raw.threads, 1..=1024),
        batch_max: section.whole("batch_max", raw.batch_max, 1..=64).unwrap_or(BATCH_MAX),
        frame_queue: section.whole("frame_queue", raw.frame_queue, 1..=1024).unwrap_or(FRAME_QUEUE),
        swap: match section.get("swap", raw.swap) {
            Some(raw::Swap::Gap) => Swap::Gap,
            Some(raw::Swap::Seamless) | None => Swap::Seamless,
        },
    }
}

impl FromStr for Device {
    type Err = BadDevice;

    fn from_str(text: &str) -> Result<Self, BadDevice> {
        let index = |n: &str| n.parse().ok().filter(|&index: &usize| index < MOST_DEVICES).map(Self::Cuda);
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(index),
        }
        .ok_or_else(|| BadDevice(text.escape_debug().to_string()))
    }
}

fn device(text: &str, section: &mut Section<'_>) -> Option<Device> {
    text.parse().map_err(|error: BadDevice| section.wrong("device", error.to_string())).ok()
}

impl FromStr for Precision {
    type Err = BadPrecision;

    fn from_str(text: &str) -> Result<Self, BadPrecision> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "tf32" => Ok(Self::Tf32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            _ => Err(BadPrecision(text.escape_debug().to_string())),
        }
    }
}

fn precision(text: &str, section: &mut Section<'_>) -> Option<Precision> {
    text.parse().map_err(|error: BadPrecision| section.wrong("precision", error.to_string())).ok()
}
