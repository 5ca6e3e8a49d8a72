//! `csflowd results`: the record of parts, read back from the outbox.

use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::run::Settings;
use super::{exit, print, print_json};
use crate::capture;
use crate::clock::{Clock, SystemClock};
use crate::frame::PartId;
use crate::progress::say;
use crate::publish::outbox;
use crate::publish::outbox::disk::Folder;
use crate::publish::outbox::read::{Kept, Record, Wanted, read};

pub(super) const LONG: &str = "Show the results that this station has kept

Reads the outbox of the station, beside a running daemon or without one, and changes nothing. Results stay there \
until their room is needed ([outbox] max_mb), whether the broker has them or not.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Only the part of this id
    #[arg(long, value_name = "ID")]
    part: Option<String>,
    /// Only results since then: a time such as 2026-11-25T06:00:00Z, or how long ago, such as 90s, 30m or 12h
    #[arg(long, value_name = "T", value_parser = since)]
    since: Option<Timestamp>,
    /// Only this camera
    #[arg(long, value_name = "NAME")]
    camera: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object with the full records
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Listing {
    folder: PathBuf,
    /// So many fit what was asked for, listed or not.
    matched: u64,
    /// Files of the outbox with a damaged place.
    damaged_files: u64,
    results: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    /// The broker has it.
    acknowledged: bool,
    /// As it was published.
    result: Value,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    capture::init()?;
    let config = match arguments.settings.load() {
        Ok(config) => config,
        Err(problems) => {
            say(&problems.to_string());
            return Ok(exit::CONFIG);
        }
    };
    let folder = config.station.state_dir.join(outbox::FOLDER);
    let wanted = Wanted {
        part: arguments.part.as_deref(),
        camera: arguments.camera.as_deref(),
        since_ms: arguments.since.map_or(0, |since| u64::try_from(since.as_millisecond()).unwrap_or(0)),
        limit: arguments.limit.try_into()?,
    };
    let record = read(&mut Folder::new(&folder), &wanted)?;
    if arguments.json {
        let Record { results, matched, damaged: damaged_files } = record;
        let results = results.iter().map(Listed::new).collect();
        print_json(&Listing { folder, matched, damaged_files, results })?;
    } else {
        let listed = record.results.len() as u64;
        if listed > 0 {
            print(&table(&record.results))?;
        }
        say(&format!("{listed} of {} results in {}", record.matched, folder.display()));
        if record.damaged > 0 {
            say(&format!("{} files have damaged places: what stood there is missing", record.damaged));
        }
    }
    Ok(exit::OK)
}

impl Listed {
    fn new(kept: &Kept) -> Self {
        // The checksum holds, so it is what was published.
        let result = serde_json::from_slice(&kept.entry.payload).unwrap_or_default();
        Self { acknowledged: kept.acknowledged, result }
    }
}

fn table(results: &[Kept]) -> String {
    let heading = ["time", "seq", "camera", "part", "verdict", "score", "threshold", "broker"];
    let rows: Vec<[String; 8]> =
        [heading.map(str::to_owned)].into_iter().chain(results.iter().map(row)).collect();
    let widths: [usize; 8] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            1 | 5 | 6 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(kept: &Kept) -> [String; 8] {
    let entry = &kept.entry;
    let result: Value = serde_json::from_slice(&entry.payload).unwrap_or_default();
    let at = i64::try_from(entry.at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let number = |key: &str| result[key].as_f64().map_or(String::new(), |value| format!("{value:.4}"));
    [
        at.map_or(String::new(), |at| format!("{at:.3}")),
        entry.seq.to_string(),
        entry.camera.clone(),
        entry.part.as_ref().map_or("", PartId::as_str).into(),
        verdict(&result),
        number("score"),
        number("threshold"),
        if kept.acknowledged { "has it" } else { "waits" }.into(),
    ]
}

fn verdict(result: &Value) -> String {
    let text = match (result["code_text"].as_str(), result["evaluation"].as_u64()) {
        (Some(code), _) => code,
        (None, Some(1)) => "OK",
        (None, Some(2)) => "not OK",
        (None, Some(3)) => "not decidable",
        (None, _) => "?",
    };
    if result["late"] == true { format!("{text}, late") } else { text.into() }
}

fn since(text: &str) -> Result<Timestamp, String> {
    let now = Timestamp::try_from(SystemClock::start().now().utc).map_err(|error| error.to_string())?;
    let ago = || now.checked_sub(text.parse::<SignedDuration>().ok()?).ok();
    text.parse().ok().or_else(ago).ok_or_else(|| {
        "must be a time such as 2026-11-25T06:00:00Z or how long ago, such as 90s, 30m, 12h".into()
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::publish::outbox::format::Entry;

    #[test]
    fn a_table_is_aligned_and_names_what_became_of_each() {
        let kept = |seq, part: &str, payload: &str, acknowledged| Kept {
            entry: Entry {
                seq,
                at_ms: 1_760_000_000_123,
                camera: "top".into(),
                part: PartId::new(part).ok(),
                payload: payload.into(),
            },
            acknowledged,
        };
        let results = [
            kept(9, "A1", r#"{"evaluation":1,"score":8.25,"threshold":10.5}"#, true),
            kept(10, "A1B2C3", r#"{"evaluation":2,"score":12.5,"threshold":10.5,"late":true}"#, false),
            kept(11, "", r#"{"evaluation":0,"code_text":"FRAME_DROPPED","late":false}"#, false),
        ];
        assert_snapshot!(table(&results), @r"
        time                      seq  camera  part    verdict          score  threshold  broker
        2025-10-09T08:53:20.123Z    9  top     A1      OK              8.2500    10.5000  has it
        2025-10-09T08:53:20.123Z   10  top     A1B2C3  not OK, late   12.5000    10.5000  waits
        2025-10-09T08:53:20.123Z   11  top             FRAME_DROPPED                      waits
        ");
    }

    #[test]
    fn a_time_is_given_as_such_or_as_how_long_ago() {
        assert_eq!(since("2026-11-25T06:00:00Z").unwrap().as_millisecond(), 1_795_586_400_000);
        assert!(since("2h").unwrap() < since("1s").unwrap());
        assert!(since("yesterday").is_err());
    }
}
