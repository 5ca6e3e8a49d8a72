//! The text of the files, and what the environment and the command line lay over it.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use config::{ConfigError, Environment, File, FileFormat, Map, Value, ValueKind};

use super::problem::Findings;

/// Keys and values, where each value knows whether it comes from outside the file.
pub(super) type Table = Map<String, Value>;

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
            let readable = &why.as_bytes()[..why.utf8_error().valid_up_to()];
            let line = readable.split(|&byte| byte == b'\n').count();
            findings.add("", format!("line {line}: not UTF-8 text"));
            None
        }
    }
}

/// The keys of a file.
pub(super) fn parse(text: &str, findings: &mut Findings) -> Option<config::Config> {
    let file = config::Config::builder().add_source(File::from_str(text, FileFormat::Toml)).build();
    file.map_err(|why| findings.add("", unparsable(&why))).ok()
}

/// The keys of a file; over them those of the environment, `CSFLOWD__SECTION__KEY`; over both those of the
/// command line, `section.key`.
pub(super) fn lay_over(
    file: config::Config,
    environment: &HashMap<String, String>,
    overrides: &[(String, String)],
    findings: &mut Findings,
) -> Option<Table> {
    let length = |list| file.get_array(list).map_or(0, |elements| elements.len());
    let lengths = LISTS.map(|list| (list, length(list)));
    let environment = Environment::with_prefix("CSFLOWD")
        .prefix_separator("__")
        .separator("__")
        .source(Some(without_lists(environment, findings)));
    let mut builder = config::Config::builder().add_source(file).add_source(environment);
    for (key, value) in overrides {
        let value = Value::new(Some(&COMMAND_LINE.to_owned()), ValueKind::String(value.clone()));
        builder = match builder.clone().set_override(key, value) {
            Ok(builder) if is_key(key, &lengths) => builder,
            Ok(_) | Err(_) => {
                findings.outside.insert(key.clone(), COMMAND_LINE.into());
                findings.add(key, "is not a key: write section.key, or camera[0].key for the first camera");
                builder
            }
        };
    }
    builder.build().map_err(|why| findings.add("", unparsable(&why))).ok().and_then(table)
}

pub(super) fn table(config: config::Config) -> Option<Table> {
    config.cache.into_table().ok()
}

/// Sections of which there may be several.
const LISTS: [&str; 2] = ["camera", "group"];

/// Guards the lists: the `config` crate would make one longer, or a table of it, to suit the key.
fn is_key(key: &str, lengths: &[(&str, usize)]) -> bool {
    let is_plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    for (list, length) in lengths {
        if let Some(rest) = key.strip_prefix(list).and_then(|rest| rest.strip_prefix('[')) {
            return rest.split_once("].").is_some_and(|(index, key)| {
                index.parse().is_ok_and(|index: usize| index < *length) && is_plain(key)
            });
        }
    }
    is_plain(key) && key.split('.').next().is_none_or(|section| !LISTS.contains(&section))
}

/// The variables without those that would put a table in the place of a list.
fn without_lists(environment: &HashMap<String, String>, findings: &mut Findings) -> HashMap<String, String> {
    let of_list = |name: &str| {
        name.to_lowercase()
            .strip_prefix("csflowd__")
            .is_some_and(|key| LISTS.iter().any(|list| key.starts_with(list)))
    };
    let (lists, rest): (HashMap<_, _>, HashMap<_, _>) = environment
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .partition(|(name, _)| of_list(name));
    let mut names: Vec<_> = lists.into_keys().collect();
    names.sort();
    for name in names {
        findings.outside.insert(name.clone(), "the environment".into());
        let text = "cameras and groups are set in the file or by the command line, as camera[0].stall_s";
        findings.add(&name, text);
    }
    // A bracket is read as an index, and the `config` crate makes a list as long as that.
    rest.into_iter().filter(|(name, _)| !name.contains('[')).collect()
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
        None => format!("cannot be read: {place}"),
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
