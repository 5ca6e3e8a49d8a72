//! A product with an ROI: judged by where it is the calibrated one, refused where it is not.

use super::{PATIENT, Station};
use crate::mosquitto::Mosquitto;
use crate::mosquitto::subscriber::Subscriber;

/// Nobody listens there, and nobody needs to.
const NO_BROKER: u16 = 1;

/// The left half of the fixture's parts, and of parts twice as wide.
const LEFT: &str = "[roi]\nwidth = 96\nheight = 64\ninclude = [[[0, 0], [48, 0], [48, 64], [0, 64]]]\n";
const LIMIT: &str = "[regions]\nmap_threshold = 1e9\n";
const WIDE: &str = "[roi]\nwidth = 192\nheight = 64\ninclude = [[[0, 0], [48, 0], [48, 64], [0, 64]]]\n";

#[test]
fn an_roi_that_the_bundle_was_not_calibrated_with_is_refused_with_what_to_run() {
    let station = Station::new(NO_BROKER, "").with_parts(1, 0);
    station.set_product(LEFT);
    let expected = "STATION/products/part.toml: roi: the bundle's threshold was calibrated without one; run csflowd \
        calibrate --product STATION/products/part.toml or csflowd train --product STATION/products/part.toml, or set \
        threshold and regions.map_threshold in it by hand\n";
    for arguments in [&["--no-hardware"][..], &[]] {
        let (code, stdout, stderr) = station.outcome("check", arguments);
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(78), "", expected));
    }
    let (code, _, stderr) = station.outcome("run", &[]);
    assert_eq!(code, Some(78));
    assert!(stderr.ends_with(&format!("csflowd: cannot load the product: {expected}")), "{stderr}");

    let mut daemon = station.start(&[]);
    assert_eq!(daemon.wait().code(), Some(78));
    assert_eq!(daemon.notices_so_far(), "", "it is never ready");
}

#[test]
fn a_camera_whose_frames_the_roi_is_not_drawn_on_fails_the_check() {
    let station = Station::new(NO_BROKER, "").with_parts(1, 0);
    station.set_product(&format!("threshold = 1e9\n{LIMIT}{LEFT}"));
    let (code, stdout, _) = station.outcome("check", &[]);
    assert_eq!(code, Some(0));
    let inspected = "\nROI: 100 % of its pixels lie in the 8 of 16 cells that count; a cell is 24x16 px\n";
    assert!(stdout.ends_with(inspected), "{stdout}");
    station.set_product(&format!("threshold = 1e9\n{LEFT}"));
    let (code, _, stderr) = station.outcome("check", &["--no-hardware"]);
    assert_eq!(code, Some(78));
    assert!(stderr.ends_with("or set regions.map_threshold in it by hand\n"), "{stderr}");
    station.set_product(&format!("threshold = 1e9\n{LIMIT}{WIDE}"));
    let expected = "camera top: frames are 96x64, but the product's ROI is drawn on 192x64\n";
    assert_eq!(station.outcome("check", &[]), (Some(78), String::new(), expected.into()));
}

#[test]
fn a_reload_with_an_roi_that_does_not_go_with_the_threshold_is_refused_and_judging_goes_on() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 20\nrepeat = true").with_parts(1, 0);
    let subscriber = Subscriber::start(broker.port);
    let mut daemon = station.start(&[]).ready();
    let wait_verdict = |what: &str, key: &str, value: f64| {
        subscriber.wait_for(what, |m| m.topic == "plant/top/verdict" && m.payload[key] == value)
    };
    let wait_event = |name: &str| {
        let event = subscriber.wait_for(name, |m| m.topic == "plant/event" && m.payload["event"] == name);
        event.payload["text"].as_str().unwrap().to_owned()
    };
    wait_verdict("a good part", "ev", 1.0);

    station.set_product(&format!("{PATIENT}{LEFT}"));
    daemon.signal("HUP");
    let refused = wait_event("CONFIG_REFUSED");
    assert!(refused.starts_with("settings stay as they are: "), "{refused}");
    daemon.wait_notice("READY=1");
    assert!(
        daemon.log().contains("roi: the bundle's threshold was calibrated without one"),
        "{}",
        daemon.log()
    );
    wait_verdict("a good part after a refused ROI", "ev", 1.0);

    station.set_product(&format!("threshold = 1e9\n{PATIENT}{LIMIT}{LEFT}"));
    daemon.signal("HUP");
    let applied = wait_event("CONFIG_APPLIED");
    assert!(applied.contains("product: roi not set -> "), "{applied}");
    assert_eq!(wait_verdict("a part judged by its left half", "thr", 1e9).payload["ev"], 1);
    assert!(daemon.log().contains("ROI: 100 % of its pixels lie in the 8 of 16 cells"), "{}", daemon.log());

    station.set_product(&format!("threshold = 2e9\n{PATIENT}{LIMIT}{WIDE}"));
    daemon.signal("HUP");
    let odd = wait_verdict("a frame of the wrong size", "thr", 2e9).payload;
    assert_eq!((&odd["code"], &odd["pass"]), (&11.into(), &false.into()));
    daemon.stop();
}
