//! Networks that differ from a preset in everything that a switch can change.

use serde_json::json;

use super::{TRAIN, taken_apart, trained};
use crate::cli::run;

const SWITCHES: &str = "--input 160 --features depths --scales 2 --cross-scale off --blocks 2 --hidden 4 \
                        --last-kernel 1 --whiten off";

#[test]
fn a_changed_network_is_trained_written_and_judges_parts() {
    let Some(trained) = trained() else { return };
    let out = tempfile::tempdir_in(&trained.folder).unwrap();
    let bundle = out.path().join("changed.csflow");
    let switches: Vec<&str> = SWITCHES.split(' ').collect();
    let mut train: Vec<&str> = [TRAIN.as_slice(), &switches].concat();
    for argument in &mut train {
        if *argument == "part.csflow" {
            *argument = bundle.to_str().unwrap();
        }
    }
    let output = run(&trained.folder, &train);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (manifest, _) = taken_apart(&bundle);
    let expected = json!({
        "preset": "lite, changed",
        "backbone": "efficientnet_lite0",
        "input_px": 160,
        "features": "depths",
        "whitened": false,
        "flow": {
            "channels": [40, 112],
            "hidden": 4,
            "kernels": [3, 1],
            "cross_scale": false,
            "clamp": 3.0,
        },
    });
    assert_eq!(manifest["architecture"], expected);

    let part = "parts/test/good/000.png";
    let output = run(&trained.folder, &["inspect", "--json", "--bundle", bundle.to_str().unwrap(), part]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["images"][0]["score"].as_f64().is_some_and(f64::is_finite), "{found}");
    // One cell is 8 of 160 pixels, and the parts are drawn at 160.
    assert_eq!(found["images"][0]["cell_px"], 8.0);
}

#[test]
fn the_speed_of_a_changed_network_is_measured_without_training() {
    let folder = tempfile::tempdir().unwrap();
    let switches = SWITCHES.split(' ');
    let bench = "bench --runs 1 --frame 64x64 --device cpu --json".split(' ');
    let output = run(folder.path(), &bench.chain(switches).collect::<Vec<_>>());
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["network"], "lite, changed");
    assert!(found["frames_per_s"].as_f64() > Some(0.0), "{found}");
}
