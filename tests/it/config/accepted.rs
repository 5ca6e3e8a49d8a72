//! What good settings mean, what lies over what, and what a reload takes over.

use std::time::Duration;

use csflowd::config::camera::{Files, Frames, Matching, Order, Source, TriggerMode};
use csflowd::config::engine::Device;
use csflowd::config::{Config, reload};
use csflowd::frame::{PixelFormat, Size};
use insta::assert_snapshot;

use super::{CAMERA, Etc, MQTT, PRODUCT, STATION};

#[test]
fn what_is_left_out_has_its_default() {
    let config = Etc::new().load().unwrap();
    assert_eq!(config.mqtt.host, "127.0.0.1");
    assert_eq!(config.mqtt.port, 1883);
    assert_eq!(config.mqtt.client_id, "csflowd-cell2");
    assert_eq!(config.mqtt.keep_alive, Duration::from_secs(5));
    assert_eq!((&config.mqtt.login, &config.mqtt.tls), (&None, &None));
    assert_eq!((config.engine.device, config.engine.threads), (Device::Auto, None));
    assert_eq!((config.engine.batch_max, config.engine.frame_queue), (4, 8));
    let camera = &config.cameras[0];
    assert_eq!((&camera.source, camera.size), (&Source::Pipeline, None));
    assert_eq!((camera.format, camera.stall), (PixelFormat::Rgb8, Duration::from_secs(5)));
    assert_eq!(camera.pipeline, "fakesrc ! appsink name=frames");
    assert_eq!(config.product.name, "tile");
    assert_eq!(config.product.deadline, Duration::from_secs(1));
    assert_eq!((config.product.threshold, config.product.guard_band), (None, None));
    assert_eq!(config.sha256.len(), 64);
}

#[test]
fn all_that_can_be_said_of_a_camera_arrives() {
    let etc = Etc::new();
    etc.write("images/1.png", "");
    etc.write("shared/v4l2.launch", "v4l2src device=${device} ! appsink name=frames");
    let keys = "parameters = { device = 7 }\nformat = \"GRAY8\"\nwidth = 640\nheight = 480\nstall_s = 2\n\
        retry_first_s = 0.1\nretry_max_s = 1\n[camera.source]\nkind = \"files\"\nfolder = \"images\"\n\
        rate_hz = 5\nrepeat = true\norder = \"shuffled\"\nseed = 3\n";
    etc.write("csflowd.toml", &[STATION, MQTT, &CAMERA.replace("test", "v4l2"), keys].concat());
    let camera = &etc.load().unwrap().cameras[0];
    assert_eq!(camera.pipeline, "v4l2src device=7 ! appsink name=frames");
    assert_eq!(camera.format, PixelFormat::Gray8);
    assert_eq!(camera.size, Some(Size { width: 640, height: 480 }));
    assert_eq!(camera.retry, (Duration::from_millis(100), Duration::from_secs(1)));
    let folder = etc.dir.path().join("images");
    let files = Files { folder, rate_hz: 5.0, repeat: true, order: Order::Shuffled { seed: 3 } };
    assert_eq!(camera.source, Source::Files(files));
}

#[test]
fn a_camera_says_what_triggers_it() {
    let etc = Etc::new();
    let mode = |keys: &str| {
        etc.write("csflowd.toml", &[STATION, MQTT, "commands = true\n", CAMERA, keys].concat());
        etc.load().unwrap().cameras[0].trigger
    };
    assert_eq!(mode(""), TriggerMode::Free);
    assert_eq!(mode("trigger = \"hardware\"\n"), TriggerMode::Hardware);
    let command = |frames, early, window| {
        let (early, window) = (Duration::from_millis(early), Duration::from_millis(window));
        TriggerMode::Command(Matching { frames, early, window })
    };
    assert_eq!(mode("trigger = \"command\"\n"), command(Frames::Stream, 0, 200));
    let keys = "trigger = \"command\"\nframes = \"pulse\"\n";
    assert_eq!(mode(keys), command(Frames::Pulse, 50, 200));
    let keys = "trigger = \"command\"\nframes = \"pulse\"\nearly_ms = 5\nwindow_ms = 80\n";
    assert_eq!(mode(keys), command(Frames::Pulse, 5, 80));
}

