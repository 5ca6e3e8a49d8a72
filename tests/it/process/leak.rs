//! A camera that is lost and built again for ever: neither memory nor descriptors go with it.

use std::fs;

use super::{Daemon, Station};
use crate::mosquitto::Mosquitto;
use crate::mosquitto::subscriber::{Message, Subscriber};

/// What the allocator may hold back.
const SLACK_KB: u64 = 4096;

/// A GigE camera that happens to be open has six more than one that is not.
const SLACK_DESCRIPTORS: usize = 8;

/// So many, or what `CSFLOWD_REBUILDS` says.
fn rebuilds(usual: u64) -> u64 {
    std::env::var("CSFLOWD_REBUILDS").map_or(usual, |text| text.parse().unwrap())
}

/// Resident memory in kB, and open descriptors.
fn held(daemon: &Daemon) -> (u64, usize) {
    let process = format!("/proc/{}", daemon.child.id());
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident = resident.split_whitespace().next().unwrap().parse().unwrap();
    (resident, fs::read_dir(format!("{process}/fd")).unwrap().count())
}

/// Waits until the camera has come back so many times. As long as it goes on, it may take its time.
fn wait_reconnects(daemon: &Daemon, subscriber: &Subscriber, count: u64) {
    let reconnects = |message: &Message| message.payload["cameras"][0]["reconnects"].as_u64().unwrap_or(0);
    let mut last = 0;
    while last < count {
        let status = subscriber.wait_for("a camera that comes back", |message| {
            message.topic == "plant/status" && reconnects(message) > last
        });
        last = reconnects(&status);
        // What it tells systemd must not pile up: it would wait for a reader.
        drop(daemon.notices_so_far());
    }
}

/// Measures after `rebuilds` and after as many again.
fn check(pipeline: &str, section: &str, rebuilds: u64) {
    let broker = Mosquitto::start();
    let section = format!(
        "[[camera]]\nid = \"top\"\npipeline = \"short.launch\"\nretry_first_s = 0.01\nretry_max_s = 0.05\n{section}"
    );
    let station = Station::new(broker.port, "").with_camera(&section);
    station.write("pipelines/short.launch", pipeline);
    let subscriber = Subscriber::start(broker.port);
    let mut daemon = station.start(&["--log", "error"]);
    wait_reconnects(&daemon, &subscriber, rebuilds);
    let (memory, descriptors) = held(&daemon);
    wait_reconnects(&daemon, &subscriber, 2 * rebuilds);
    let (memory_after, descriptors_after) = held(&daemon);
    println!(
        "{rebuilds} rebuilds: {memory} to {memory_after} kB, {descriptors} to {descriptors_after} descriptors"
    );
    daemon.stop();
    assert!(memory_after <= memory + SLACK_KB, "from {memory} to {memory_after} kB");
    let most = descriptors + SLACK_DESCRIPTORS;
    assert!(descriptors_after <= most, "from {descriptors} to {descriptors_after} descriptors");
}

#[test]
fn a_pipeline_that_is_rebuilt_for_ever_leaves_nothing_behind() {
    let text = "videotestsrc num-buffers=1 ! video/x-raw,format=RGB,width=96,height=64 ! appsink name=frames";
    check(text, "", rebuilds(150));
}

#[cfg(feature = "aravis")]
#[test]
fn a_genicam_camera_that_is_opened_for_ever_leaves_nothing_behind() {
    let Some(lens) = crate::lens::Lens::start(&[]) else { return };
    let section = format!(
        "format = \"GRAY8\"\n[camera.source]\nkind = \"genicam\"\ndevice = \"{}\"\npacket_size = 4000\n\
         features = {{ AcquisitionFrameRate = 100.0 }}\n",
        lens.id
    );
    check("appsrc name=camera ! identity eos-after=1 ! appsink name=frames", &section, rebuilds(25));
}
