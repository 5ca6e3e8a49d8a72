//! The text of the files, and what the environment and the command line lay over it.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use config::{ConfigError, Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::problem::Findings;

const COMMAND_LINE: &str = "command line";

/// The file's text; what went wrong is noted.
pub(super) fn read_text(file: &Path, findings: &mut Findings) -> Option<String> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(why) => {
            findings.add("", explain(&why));
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(why) => {
            let line =
                1 + why.as_bytes()[..why.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            findings.add("", format!("line {line}: not UTF-8 text"));
            None
        }
    }
}

/// The keys of a file alone.
pub(super) fn parse(text: &str, findings: &mut Findings) -> Option<Map<String, Value>> {
    merge(text, &HashMap::new(), &[], findings)
}

/// The keys of a file; over them those of the environment, `CSFLOWD__SECTION__KEY`; over both those of the
/// command line, `section.key`.
pub(super) fn merge(
    text: &str,
    environment: &HashMap<String, String>,
    overrides: &[(String, String)],
    findings: &mut Findings,
) -> Option<Map<String, Value>> {
    let environment = Environment::with_prefix("CSFLOWD")
        .prefix_separator("__")
        .separator("__")
        .source(Some(without_cameras(environment, findings)));
    let mut builder =
        config::Config::builder().add_source(File::from_str(text, FileFormat::Toml)).add_source(environment);
    for (key, value) in overrides {
        let value = Value::new(Some(&COMMAND_LINE.to_owned()), ValueKind::String(value.clone()));
        builder = match builder.clone().set_override(key, value) {
            Ok(builder) => builder,
            Err(_) => {
                findings.outside.insert(key.clone(), COMMAND_LINE.into());
                findings.add(key, "is not a key: write section.key");
                builder
            }
        };
    }
    match builder.build().and_then(|merged| merged.collect()) {
        Ok(table) => Some(table),
        Err(why) => {
            findings.add("", unparsable(&why));
            None
        }
    }
}

/// The variables without those that would put a table in the place of the list of cameras.
fn without_cameras(
    environment: &HashMap<String, String>,
    findings: &mut Findings,
) -> HashMap<String, String> {
    let (cameras, rest): (HashMap<_, _>, HashMap<_, _>) = environment
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .partition(|(name, _)| name.to_lowercase().starts_with("csflowd__camera"));
    let mut names: Vec<_> = cameras.into_keys().collect();
    names.sort();
    for name in names {
        findings.outside.insert(name.clone(), "the environment".into());
        findings.add(&name, "cameras are set in the file or by the command line, as camera[0].stall_s");
    }
    rest
}

/// The parser draws its message over several lines: the place stands in the first, the cause in the last.
fn unparsable(why: &ConfigError) -> String {
    let text = match why {
        ConfigError::FileParse { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let place = first.trim_start_matches("TOML parse error at ");
    match lines.last() {
        Some(cause) => format!("{place}: {cause}"),
        None => format!("not TOML: {place}"),
    }
}

/// Why a file cannot be had, without the system's "(os error 2)".
pub(super) fn explain(why: &io::Error) -> String {
    match why.kind() {
        ErrorKind::NotFound => "no such file or directory".into(),
        ErrorKind::PermissionDenied => "permission denied: csflowd's user must be able to read it".into(),
        ErrorKind::IsADirectory => "is a directory".into(),
        _ => why.to_string(),
    }
}