#[test]
fn a_password_arrives_without_its_line_end_and_is_never_shown() {
    let etc = Etc::new().over("mqtt.username", "cell2").over("mqtt.password_file", "secret");
    etc.write("secret", "hunter2\r\n");
    etc.chmod("secret", 0o600);
    let config = etc.load().unwrap();
    assert_eq!(config.mqtt.login.as_ref().unwrap().password.expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));

    let etc = Etc::new().over("mqtt.username", "cell2").over("mqtt.password_credential", "mqtt-password");
    etc.write("credentials/mqtt-password", "hunter2");
    let folder = etc.dir.path().join("credentials").display().to_string();
    let config = etc.variable("CREDENTIALS_DIRECTORY", &folder).load().unwrap();
    assert_eq!(config.mqtt.login.unwrap().password.expose(), "hunter2");
}

#[test]
fn the_command_line_lies_over_the_environment_and_that_over_the_file() {
    let etc = Etc::new()
        .variable("CSFLOWD__MQTT__PORT", "1884")
        .variable("CSFLOWD__MQTT__KEEP_ALIVE_S", "7")
        .variable("CSFLOWD__STATION__NAME", "007")
        .variable("CSFLOWD__MQTT__RETRY_MAX_S", "3")
        .variable("CSFLOWD_LOG", "debug")
        .over("mqtt.port", "1885")
        .over("camera[0].stall_s", "2.5");
    let config = etc.load().unwrap();
    assert_eq!((config.mqtt.port, config.mqtt.keep_alive), (1885, Duration::from_secs(7)));
    assert_eq!(config.mqtt.retry.1, Duration::from_secs(3));
    assert_eq!(config.station.name, "007");
    assert_eq!(config.cameras[0].stall, Duration::from_millis(2500));
}

#[test]
fn the_sum_changes_with_what_judges_and_with_nothing_else() {
    let etc = Etc::new();
    let first = etc.load().unwrap().sha256;
    assert_eq!(etc.load().unwrap().sha256, first);
    etc.write("products/other.toml", PRODUCT);
    assert_eq!(etc.load().unwrap().sha256, first);
    etc.write("products/tile.toml", &format!("{PRODUCT}threshold = 1\n"));
    let second = etc.load().unwrap().sha256;
    assert_ne!(second, first);
    assert_ne!(etc.over("mqtt.port", "1884").load().unwrap().sha256, second);
}

#[test]
fn changes_are_named_and_only_judging_changes_while_running() {
    let etc = Etc::new();
    let old = etc.load().unwrap();
    let changes = |new: &Config| {
        let built_in = reload::built_in_changes(&old, new);
        [built_in, reload::product_changes(&old.product, &new.product)].concat()
    };
    assert_eq!(changes(&old), [""; 0]);
    let product = "threshold = 10.5\ndeadline_ms = 500\n[regions]\nmin_area_px = 4\n";
    etc.write("products/tile.toml", &[PRODUCT, product].concat());
    let cameras = [&CAMERA.replace("top", "side"), CAMERA, "stall_s = 1\n"].concat();
    etc.write("csflowd.toml", &[STATION, MQTT, "port = 1884\n", &cameras].concat());
    let lines = changes(&etc.load().unwrap());
    assert_snapshot!(lines.join("\n"), @"
    mqtt (needs a restart)
    camera top (needs a restart)
    camera side added (needs a restart)
    product: threshold not set -> 10.5
    product: deadline 1000 ms -> 500 ms
    product: regions.min_area_px 0 -> 4
    ");
}
