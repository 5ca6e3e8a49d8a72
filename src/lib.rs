//! Cameras in, verdicts out.

pub mod backoff;
pub mod calibrate;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod dataset;
pub mod engine;
pub mod evaluate;
pub mod events;
pub mod frame;
pub mod health;
pub mod image_file;
pub mod inference;
pub mod inspect;
pub mod intake;
pub mod ledger;
pub mod model;
pub mod progress;
pub mod publish;
pub mod shutdown;
pub mod telemetry;
pub mod train;
pub mod verdict;
