//! `[engine]`: what the network runs on.

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
