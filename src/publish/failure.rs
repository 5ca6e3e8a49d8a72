//! Why there is no connection to the broker, in words that say what to check.

use std::io;
use std::path::PathBuf;

use rumqttc::tokio_native_tls::native_tls;
use rumqttc::{ConnectReturnCode, ConnectionError, Error, StateError, TlsError};

use crate::causes;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(
        "broker {broker} refused the login ({code:?}); check the user name and password under [mqtt] and what the broker allows this client"
    )]
    Login { broker: String, code: ConnectReturnCode },
    #[error(
        "broker {broker} refused the connection ({code:?}); check the client id and the broker's own log"
    )]
    Refused { broker: String, code: ConnectReturnCode },
    #[error("no answer from broker {broker}; check the network, and that the port speaks MQTT")]
    NoAnswer { broker: String },
    #[error("no TCP connection to broker {broker}; check host and port, and that the broker runs")]
    Tcp { broker: String, source: io::Error },
    #[error(
        "no TLS connection to broker {broker}; check the CA file and the name in the broker's certificate"
    )]
    Tls { broker: String, source: TlsError },
    #[error(
        "broker {broker} sent a message of {bytes} bytes to a topic of commands; the connection was ended"
    )]
    TooLarge { broker: String, bytes: usize },
    #[error("connection to broker {broker} broke")]
    Broken { broker: String, source: StateError },
    #[error("connection to broker {broker} is out of order")]
    Protocol { broker: String, source: Box<ConnectionError> },
    #[error("connection to broker {broker} ended without a word")]
    Vanished { broker: String },
    #[error("no thread for the connection to the broker")]
    Thread { source: io::Error },
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{} holds no certificate in PEM that can be used", file.display())]
    Pem { file: PathBuf, source: native_tls::Error },
    #[error(
        "{} and {} do not make a client certificate; the key must be PKCS#8 in PEM without a passphrase, as \"openssl pkcs8 -topk8 -nocrypt\" writes it",
        certificate.display(),
        key.display()
    )]
    Identity { certificate: PathBuf, key: PathBuf, source: native_tls::Error },
    #[error("{} holds no certificate", file.display())]
    NoCertificate { file: PathBuf },
    #[error("TLS cannot be set up")]
    TlsSetup { source: native_tls::Error },
}

impl Failure {
    pub(super) fn of_connection(broker: String, error: ConnectionError) -> Self {
        match error {
            ConnectionError::ConnectionRefused(
                code @ (ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized),
            ) => Self::Login { broker, code },
            ConnectionError::ConnectionRefused(code) => Self::Refused { broker, code },
            ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => Self::NoAnswer { broker },
            ConnectionError::Io(source) => Self::Tcp { broker, source },
            ConnectionError::Tls(source) => Self::Tls { broker, source },
            ConnectionError::MqttState(StateError::Deserialization(Error::PayloadSizeLimitExceeded(
                bytes,
            ))) => Self::TooLarge { broker, bytes },
            ConnectionError::MqttState(source) => Self::Broken { broker, source },
            source @ (ConnectionError::NotConnAck(_) | ConnectionError::RequestsDone) => {
                Self::Protocol { broker, source: Box::new(source) }
            }
        }
    }

    /// The failure and its causes in one line.
    pub fn explain(&self) -> String {
        causes::chain(self)
    }
}
