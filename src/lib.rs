//! Cameras in, verdicts out.

pub mod backoff;
pub mod clock;
pub mod config;
pub mod engine;
pub mod events;
pub mod frame;
pub mod health;
pub mod shutdown;
pub mod synth;
pub mod verdict;
