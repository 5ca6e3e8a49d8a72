//! The settings that are shipped, judged by the program that is shipped with them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture;

/// Copies the files of a shipped folder.
fn copy(from: &str, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(from)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn every_shipped_station_passes_the_check_with_the_shipped_pipelines() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    copy("config", root);
    copy("config/products", &root.join("products"));
    copy("config/examples", &root.join("examples"));
    copy("pipelines", &root.join("pipelines"));
    copy("pipelines", &root.join("examples/pipelines"));
    // What a station brings itself: a bundle, pictures to replay, the broker's password.
    fs::write(root.join("products/example.csflow"), fixture::bundle()).unwrap();
    fs::create_dir(root.join("examples/images")).unwrap();
    fixture::save(&root.join("examples/images/1.png"), &fixture::good(1));
    fs::create_dir(root.join("credentials")).unwrap();
    fs::write(root.join("credentials/csflowd.mqtt-password"), "secret\n").unwrap();

    let mut stations = vec![root.join("csflowd.toml")];
    stations.extend(fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path()));
    stations.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    assert!(stations.len() > 4, "{stations:?}");
    for station in stations {
        let output = Command::new(env!("CARGO_BIN_EXE_csflowd"))
            .args(["check", "--no-hardware", "--set", "station.state_dir=state", "--config"])
            .arg(&station)
            .env("CREDENTIALS_DIRECTORY", root.join("credentials"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{}: {said}", station.display());
    }
}
