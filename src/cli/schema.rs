//! `csflowd schema`.

use clap::{Args, ValueEnum};

use super::{exit, print};
use crate::publish::schema::{self, Kind};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The message whose JSON Schema to print
    #[arg(value_enum)]
    message: Message,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Message {
    Verdict,
    Result,
    Status,
    Heartbeat,
    Counters,
    Event,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let kind = match arguments.message {
        Message::Verdict => Kind::Verdict,
        Message::Result => Kind::Result,
        Message::Status => Kind::Status,
        Message::Heartbeat => Kind::Heartbeat,
        Message::Counters => Kind::Counters,
        Message::Event => Kind::Event,
    };
    print(&serde_json::to_string_pretty(&schema::schema(kind))?)?;
    Ok(exit::OK)
}
