//! Arguments, one match, exit code.

pub mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::engine::Device;
use crate::progress::say;

/// Exit codes of sysexits.h.
pub mod exit {
    pub const USAGE: u8 = 64;
    pub const NO_INPUT: u8 = 66;
    pub const SOFTWARE: u8 = 70;
    pub const IO: u8 = 74;
    pub const CONFIG: u8 = 78;
}

/// Judges every part on a line with CS-Flow and tells the PLC by MQTT.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a product on a folder of good parts
    Train(train::Arguments),
}

/// Runs the command line and says how it ended.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too; nobody is left to tell if the output is closed.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    let result = match arguments.command {
        Command::Train(arguments) => train::run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("csflowd: {error:#}"));
            ExitCode::from(exit::SOFTWARE)
        }
    }
}

/// `auto`, `cpu`, `cuda` or `cuda:N`, on the command line as in the configuration.
fn device(text: &str) -> Result<Device, String> {
    let index = |n: &str| n.parse().ok().filter(|&index: &usize| index < 64).map(Device::Cuda);
    match text {
        "auto" => Some(Device::Auto),
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        _ => text.strip_prefix("cuda:").and_then(index),
    }
    .ok_or_else(|| "must be auto, cpu or cuda:N".to_owned())
}
