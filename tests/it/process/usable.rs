//! Pictures that the network is not asked about: out of range, or the same again from a live camera.

use super::Station;
use super::account::{Record, number};
use crate::fixture;
use crate::mosquitto::Mosquitto;
use crate::mosquitto::subscriber::Subscriber;

/// One grey, for ever.
const STILL: &str = "videotestsrc is-live=true pattern=solid-color foreground-color=0xff828282 \
                     ! video/x-raw,format=RGB,width=96,height=64,framerate=20/1 ! appsink name=frames";
const STILL_CAMERA: &str = "[[camera]]\nid = \"top\"\npipeline = \"still.launch\"\n";

/// In the order of the triggers: what is not judged is answered before what waits for it.
fn codes(record: &Record) -> Vec<(u64, u64)> {
    let mut verdicts: Vec<_> = record.verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| number(verdict, "trig"));
    verdicts.iter().map(|verdict| (number(verdict, "ev"), number(verdict, "code"))).collect()
}

fn events<'a>(record: &'a Record, name: &str) -> Vec<&'a str> {
    let named = record.events.iter().filter(|event| event["event"] == name);
    named.map(|event| event["text"].as_str().unwrap()).collect()
}

#[test]
fn a_picture_out_of_range_has_a_code_and_no_score_and_is_told_once() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 50");
    // Greys of 90, 95, 100 and 160.
    for (name, of) in [("a", 0), ("b", 1), ("c", 14), ("d", 14), ("e", 2)] {
        fixture::save(&station.path(&format!("images/{name}.png")), &fixture::good(of));
    }
    station.set_product("deadline_ms = 60000\n[image]\nbrightness_max = 130\n");
    let subscriber = Subscriber::start(broker.port);
    station.start(&[]).expect_good_end();
    let record = Record::until_offline(&subscriber);
    record.assert_balances();
    // Those that wait together are answered in two turns.
    let of = |part: &str| record.results.iter().find(|result| result["part_id"] == part).unwrap();
    let codes = ["a.png", "b.png", "c.png", "d.png", "e.png"].map(|part| number(of(part), "code"));
    assert_eq!(codes, [0, 0, 40, 40, 0]);
    let refused = of("c.png");
    assert_eq!((&refused["code_text"], refused.get("score")), (&"IMAGE_OUT_OF_RANGE".into(), None));
    assert_eq!(record.count("/not_inspected/image_out_of_range"), 2);
    let text = "parts are not judged: too bright: mean brightness 160, at most 130 is usual";
    assert_eq!(events(&record, "PICTURE_OUT_OF_RANGE"), [text]);
}

#[test]
fn a_live_camera_that_sends_the_same_picture_again_is_frozen_unless_it_may() {
    let broker = Mosquitto::start();
    for (keys, expected, told) in [
        ("", [(1, 0), (0, 13), (0, 13), (0, 13)], 1),
        ("frozen_after = 3\n", [(1, 0), (1, 0), (1, 0), (0, 13)], 1),
        ("frozen_after = 0\n", [(1, 0); 4], 0),
    ] {
        let station = Station::new(broker.port, "").with_camera(&[STILL_CAMERA, keys].concat());
        station.write("pipelines/still.launch", STILL);
        let subscriber = Subscriber::start(broker.port);
        station.start(&["--frames", "4"]).expect_good_end();
        let record = Record::until_offline(&subscriber);
        record.assert_balances();
        assert_eq!(codes(&record), expected, "{keys}");
        assert_eq!(events(&record, "CAMERA_FROZEN").len(), told, "{keys}");
    }
}

#[test]
fn a_folder_of_files_may_repeat_and_says_so_where_it_is_asked() {
    let station = Station::new(1, "").with_parts(1, 0);
    let settings = std::fs::read_to_string(station.path("csflowd.toml")).unwrap();
    station.write("csflowd.toml", &settings.replace("[camera.source]", "frozen_after = 3\n[camera.source]"));
    let (code, _, told) = station.outcome("check", &["--no-hardware"]);
    assert_eq!(code, Some(78));
    let expected = "STATION/csflowd.toml: camera.top.frozen_after: does not go with kind = \"files\"";
    assert!(told.contains(expected), "{told}");
}
