//! Arguments, one match, exit code. Each command's own arguments and what it prints stand in its file.

pub mod architecture;
pub mod bench;
pub mod calibrate;
pub mod camera;
pub mod cameras;
pub mod evaluate;
pub mod exit;
pub mod inspect;
pub mod msa;
pub mod product;
pub mod record;
pub mod results;
pub mod run;
pub mod schema;
pub mod snapshot;
pub mod synth;
pub mod train;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::causes;
use crate::engine::{guard, threads};
use crate::model::preset::Preset;
use crate::progress::say;
use crate::telemetry;

/// Judges every part on a line with CS-Flow and tells the PLC by MQTT.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the station
    Run(run::RunArguments),
    /// Judge the settings: every problem is told, exit code 0 or 78
    Check(run::CheckArguments),
    /// List the cameras that are connected, each with a section for the station file
    #[command(long_about = cameras::LONG)]
    Cameras(cameras::Arguments),
    /// Take one frame of a camera, as the daemon would get it
    #[command(long_about = snapshot::LONG)]
    Snapshot(snapshot::Arguments),
    /// Record pictures to train on, through the pipeline that will judge
    #[command(long_about = record::LONG)]
    Record(record::Arguments),
    /// Train a product on a folder of good parts
    Train(train::Arguments),
    /// Find a bundle's threshold again, with good parts from production
    #[command(long_about = calibrate::LONG)]
    Calibrate(calibrate::Arguments),
    /// Say how good a bundle is on images whose truth is known
    Evaluate(evaluate::Arguments),
    /// Say how far judging the same parts again gives the same answer
    #[command(long_about = msa::LONG)]
    Msa(msa::Arguments),
    /// Judge image files
    Inspect(inspect::Arguments),
    /// Show the results that this station has kept
    #[command(long_about = results::LONG)]
    Results(results::Arguments),
    /// Measure the speed of judging
    Bench(bench::Arguments),
    /// Print the JSON Schema of a message
    Schema(schema::Arguments),
    /// Draw parts with and without defects, for demos and tests
    Synth(synth::Arguments),
}

impl Command {
    fn runs_the_network(&self) -> bool {
        match self {
            Self::Check(_)
            | Self::Cameras(_)
            | Self::Snapshot(_)
            | Self::Record(_)
            | Self::Results(_)
            | Self::Schema(_)
            | Self::Synth(_) => false,
            Self::Run(_)
            | Self::Train(_)
            | Self::Calibrate(_)
            | Self::Evaluate(_)
            | Self::Msa(_)
            | Self::Inspect(_)
            | Self::Bench(_) => true,
        }
    }
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
    if arguments.command.runs_the_network() {
        threads::wait_asleep();
    }
    telemetry::abort_on_panic(guard::is_guarded);
    let result = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => run::check(&arguments),
        Command::Cameras(arguments) => cameras::run(&arguments),
        Command::Snapshot(arguments) => snapshot::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Train(arguments) => train::run(arguments),
        Command::Calibrate(arguments) => calibrate::run(arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Msa(arguments) => msa::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Results(arguments) => results::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Synth(arguments) => synth::run(&arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = exit::code_for(&error);
            // A reader that has gone away (`| head`) needs no message.
            if code != exit::OK {
                say(&format!("csflowd: {}", causes::chain(&*error)));
            }
            ExitCode::from(code)
        }
    }
}

/// The command as given, for a bundle's account of itself.
fn command_line() -> String {
    let arguments: Vec<_> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    arguments.join(" ")
}

/// Results could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct OutputError(#[source] io::Error);

/// Prints a line of results. A reader that has gone away (`| head`) is not an error worth a message.
fn print(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(OutputError(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(&serde_json::to_string(value)?)?)
}

/// Takes a preset by its name.
fn preset() -> impl TypedValueParser<Value = Preset> {
    let named = |name: String| Preset::ALL.into_iter().find(|preset| preset.name() == name);
    let values = Preset::ALL.map(|preset| PossibleValue::new(preset.name()).help(preset.about()));
    PossibleValuesParser::new(values).map(move |name| named(name).expect("one of the names"))
}
