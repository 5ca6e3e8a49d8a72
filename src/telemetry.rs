//! Where log records go: to the journal as fields when systemd runs us, else to standard error for people.
//!
//! Started once, by `main`. Records of libraries that use the `log` crate come along.

use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::linux::fs::MetadataExt;
use std::panic::PanicHookInfo;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log filter \"{given}\" is not a level (error, warn, info, debug, trace) or target=level, ...")]
    Filter { given: String, source: ParseError },
    #[error("logging was started before")]
    Twice(#[source] TryInitError),
}

/// Starts logging. `filter` is what `--log` or `CSFLOWD_LOG` says, as `info` or `csflowd=debug,rumqttc=warn`.
pub fn start(filter: Option<&str>) -> Result<(), TelemetryError> {
    let filter = parse(filter.unwrap_or_default())?;
    let journal = if stderr_is_journal() { tracing_journald::layer().ok() } else { None };
    let for_people = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
    });
    // Without a prefix a field is found by its own name: `journalctl CAMERA=top`.
    let journal = journal.map(|layer| layer.with_field_prefix(None).with_syslog_identifier("csflowd".into()));
    // Also makes the bridge from the `log` crate.
    let subscriber = tracing_subscriber::registry().with(filter).with(journal).with(for_people);
    subscriber.try_init().map_err(TelemetryError::Twice)
}

/// From here on a panic, in whichever thread, is logged and ends the process: it is a bug, and half a
/// daemon is worse than a restart. A panic for which `is_caught` holds is an error that its catcher reports.
pub fn abort_on_panic(is_caught: fn() -> bool) {
    std::panic::set_hook(Box::new(move |info| {
        if is_caught() {
            return;
        }
        log_panic(info);
        std::process::abort();
    }));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = info.location().map_or_else(|| "unknown place".into(), ToString::to_string);
    let cause = info.payload_as_str().unwrap_or("no message");
    let version = env!("CARGO_PKG_VERSION");
    let backtrace = std::backtrace::Backtrace::force_capture();
    // The journal shows the message alone: all that a report of the bug needs stands in it.
    tracing::error!(
        thread,
        place,
        version,
        "panic in thread {thread} at {place}: {cause} (csflowd {version}, stopping)\n{backtrace}"
    );
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(filter)
        .map_err(|source| TelemetryError::Filter { given: filter.into(), source })
}

/// systemd names the journal's end of standard error, as `device:inode`; a redirected one differs.
fn stderr_is_journal() -> bool {
    let Ok(journal) = env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| journal == format!("{}:{}", stderr.st_dev(), stderr.st_ino()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_level_is_info_unless_said_otherwise() {
        for (given, expected) in
            [("", LevelFilter::INFO), ("debug", LevelFilter::DEBUG), ("rumqttc=trace", LevelFilter::TRACE)]
        {
            assert_eq!(parse(given).unwrap().max_level_hint(), Some(expected), "{given:?}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = parse("csflowd=loud").unwrap_err();
        assert!(error.to_string().starts_with("log filter \"csflowd=loud\" is not a level"), "{error}");
    }

    /// Plays both sides: started by itself as a child, it is the process that panics.
    #[test]
    fn a_panic_in_any_thread_is_logged_and_ends_the_process() {
        const CHILD: &str = "CSFLOWD_TEST_PANICS";
        if env::var_os(CHILD).is_some() {
            start(None).unwrap();
            abort_on_panic(|| false);
            let worker = std::thread::Builder::new().name("worker".into());
            let outcome = worker.spawn(|| panic!("out of order")).unwrap().join();
            unreachable!("{outcome:?} after a panic");
        }
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "telemetry::tests::a_panic_in_any_thread_is_logged_and_ends_the_process"])
            .arg("--nocapture")
            .env(CHILD, "1")
            .env_remove("JOURNAL_STREAM")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), None, "ended by a signal: {text}");
        assert!(text.contains("panic in thread worker at src/telemetry.rs:"), "{text}");
        assert!(text.contains(": out of order (csflowd "), "{text}");
    }
}
