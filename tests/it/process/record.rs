//! Setting a camera up: a snapshot, pictures to train on, and whether they score as the daemon scores its frames.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::Station;
use super::account::Record;
use crate::fixture;
use crate::mosquitto::subscriber::Subscriber;
use crate::mosquitto::{Mosquitto, signal, wait_until};

/// Frames that are not the files: turned round, in BGR.
const TURNED: &str = "appsrc name=camera ! videoflip method=rotate-180 ! appsink name=frames";
const TURNED_CAMERA: &str = "[[camera]]\nid = \"top\"\npipeline = \"turned.launch\"\nformat = \"BGR\"\n\
                             [camera.source]\nkind = \"files\"\nfolder = \"images\"\nrate_hz = 50\n";

/// Ends after three frames, as a camera does that is unplugged, and is there again when it is opened.
const UNPLUGGED: &str = "videotestsrc num-buffers=3 pattern=snow ! video/x-raw,format=GRAY8,width=97,height=41 ! appsink name=frames";
const UNPLUGGED_CAMERA: &str = "[[camera]]\nid = \"top\"\npipeline = \"unplugged.launch\"\nformat = \"GRAY8\"\n\
                                retry_first_s = 0.05\nretry_max_s = 0.1\n";

/// Draws pictures for ever, ten a second.
const DRAWN_CAMERA: &str =
    "[[camera]]\nid = \"top\"\npipeline = \"test.launch\"\nparameters = { width = 95, height = 64 }\n";

/// A station of which nothing is there but its camera: no bundle, no product, no broker.
fn bare(camera: &str) -> Station {
    let station = Station::new(1, "").with_camera(camera);
    fs::remove_dir_all(station.path("products")).unwrap();
    fs::remove_dir_all(station.path("state")).unwrap();
    station
}

