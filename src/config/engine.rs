//! `[engine]`: what the network runs on.

use super::raw;
use super::section::Section;

const BATCH_MAX: usize = 4;
const FRAME_QUEUE: usize = 8;

/// Where tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// CUDA device 0 if there is one, else the CPU.
    Auto,
    Cpu,
    Cuda(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    pub device: Device,
    /// CPU threads of one network run; None takes all cores.
    pub threads: Option<i32>,
    /// Frames that wait are judged together, at most this many.
    pub batch_max: usize,
    /// Frames that may wait for inference; one more is answered with `FRAME_DROPPED`.
    pub frame_queue: usize,
}

pub(super) fn read(raw: raw::Engine, section: &mut Section<'_>) -> Engine {
    Engine {
        device: section
            .get("device", raw.device)
            .and_then(|text| device(&text, section))
            .unwrap_or(Device::Auto),
        threads: section.whole("threads", raw.threads, 1..=1024),
        batch_max: section.whole("batch_max", raw.batch_max, 1..=64).unwrap_or(BATCH_MAX),
        frame_queue: section.whole("frame_queue", raw.frame_queue, 1..=1024).unwrap_or(FRAME_QUEUE),
    }
}

fn device(text: &str, section: &mut Section<'_>) -> Option<Device> {
    let device = match text {
        "auto" => Some(Device::Auto),
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        _ => text.strip_prefix("cuda:").and_then(|number| number.parse().ok()).map(Device::Cuda),
    };
    if device.is_none() {
        let text = text.escape_debug();
        section.wrong("device", format!("must be \"auto\", \"cpu\", \"cuda\" or \"cuda:N\", is \"{text}\""));
    }
    device
}
