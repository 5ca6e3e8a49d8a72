//! A GigE Vision camera that csflowd fires when the PLC's command comes.

use std::time::Duration;

use super::{Station, csflowd};
use crate::lens::Lens;
use crate::mosquitto::sender::Sender;
use crate::mosquitto::subscriber::Subscriber;
use crate::mosquitto::{Mosquitto, pause_for};

const PIPELINE: &str = "appsrc name=camera ! videoconvert ! video/x-raw,format=RGB ! appsink name=frames";

const CAMERA: &str = "[[camera]]\nid = \"top\"\npipeline = \"lens.launch\"\ntrigger = \"command\"\nwindow_ms = 1000\n\
    [camera.source]\nkind = \"genicam\"\ntrigger_source = \"Software\"\npacket_size = 4000\n";

#[test]
fn a_camera_on_the_network_is_listed_with_its_section() {
    let Some(lens) = Lens::start(&[]) else { return };
    let output = csflowd().arg("cameras").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let listed = format!("[camera.source]\nkind = \"genicam\"\ndevice = \"{}\"", lens.id);
    assert!(output.status.success() && text.contains(&listed), "{text}");
}

#[test]
fn each_command_has_the_picture_that_it_made_the_camera_take() {
    let Some(lens) = Lens::start(&[]) else { return };
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "").with_camera(&format!("{CAMERA}device = \"{}\"\n", lens.id));
    station.write("pipelines/lens.launch", PIPELINE);
    let (sender, subscriber) = (Sender::start(broker.port), Subscriber::start(broker.port));
    let mut daemon = station.start(&["--set", "mqtt.commands=true"]).ready();
    subscriber.wait_for("READY", |m| m.topic == "plant/status" && m.payload["state"] == "READY");
    let mut judged = 0;
    for trig in 0..4 {
        // Closer together, a frame could be meant by two commands.
        pause_for(Duration::from_millis(1100));
        sender.send("plant/cmd/trigger", &format!(r#"{{"camera":"top","trig":{trig}}}"#), false);
        let is_answer = |m: &crate::mosquitto::subscriber::Message| {
            m.topic == "plant/top/verdict" && m.payload["trig"] == trig
        };
        let code = subscriber.wait_for("a verdict", is_answer).payload["code"].as_u64().unwrap();
        // On a machine whose kernel keeps few packets a frame may come damaged, but one comes.
        assert!(code == 0 || code == 11, "trigger {trig}: code {code}");
        judged += u32::from(code == 0);
    }
    assert!(judged > 0, "not one frame came whole");
    daemon.stop();
}

#[test]
fn setting_up_a_camera_that_csflowd_fires_fires_it() {
    let Some(lens) = Lens::start(&[]) else { return };
    let station = Station::new(1, "").with_camera(&format!("{CAMERA}device = \"{}\"\n", lens.id));
    station.write("pipelines/lens.launch", PIPELINE);
    let data = station.path("data");
    let out = data.to_str().unwrap();
    let (code, _, told) = station.outcome("record", &["--out", out]);
    assert!(code == Some(64) && told.contains("say --every or --key"), "{code:?} {told}");
    let every = ["--out", out, "--every", "0.2", "--count", "2", "--keep-alike"];
    let (code, _, told) = station.outcome("record", &every);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(std::fs::read_dir(data.join("train/good")).unwrap().count(), 2);
}