/// Lines of a data set's manifest.
fn manifest(data: &Path) -> Vec<Value> {
    let text = fs::read_to_string(data.join("manifest.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn recorded(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("train/good"));
    let mut files: Vec<_> = entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[track_caller]
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut status = None;
    wait_until("csflowd ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let output = child.wait_with_output().unwrap();
    (status.unwrap().code(), String::from_utf8(output.stderr).unwrap())
}

fn name(path: &Value) -> String {
    Path::new(path.as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned()
}

/// Of each image of an evaluation, by its file's name.
fn scores(evaluation: &Value) -> BTreeMap<String, f64> {
    let images = evaluation["images"].as_array().unwrap();
    images.iter().map(|image| (name(&image["file"]), image["score"].as_f64().unwrap())).collect()
}

#[test]
fn what_is_recorded_scores_as_the_daemon_scores_the_frames_of_the_same_camera() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "").with_camera(TURNED_CAMERA).with_parts(3, 3);
    station.write("pipelines/turned.launch", TURNED);
    let data = station.path("data");
    let out = data.to_str().unwrap();
    let (code, _, told) = station.outcome("record", &["--out", out, "--into", "test/good"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("6 recorded, 0 skipped as alike, 0 damaged, 0 missed in STATION/data/test/good"),
        "{told}"
    );

    // The noise is no good part.
    fs::create_dir_all(data.join("test/noise")).unwrap();
    let lines = manifest(&data);
    for line in lines.iter().filter(|line| line["part"].as_str().unwrap().starts_with("bad")) {
        fs::rename(
            data.join("test/good").join(name(&line["file"])),
            data.join("test/noise").join(name(&line["file"])),
        )
        .unwrap();
    }
    let subscriber = Subscriber::start(broker.port);
    station.start(&[]).expect_good_end();
    let daemon = Record::until_offline(&subscriber);
    assert_eq!(daemon.results.len(), 6);

    // In the precision that this machine's daemon has chosen.
    let precision = daemon.results[0]["precision"].as_str().unwrap();
    let bundle = station.path("state/bundles/part.csflow");
    let mut evaluate = super::csflowd();
    evaluate
        .args(["evaluate", "--json", "--device", "cpu", "--precision", precision, "--bundle"])
        .arg(bundle)
        .arg("--data")
        .arg(&data);
    let output = evaluate.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let evaluation: Value = serde_json::from_slice(&output.stdout).unwrap();
    let evaluated = scores(&evaluation);
    for line in &lines {
        let result = daemon.results.iter().find(|result| result["part_id"] == line["part"]).unwrap();
        let (live, offline) = (result["score"].as_f64().unwrap(), evaluated[&name(&line["file"])]);
        assert!((live - offline).abs() <= 1e-4 * offline.abs().max(1.0), "{line}: {live} and {offline}");
    }
}

#[test]
fn a_camera_that_goes_and_comes_is_told_and_ctrl_c_leaves_all_that_was_recorded() {
    let station = bare(UNPLUGGED_CAMERA);
    station.write("pipelines/unplugged.launch", UNPLUGGED);
    let data = station.path("data");
    let mut record = station.command("record", &["--keep-alike", "--out", data.to_str().unwrap()]);
    let child = record.stderr(Stdio::piped()).spawn().unwrap();
    wait_until("three lives of the camera", || recorded(&data).len() >= 7);
    signal(&child, "INT");
    let (code, told) = end(child);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("camera top: the stream has ended; next try in"), "{told}");
    assert!(told.contains("camera top: frames again after"), "{told}");
    let files = recorded(&data);
    let lines = manifest(&data);
    assert!(told.contains(&format!("{} recorded", files.len())), "{told}");
    assert_eq!(lines.len(), files.len());
    for (line, file) in lines.iter().zip(&files) {
        assert_eq!(data.join(line["file"].as_str().unwrap()), *file);
        assert_eq!(
            (&line["width"], &line["height"], &line["format"]),
            (&97.into(), &41.into(), &"GRAY8".into())
        );
        assert_eq!(image::open(file).unwrap().color(), image::ColorType::L8);
    }

    // The same again adds to it, and the snow that is known is not recorded twice.
    let (code, _, told) = station.outcome("record", &["--count", "3", "--out", data.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!((recorded(&data).len(), manifest(&data).len()), (files.len() + 3, files.len() + 3));
}

#[test]
fn frames_are_taken_by_key_or_by_time() {
    let station = bare(DRAWN_CAMERA);
    let data = station.path("data");
    let mut record = station.command("record", &["--key", "--keep-alike", "--out", data.to_str().unwrap()]);
    let mut child = record.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    for number in 1..=2 {
        keys.write_all(b"\n").unwrap();
        wait_until("the picture", || manifest_len(&data) == number);
    }
    drop(keys);
    let (code, told) = end(child);
    assert_eq!((code, recorded(&data).len()), (Some(0), 2), "{told}");

    let data = station.path("timed");
    let arguments = ["--every", "0.35", "--count", "3", "--keep-alike", "--out", data.to_str().unwrap()];
    let (code, _, told) = station.outcome("record", &arguments);
    assert_eq!(code, Some(0), "{told}");
    let times = manifest(&data)
        .iter()
        .map(|line| line["time"].as_str().unwrap().parse().unwrap())
        .collect::<Vec<jiff::Timestamp>>();
    for pair in times.windows(2) {
        assert!(pair[1].duration_since(pair[0]).as_millis() >= 350, "{times:?}");
    }
}

fn manifest_len(data: &Path) -> usize {
    fs::read_to_string(data.join("manifest.jsonl")).map_or(0, |text| text.lines().count())
}

#[test]
fn a_disk_that_takes_no_more_is_told_and_what_is_there_is_whole() {
    // Even grey needs little room, noise does not fit.
    let station = Station::new(1, "rate_hz = 50").with_parts(2, 0);
    fixture::save(&station.path("images/z.png"), &fixture::bad(0));
    let data = station.path("data");
    let record = station.command("record", &["--out", data.to_str().unwrap()]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""]);
    let output = limited.arg(record.get_program()).args(record.get_args()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{told}");
    assert!(told.contains("recording stopped after 2 pictures, which are kept: "), "{told}");
    let files = recorded(&data);
    assert_eq!((files.len(), manifest(&data).len()), (2, 2), "{files:?}");
    assert!(files.iter().all(|file| image::open(file).is_ok()));
}

#[test]
fn a_snapshot_is_one_frame_and_what_was_agreed_on() {
    let station = bare(DRAWN_CAMERA);
    let file = station.path("shot.png");
    let arguments = ["--camera", "top", "--skip", "2", "--out", file.to_str().unwrap()];
    let (code, said, told) = station.outcome("snapshot", &arguments);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{said}");
    assert!(said.starts_with("camera top: RGB 95x64, first frame after "), "{said}");
    let link = |line: &&str| line.trim_start().starts_with("capsfilter");
    let link = said.lines().find(link).unwrap_or_else(|| panic!("{said}"));
    for word in ["video/x-raw", "format=(string)RGB", "width=(int)95", "framerate=(fraction)10/1"] {
        assert!(link.contains(word), "{link}");
    }
    let image = image::open(&file).unwrap();
    assert_eq!((image.width(), image.height(), image.color()), (95, 64, image::ColorType::Rgb8));

    let before = fs::read(&file).unwrap();
    let (code, _, told) = station.outcome("snapshot", &arguments);
    assert_eq!(code, Some(64));
    assert!(told.contains("shot.png: is there already, and nothing is written over"), "{told}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_camera_that_is_not_there_or_does_not_fit_is_told_in_a_sentence() {
    let station = bare(DRAWN_CAMERA);
    for (arguments, code, expected) in [
        (&["--camera", "side"][..], 64, "there is no camera \"side\"; there are: top"),
        (&["--set", "mqtt.port=x", "--wait", "0"], 64, "must be 0.01 to 86400 seconds"),
    ] {
        let (found, _, told) = station.outcome("snapshot", arguments);
        assert!(found == Some(code) && told.contains(expected), "{found:?} {told}");
    }
    let gray = bare(&DRAWN_CAMERA.replace("[[camera]]", "[[camera]]\nformat = \"GRAY8\""));
    let (code, said, told) = gray.outcome("snapshot", &[]);
    assert!(code == Some(78) && said.contains("format=(string)RGB"), "{said}{told}");
    assert!(told.contains("camera top: frame is RGB 95x64, configured is GRAY8"), "{told}");
    let broken = bare(&DRAWN_CAMERA.replace("test.launch", "tset.launch"));
    let (code, _, told) = broken.outcome("record", &["--out", "data"]);
    assert!(code == Some(78) && told.contains("camera.top.pipeline"), "{told}");
    let stream = "[[camera]]\ntrigger = \"command\"";
    let stream = bare(&DRAWN_CAMERA.replace("[[camera]]", stream));
    let (code, _, told) = stream.outcome("record", &["--out", "data"]);
    assert!(code == Some(64) && told.contains("say --every or --key"), "{told}");
}
