//! TLS from PEM files or the system's trust store, by the system's own library.
//!
//! The files are read for each connection: a certificate that was renewed is used without a restart.

use std::fs;
use std::path::Path;

use rumqttc::tokio_native_tls::native_tls::{Certificate, Identity, Protocol, TlsConnector};

use crate::config::mqtt::Tls;
use crate::publish::failure::Failure;

/// A connector that trusts the given CA alone, or the system's if none is given.
pub(super) fn connector(tls: &Tls) -> Result<TlsConnector, Failure> {
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    if let Some(file) = &tls.ca_file {
        let certificates = Certificate::stack_from_pem(&read(file)?)
            .map_err(|source| Failure::Pem { file: file.clone(), source })?;
        if certificates.is_empty() {
            return Err(Failure::NoCertificate { file: file.clone() });
        }
        builder.disable_built_in_roots(true);
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    if let Some((certificate, key)) = &tls.client {
        let identity = Identity::from_pkcs8(&read(certificate)?, &read(key)?).map_err(|source| {
            Failure::Identity { certificate: certificate.clone(), key: key.clone(), source }
        })?;
        builder.identity(identity);
    }
    builder.build().map_err(|source| Failure::TlsSetup { source })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|source| Failure::Read { file: file.into(), source })
}
