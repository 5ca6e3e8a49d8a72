//! `csflowd schema`.

use clap::{Args, ValueEnum};

use super::{exit, print};
use crate::config;
use crate::publish::schema::{self, Kind};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file or message whose JSON Schema to print
    #[arg(value_enum)]
    subject: Subject,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    /// The station file
    Config,
    /// A product file
    Product,
    Verdict,
    Result,
    Status,
    Heartbeat,
    Counters,
    Event,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let schema = match arguments.subject {
        Subject::Config => config::schema::station(),
        Subject::Product => config::schema::product(),
        Subject::Verdict => schema::schema(Kind::Verdict),
        Subject::Result => schema::schema(Kind::Result),
        Subject::Status => schema::schema(Kind::Status),
        Subject::Heartbeat => schema::schema(Kind::Heartbeat),
        Subject::Counters => schema::schema(Kind::Counters),
        Subject::Event => schema::schema(Kind::Event),
    };
    print(&serde_json::to_string_pretty(&schema)?)?;
    Ok(exit::OK)
}
