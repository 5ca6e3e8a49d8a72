//! TLS with an authority of our own, made by the openssl command.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

use csflowd::config::mqtt::{Mqtt, Tls};
use csflowd::publish;
use tempfile::TempDir;

use super::rig::{mqtt, with_publisher};
use crate::mosquitto::{Mosquitto, run, wait_until};

/// An authority, a certificate for the broker and one for a client, in a folder.
fn authority() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        run(Command::new("openssl").args(arguments.split(' ')).current_dir(folder.path()));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.crt");
    fs::write(folder.path().join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    for name in ["broker", "client"] {
        openssl(&format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.crt"
        ));
    }
    folder
}

/// A broker that asks its clients for a certificate.
fn broker(authority: &Path) -> Mosquitto {
    let read = |name| fs::read(authority.join(name)).unwrap();
    let files =
        [("ca.crt", read("ca.crt")), ("broker.crt", read("broker.crt")), ("broker.key", read("broker.key"))];
    let files: Vec<_> = files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    let settings = "allow_anonymous true\ncafile @/ca.crt\ncertfile @/broker.crt\nkeyfile @/broker.key\nrequire_certificate true\n";
    Mosquitto::with_settings(settings, &files)
}

fn with_tls(mqtt: Mqtt, ca: &Path, client: &Path) -> Mqtt {
    let ca_file = Some(ca.join("ca.crt"));
    Mqtt {
        tls: Some(Tls { ca_file, client: Some((client.join("client.crt"), client.join("client.key"))) }),
        ..mqtt
    }
}

#[test]
fn a_broker_of_the_given_authority_is_trusted_and_gets_a_client_certificate() {
    let authority = authority();
    let broker = broker(authority.path());
    for host in ["127.0.0.1", "localhost"] {
        let mqtt = Mqtt { host: host.into(), ..mqtt(broker.port) };
        with_publisher(&with_tls(mqtt, authority.path(), authority.path()), |plant| {
            wait_until("connected", || plant.health.broker_connected.load(Relaxed));
        });
    }
}

#[test]
fn a_broker_of_another_authority_is_refused() {
    let (ours, theirs) = (authority(), authority());
    let broker = broker(theirs.path());
    with_publisher(&with_tls(mqtt(broker.port), ours.path(), theirs.path()), |plant| {
        wait_until("the reason is logged", || plant.log().contains("certificate verify failed"));
        assert!(plant.log().contains("check the CA file"), "{}", plant.log());
        assert!(!plant.health.broker_connected.load(Relaxed));
    });
}

#[test]
fn without_a_ca_file_the_systems_authorities_are_trusted_and_no_others() {
    let authority = authority();
    let broker = broker(authority.path());
    let settings = with_tls(mqtt(broker.port), authority.path(), authority.path());
    let tls = settings.tls.clone().map(|tls| Tls { ca_file: None, ..tls });
    with_publisher(&Mqtt { tls, ..settings }, |plant| {
        wait_until("the reason is logged", || plant.log().contains("certificate verify failed"));
        assert!(!plant.health.broker_connected.load(Relaxed));
    });
}

#[test]
fn certificates_are_checked_before_the_line_runs() {
    let authority = authority();
    let good = with_tls(mqtt(1), authority.path(), authority.path());
    publish::check(&good).unwrap();
    publish::check(&mqtt(1)).unwrap();
    fs::write(authority.path().join("client.key"), "nothing").unwrap();
    let error = publish::check(&good).unwrap_err().explain();
    assert!(error.contains("client.key do not make a client certificate; the key must be PKCS#8"), "{error}");
}

#[test]
fn a_ca_file_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.crt");
    let mqtt = Mqtt { tls: Some(Tls { ca_file: Some(ca_file.clone()), client: None }), ..mqtt(1) };
    with_publisher(&mqtt, |plant| {
        let logged = |text: &str| {
            wait_until(text, || {
                plant.log().contains(text) && plant.log().contains(ca_file.to_str().unwrap())
            });
        };
        logged("cannot read");
        fs::write(&ca_file, "nothing").unwrap();
        logged("holds no certificate");
    });
}
