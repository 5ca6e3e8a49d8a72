//! `csflowd schema`.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde_json::Value;

use super::{exit, print};
use crate::config;
use crate::publish::schema::{self, Kind};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file or message whose JSON Schema to print
    #[arg(value_parser = subject())]
    subject: Subject,
}

#[derive(Clone, Copy, Debug)]
enum Subject {
    Config,
    Product,
    Message(Kind),
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let schema: Value = match arguments.subject {
        Subject::Config => config::schema::station(),
        Subject::Product => config::schema::product(),
        Subject::Message(kind) => schema::schema(kind),
    };
    print(&serde_json::to_string_pretty(&schema)?)?;
    Ok(exit::OK)
}

/// Takes a file or a message by its name.
fn subject() -> impl TypedValueParser<Value = Subject> {
    let files = [("config", "The station file"), ("product", "A product file")];
    let messages = Kind::ALL.map(|kind| PossibleValue::new(kind.name()));
    let values = files.map(|(name, about)| PossibleValue::new(name).help(about)).into_iter().chain(messages);
    PossibleValuesParser::new(values).map(|name| match name.as_str() {
        "config" => Subject::Config,
        "product" => Subject::Product,
        message => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == message);
            Subject::Message(kind.expect("one of the names"))
        }
    })
}
