//! `[mqtt]`: the broker, how to reach it and under which topics to speak.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Results kept in memory while the broker is away.
    pub queue: usize,
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
