//! `[mqtt]`: the broker, how to reach it and under which topics to speak.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::raw::{self, Key};
use super::section::Section;

const HOST: &str = "127.0.0.1";
const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;
const KEEP_ALIVE_S: u16 = 5;
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
const COMMANDS_PER_S: u32 = 100;

/// The broker connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Mqtt {
    pub host: String,
    pub port: u16,
    /// Topics begin with this, for example `plant1/site/area/line4/cell2`. No slash at either end.
    pub prefix: String,
    pub client_id: String,
    pub keep_alive: Duration,
    pub login: Option<Login>,
    /// None speaks plain TCP.
    pub tls: Option<Tls>,
    /// First and longest pause between tries to connect.
    pub retry: (Duration, Duration),
    /// Whether commands are taken.
    pub commands: bool,
    /// Commands beyond so many a second are refused.
    pub commands_per_s: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    pub username: String,
    pub password: Secret,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// PEM; None takes the system's trust store.
    pub ca_file: Option<PathBuf>,
    /// PEM certificate and key of this client.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// A string that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// For the broker's eyes only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Reads `[mqtt]`. `station` names the client where `client_id` does not; `environment` leads to systemd's
/// credentials.
pub(super) fn read(
    mut raw: raw::Mqtt,
    section: &mut Section<'_>,
    station: Option<&str>,
    environment: &HashMap<String, String>,
) -> Option<Mqtt> {
    let login = login(&mut raw, section, environment);
    let host = host(raw.host, section);
    let wants_tls = !raw.tls.is_absent();
    let tls = section.get("tls", raw.tls).map(|raw| tls(raw, &mut section.inner("tls")));
    let default_port = if wants_tls { TLS_PORT } else { PORT };
    let port = section.whole("port", raw.port, 1..=65_535).unwrap_or(default_port);
    let allow_plaintext = section.get("allow_plaintext", raw.allow_plaintext).unwrap_or(false);
    if let Some(host) = &host
        && !(wants_tls || allow_plaintext || is_loopback(host))
    {
        let choice = "add tls = {}, or allow_plaintext = true if everybody on that network may read and forge verdicts";
        section.wrong("host", format!("\"{host}\" would be spoken to without encryption: {choice}"));
    }
    let prefix = section.required("prefix", raw.prefix);
    let prefix = prefix.and_then(|prefix| checked_prefix(prefix, section));
    let given_id = section.get("client_id", raw.client_id);
    let client_id = given_id.or_else(|| station.map(|name| format!("csflowd-{name}")));
    let client_id = section.plain_text("client_id", client_id, 128);
    let keep_alive = section.whole("keep_alive_s", raw.keep_alive_s, 1..=3600).unwrap_or(KEEP_ALIVE_S);
    let retry = section.retry(raw.retry_first_s, raw.retry_max_s, RETRY);
    let commands = section.get("commands", raw.commands).unwrap_or(false);
    let commands_per_s =
        section.whole("commands_per_s", raw.commands_per_s, 1..=1000).unwrap_or(COMMANDS_PER_S);
    Some(Mqtt {
        host: host?,
        port,
        prefix: prefix?,
        client_id: client_id?,
        keep_alive: Duration::from_secs(keep_alive.into()),
        login,
        tls,
        retry,
        commands,
        commands_per_s,
    })
}

fn host(raw: Key<String>, section: &mut Section<'_>) -> Option<String> {
    let host = if raw.is_absent() { HOST.into() } else { section.get("host", raw)? };
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !host.is_empty() && (is_name(&host) || host.parse::<Ipv6Addr>().is_ok()) {
        return Some(host);
    }
    let text = host.escape_debug();
    section.wrong("host", format!("must be a name or an address without scheme and port, is \"{text}\""));
    None
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn checked_prefix(prefix: String, section: &mut Section<'_>) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_level = |level: &str| !level.is_empty() && level.chars().all(fits);
    if prefix.len() <= 80 && prefix.split('/').all(is_level) {
        return Some(prefix);
    }
    let rule = "levels of A-Z a-z 0-9 _ . - with single slashes between them, at most 80 characters";
    section.wrong("prefix", format!("must be {rule}, is \"{}\"", prefix.escape_debug()));
    None
}

fn tls(raw: raw::Tls, section: &mut Section<'_>) -> Tls {
    let ca_file = section.file("ca_file", raw.ca_file);
    match (raw.client_cert.is_absent(), raw.client_key.is_absent()) {
        (true, false) => section.wrong("client_cert", "is missing: it goes with client_key"),
        (false, true) => section.wrong("client_key", "is missing: it goes with client_cert"),
        (true, true) | (false, false) => {}
    }
    let cert = section.file("client_cert", raw.client_cert);
    let key = section.file("client_key", raw.client_key);
    Tls { ca_file, client: cert.zip(key) }
}

fn login(
    raw: &mut raw::Mqtt,
    section: &mut Section<'_>,
    environment: &HashMap<String, String>,
) -> Option<Login> {
    let username = section.get("username", std::mem::take(&mut raw.username));
    let by_file = std::mem::take(&mut raw.password_file);
    let by_credential = std::mem::take(&mut raw.password_credential);
    let password = match (by_file.is_absent(), by_credential.is_absent()) {
        (true, true) => {
            if username.is_some() {
                section.wrong("username", "needs a password: add password_file or password_credential");
            }
            return None;
        }
        (false, false) => {
            section.wrong("password_file", "stands beside password_credential: give one of the two");
            return None;
        }
        (false, true) => private_file(by_file, section),
        (true, false) => credential(by_credential, section, environment),
    };
    if username.is_none() {
        section.wrong("username", "is missing: a password alone logs nobody in");
    }
    Some(Login { username: username?, password: password? })
}

fn private_file(raw: Key<String>, section: &mut Section<'_>) -> Option<Secret> {
    const KEY: &str = "password_file";
    let file = section.file(KEY, raw)?;
    let mode = std::fs::metadata(&file).map_or(0, |found| found.permissions().mode());
    if mode & 0o077 != 0 {
        let path = file.display();
        section.wrong(KEY, format!("{path} is open to others: run \"chmod 600 {path}\""));
        return None;
    }
    secret(KEY, &file, section)
}

fn credential(
    raw: Key<String>,
    section: &mut Section<'_>,
    environment: &HashMap<String, String>,
) -> Option<Secret> {
    const KEY: &str = "password_credential";
    let name = section.get(KEY, raw)?;
    if name.is_empty() || name.contains('/') {
        section.wrong(KEY, "must be the name of a credential, not a path");
        return None;
    }
    let Some(folder) = environment.get("CREDENTIALS_DIRECTORY") else {
        let by_hand = "to check by hand, set CREDENTIALS_DIRECTORY to the folder it is kept in";
        section.wrong(KEY, format!("systemd has given this process no credentials ({by_hand})"));
        return None;
    };
    secret(KEY, &Path::new(folder).join(name), section)
}

fn secret(key: &str, file: &Path, section: &mut Section<'_>) -> Option<Secret> {
    let text = section.contents(key, file)?;
    // Editors and `echo` end the last line; the password does not.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        section.wrong(key, format!("{} is empty", file.display()));
        return None;
    }
    Some(Secret::new(text.into()))
}
