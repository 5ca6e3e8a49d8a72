//! What is refused, and the very words that say so.

use std::fs;

use insta::assert_snapshot;

use super::{CAMERA, Etc, MQTT, PRODUCT, STATION};

/// The problems of a station file.
fn refused(station: &str) -> String {
    let etc = Etc::new();
    etc.write("csflowd.toml", station);
    etc.refused()
}

/// The problems of a station with these keys added to `[mqtt]`.
fn refused_mqtt(keys: &str) -> String {
    refused(&[STATION, MQTT, keys, CAMERA].concat())
}

/// The problems of a station with these keys added to its camera.
fn refused_camera(keys: &str) -> String {
    refused(&[STATION, MQTT, CAMERA, keys].concat())
}

/// The problems of a product file.
fn refused_product(product: &str) -> String {
    let etc = Etc::new();
    etc.write("products/tile.toml", product);
    etc.refused()
}

#[test]
fn a_file_that_cannot_be_read_is_one_clear_sentence() {
    let etc = Etc::new();
    fs::remove_file(etc.dir.path().join("csflowd.toml")).unwrap();
    assert_snapshot!(etc.refused(), @"ETC/csflowd.toml: no such file or directory");
    fs::create_dir(etc.dir.path().join("csflowd.toml")).unwrap();
    assert_snapshot!(etc.refused(), @"ETC/csflowd.toml: is a directory");
    assert_snapshot!(refused("[station]\nname = \"cell2\nproduct = 1"), @r#"ETC/csflowd.toml: line 2, column 14: invalid basic string, expected `"`"#);
    assert_snapshot!(refused("[station]\nname = 1\nname = 2"), @"ETC/csflowd.toml: line 3, column 1: duplicate key");
    assert_snapshot!(refused("[mqtt]\nport = 99999999999999999999"), @"ETC/csflowd.toml: cannot be read: number too large to fit in target type");
    etc.write("bytes/csflowd.toml", "");
    fs::write(etc.dir.path().join("bytes/csflowd.toml"), b"[station]\nname = \"\xff\"").unwrap();
    let problems = etc.load_file("bytes/csflowd.toml").unwrap_err();
    assert_eq!(problems.0[0].text, "line 2: not UTF-8 text");
}

#[test]
fn an_empty_file_is_told_what_it_needs() {
    assert_snapshot!(refused(""), @r#"
    ETC/csflowd.toml: station.name: is missing
    ETC/csflowd.toml: station.product: is missing
    ETC/csflowd.toml: mqtt.prefix: is missing
    ETC/csflowd.toml: camera: there is none: add at least one [[camera]]
    ETC/products/tile.toml: bundle: there is no file "tile.csflow" in ETC/products or /var/lib/csflowd/bundles
    "#);
}

#[test]
fn unknown_keys_are_all_found_and_the_nearest_known_one_is_named() {
    let station = "nmae = 1\n[statoin]\n[mqtt.tls]\nca_flie = \"x\"\n[engine]\nthread = 4\ngpu = true\n";
    let keys = "colour = \"RGB\"\n[camera.source]\nkind = \"pipeline\"\nfoldr = \"x\"\n";
    assert_snapshot!(refused(&[station, STATION, MQTT, CAMERA, keys].concat()), @r#"
    ETC/csflowd.toml: nmae: is not a key; there are station, mqtt, outbox, engine, camera, group
    ETC/csflowd.toml: statoin: is not a key; did you mean "station"?
    ETC/csflowd.toml: camera.top.colour: is not a key; there are id, pipeline, parameters, format, width, height, trigger, frames, early_ms, window_ms, stall_s, retry_first_s, retry_max_s, frozen_after, source
    ETC/csflowd.toml: camera.top.source.foldr: is not a key; did you mean "folder"?
    ETC/csflowd.toml: engine.gpu: is not a key; there are device, precision, threads, batch_max, frame_queue, swap
    ETC/csflowd.toml: engine.thread: is not a key; did you mean "threads"?
    ETC/csflowd.toml: mqtt.tls.ca_flie: is not a key; did you mean "ca_file"?
    "#);
    assert_snapshot!(refused_mqtt("password = \"hunter2\"\n"), @"ETC/csflowd.toml: mqtt.password: is not a key: passwords stand apart, use password_file or password_credential");
    assert_snapshot!(refused_product("bundle = \"tile.csflow\"\ntreshold = 1\n[region]\nmin_area_px = 1\n"), @r#"
    ETC/products/tile.toml: region: is not a key; did you mean "regions"?
    ETC/products/tile.toml: treshold: is not a key; did you mean "threshold"?
    "#);
}

#[test]
fn a_wrong_type_hides_no_other_problem() {
    let station = "[station]\nname = 2\nproduct = \"tile\"\nstate_dir = \"state\"\n";
    let mqtt =
        "[mqtt]\nprefix = [\"a\"]\nport = \"1883\"\nkeep_alive_s = 5.5\nallow_plaintext = 1\ntls = true\n";
    let engine = "[engine]\ndevice = \"gpu\"\nthreads = \"all\"\nbatch_max = 0\n";
    let cameras = "[[camera]]\nid = \"a b\"\npipeline = 3\nformat = \"rgb\"\nwidth = true\nparameters = { a = [] }\n\
        [[camera]]\nstall_s = \"5\"\nsource = \"files\"\n";
    assert_snapshot!(refused(&[station, mqtt, engine, cameras].concat()), @r#"
    ETC/csflowd.toml: station.name: must be text in quotes, is 2
    ETC/csflowd.toml: mqtt.tls: must be a table of keys, is true
    ETC/csflowd.toml: mqtt.port: must be a whole number, is "1883"
    ETC/csflowd.toml: mqtt.allow_plaintext: must be true or false, is 1
    ETC/csflowd.toml: mqtt.prefix: must be text in quotes, is a list
    ETC/csflowd.toml: mqtt.keep_alive_s: must be a whole number, is 5.5
    ETC/csflowd.toml: engine.device: must be "auto", "cpu", "cuda" or "cuda:N", is "gpu"
    ETC/csflowd.toml: engine.threads: must be a whole number, is "all"
    ETC/csflowd.toml: engine.batch_max: must be 1 to 64, is 0
    ETC/csflowd.toml: camera[0].id: camera id "a b" must be 1 to 32 characters of A-Z a-z 0-9 _ - and not a topic of its own (cmd, part, status, ...)
    ETC/csflowd.toml: camera[0].format: must be one of "RGB", "BGR", "GRAY8", is "rgb"
    ETC/csflowd.toml: camera[0].height: is missing: give width and height, or neither
    ETC/csflowd.toml: camera[0].width: must be a whole number, is true
    ETC/csflowd.toml: camera[0].parameters.a: must be text in quotes, a number, true or false
    ETC/csflowd.toml: camera[0].pipeline: must be text in quotes, is 3
    ETC/csflowd.toml: camera[1].id: is missing
    ETC/csflowd.toml: camera[1].stall_s: must be a number, is "5"
    ETC/csflowd.toml: camera[1].pipeline: is missing
    ETC/csflowd.toml: camera[1].source: must be a table of keys, is "files"
    "#);
}

#[test]
fn a_section_of_a_wrong_shape_is_one_problem() {
    assert_snapshot!(refused(&["mqtt = 5\nengine = []\n[camera]\nid = \"top\"\n", STATION].concat()), @"
    ETC/csflowd.toml: mqtt: must be a table of keys, is 5
    ETC/csflowd.toml: engine: must be a table of keys, is a list
    ETC/csflowd.toml: camera: must be a list, each element headed [[camera]]
    ");
    assert_snapshot!(refused(&["camera = [5]\n", STATION, MQTT].concat()), @"ETC/csflowd.toml: camera[0]: must be a table of keys, is 5");
}

#[test]
fn numbers_have_ranges_and_are_finite() {
    let keys = "port = 0\nkeep_alive_s = 0\nretry_first_s = 20\n";
    assert_snapshot!(refused_mqtt(keys), @"
    ETC/csflowd.toml: mqtt.port: must be 1 to 65535, is 0
    ETC/csflowd.toml: mqtt.keep_alive_s: must be 1 to 3600, is 0
    ETC/csflowd.toml: mqtt.retry_first_s: must be at most retry_max_s, 10, is 20
    ");
    assert_snapshot!(refused_camera("width = 70000\nheight = -1\nstall_s = nan\nretry_max_s = inf\n"), @"
    ETC/csflowd.toml: camera.top.width: must be 16 to 16384, is 70000
    ETC/csflowd.toml: camera.top.height: must be 16 to 16384, is -1
    ETC/csflowd.toml: camera.top.stall_s: must be 0.1 to 3600, is NaN
    ETC/csflowd.toml: camera.top.retry_max_s: must be 0.01 to 3600, is inf
    ");
    let product = "bundle = \"tile.csflow\"\nthreshold = nan\nguard_band = -1\ndeadline_ms = 0\nmm_per_px = 0\n\
        [regions]\nmap_threshold = -0.1\nmin_area_px = -0.5\n";
    assert_snapshot!(refused_product(product), @"
    ETC/products/tile.toml: threshold: must be a finite number, is NaN
    ETC/products/tile.toml: guard_band: must be finite and at least 0, is -1
    ETC/products/tile.toml: deadline_ms: must be 1 to 60000, is 0
    ETC/products/tile.toml: mm_per_px: must be 0.000001 to 1000, is 0
    ETC/products/tile.toml: regions.map_threshold: must be finite and at least 0, is -0.1
    ETC/products/tile.toml: regions.min_area_px: must be finite and at least 0, is -0.5
    ");
}

#[test]
fn the_broker_is_named_and_reached_in_a_safe_way() {
    assert_snapshot!(refused_mqtt("host = \"10.0.0.7\"\n"), @r#"ETC/csflowd.toml: mqtt.host: "10.0.0.7" would be spoken to without encryption: add tls = {}, or allow_plaintext = true if everybody on that network may read and forge verdicts"#);
    assert_snapshot!(refused_mqtt("host = \"mqtt://broker:1883\"\n"), @r#"ETC/csflowd.toml: mqtt.host: must be a name or an address without scheme and port, is "mqtt://broker:1883""#);
    assert_snapshot!(refused_mqtt("tls = { client_cert = \"a.pem\" }\n"), @"
    ETC/csflowd.toml: mqtt.tls.client_key: is missing: it goes with client_cert
    ETC/csflowd.toml: mqtt.tls.client_cert: ETC/a.pem: no such file or directory
    ");
    for host in ["localhost", "127.0.0.2", "::1"] {
        let etc = Etc::new().over("mqtt.host", host);
        assert_eq!(etc.load().unwrap().mqtt.host, host);
    }
    let etc = Etc::new().over("mqtt.host", "broker").over("mqtt.allow_plaintext", "true");
    assert_eq!(etc.load().unwrap().mqtt.tls, None);
    let etc = Etc::new().over("mqtt.host", "broker");
    etc.write("csflowd.toml", &[STATION, MQTT, "tls = {}\n", CAMERA].concat());
    assert_eq!(etc.load().unwrap().mqtt.port, 8883);
}

#[test]
fn a_prefix_that_is_no_topic_is_refused() {
    for prefix in ["", "/a", "a/", "a//b", "a/+", "#", "a b", "ü", &"x".repeat(81)] {
        let problems = Etc::new().over("mqtt.prefix", prefix).refused();
        assert!(problems.starts_with("command line: mqtt.prefix: must be levels of"), "{problems}");
    }
}

#[test]
fn a_password_needs_a_name_and_exactly_one_private_place() {
    assert_snapshot!(refused_mqtt("username = \"cell2\"\n"), @"ETC/csflowd.toml: mqtt.username: needs a password: add password_file or password_credential");
    assert_snapshot!(refused_mqtt("username = \"a\"\npassword_file = \"x\"\npassword_credential = \"y\"\n"), @"ETC/csflowd.toml: mqtt.password_file: stands beside password_credential: give one of the two");
    assert_snapshot!(refused_mqtt("username = \"a\"\npassword_file = \"absent\"\n"), @"ETC/csflowd.toml: mqtt.password_file: ETC/absent: no such file or directory");
    assert_snapshot!(refused_mqtt("username = \"a\"\npassword_credential = \"mqtt-password\"\n"), @"ETC/csflowd.toml: mqtt.password_credential: systemd has given this process no credentials (to check by hand, set CREDENTIALS_DIRECTORY to the folder it is kept in)");
    assert_snapshot!(refused_mqtt("username = \"a\"\npassword_credential = \"../x\"\n"), @"ETC/csflowd.toml: mqtt.password_credential: must be the name of a credential, not a path");

    let etc = Etc::new();
    etc.write("csflowd.toml", &[STATION, MQTT, "password_file = \"secret\"\n", CAMERA].concat());
    etc.write("secret", "hunter2\n");
    etc.chmod("secret", 0o644);
    assert_snapshot!(etc.refused(), @r#"
    ETC/csflowd.toml: mqtt.password_file: ETC/secret is open to others: run "chmod 600 ETC/secret"
    ETC/csflowd.toml: mqtt.username: is missing: a password alone logs nobody in
    "#);
    etc.chmod("secret", 0o600);
    assert_snapshot!(etc.refused(), @"ETC/csflowd.toml: mqtt.username: is missing: a password alone logs nobody in");
    etc.write("secret", "\n");
    assert_snapshot!(etc.over("mqtt.username", "cell2").refused(), @"ETC/csflowd.toml: mqtt.password_file: ETC/secret is empty");
}

#[test]
fn a_device_has_one_section_whatever_it_is_called() {
    let etc = Etc::new();
    etc.write("pipelines/video.launch", "v4l2src device=${device} ! appsink name=frames\n");
    let camera = |id: &str, device: &str| {
        format!(
            "[[camera]]\nid = \"{id}\"\npipeline = \"video.launch\"\nparameters = {{ device = \"{device}\" }}\n"
        )
    };
    let cameras = |other: &str| [STATION, MQTT, &camera("top", "/dev/null"), &camera("side", other)].concat();
    etc.write("csflowd.toml", &cameras("/dev/zero"));
    etc.load().unwrap();
    etc.write("csflowd.toml", &cameras("/dev/../dev/null"));
    assert_snapshot!(etc.refused(), @"ETC/csflowd.toml: camera.side.pipeline: camera top has this device already: give each device one section");
}

#[test]
fn cameras_are_there_and_differ() {
    assert_snapshot!(refused(&[STATION, MQTT].concat()), @"ETC/csflowd.toml: camera: there is none: add at least one [[camera]]");
    assert_snapshot!(refused_camera(CAMERA), @"ETC/csflowd.toml: camera.top: two cameras have this id");
    assert_snapshot!(refused_camera("width = 640\n"), @"ETC/csflowd.toml: camera.top.height: is missing: give width and height, or neither");
    assert_snapshot!(refused_camera("[camera.source]\nkind = \"pipeline\"\nfolder = \"x\"\nseed = 1\n"), @r#"
    ETC/csflowd.toml: camera.top.source.folder: goes with kind = "files" only
    ETC/csflowd.toml: camera.top.source.seed: goes with kind = "files" only
    "#);
    assert_snapshot!(refused_camera("[camera.source]\nkind = \"files\"\nseed = 1\n"), @r#"
    ETC/csflowd.toml: camera.top.source.folder: is missing: the folder of images
    ETC/csflowd.toml: camera.top.source.seed: goes with order = "shuffled" only
    "#);
    assert_snapshot!(refused_camera("[camera.source]\nkind = \"files\"\nfolder = \"absent\"\n"), @"ETC/csflowd.toml: camera.top.source.folder: ETC/absent: no such file or directory");
}

#[test]
fn a_pipeline_is_there_takes_its_parameters_and_can_be_built() {
    assert_snapshot!(refused(&[STATION, MQTT, "[[camera]]\nid = \"top\"\npipeline = \"absent.launch\"\n"].concat()), @r#"ETC/csflowd.toml: camera.top.pipeline: there is no file "absent.launch" in ETC/pipelines or ETC/shared"#);
    assert_snapshot!(refused_camera("parameters = { refused = 1 }\n"), @r#"ETC/csflowd.toml: camera.top.pipeline: ETC/pipelines/test.launch: parameter "refused" is not in the pipeline"#);
    let etc = Etc::new();
    etc.write("pipelines/test.launch", "fakesrc ! fakesink");
    assert_snapshot!(etc.refused(), @"ETC/csflowd.toml: camera.top.pipeline: has no appsink named frames");
}

#[test]
fn what_triggers_a_camera_is_said_in_full() {
    assert_snapshot!(refused_camera("window_ms = 100\nframes = \"pulse\"\n"), @r#"
    ETC/csflowd.toml: camera.top.frames: goes with trigger = "command" only
    ETC/csflowd.toml: camera.top.window_ms: goes with trigger = "command" only
    "#);
    assert_snapshot!(refused_camera("trigger = \"sensor\"\n"), @r#"ETC/csflowd.toml: camera.top.trigger: must be one of "free", "hardware", "command", is "sensor""#);
    assert_snapshot!(refused_camera("trigger = \"command\"\nearly_ms = -1\nwindow_ms = 0\n"), @r#"
    ETC/csflowd.toml: camera.top.early_ms: must be 0 to 10000, is -1
    ETC/csflowd.toml: camera.top.window_ms: must be 1 to 60000, is 0
    ETC/csflowd.toml: camera.top.trigger: "command" needs mqtt.commands = true
    "#);
    assert_snapshot!(refused_camera("trigger = \"command\"\nwindow_ms = 1000\n"), @r#"
    ETC/csflowd.toml: camera.top.trigger: "command" needs mqtt.commands = true
    ETC/products/tile.toml: deadline_ms: must be at least 1030, which is 30 ms more than early_ms and window_ms of camera top; is 1000
    "#);
}

#[test]
fn all_products_are_checked_and_a_missing_one_is_told_what_there_is() {
    let etc = Etc::new();
    etc.write("products/other.toml", "bundle = \"other.csflow\"\n");
    etc.write("products/two words.toml", PRODUCT);
    etc.write("products/broken.toml", "bundle =\n");
    etc.write("products/.#tile.toml", "left behind by an editor");
    assert_snapshot!(etc.refused(), @r#"
    ETC/products/broken.toml: line 1, column 9: string values must be quoted, expected literal string
    ETC/products/other.toml: bundle: there is no file "other.csflow" in ETC/products or ETC/state/bundles
    ETC/products/two words.toml: a product's name must be 1 to 64 characters of A-Z a-z 0-9 _ . -
    "#);
    assert_snapshot!(Etc::new().over("station.product", "../tile").refused(), @r#"command line: station.product: no product "../tile" in ETC/products; there are: tile"#);
    assert_snapshot!(Etc::new().over("station.products_dir", "absent").refused(), @"command line: station.products_dir: ETC/absent: no such file or directory");
}

#[test]
fn a_problem_names_the_environment_or_the_command_line_where_it_comes_from_there() {
    let etc = Etc::new()
        .variable("CSFLOWD__MQTT__PROT", "secret")
        .variable("CSFLOWD__MQTT__PORT", "many")
        .variable("CSFLOWD__ENGIN__THREADS", "1")
        .variable("CSFLOWD__CAMERA__TOP__STALL_S", "1")
        .over("engine.batch_max", "1.5")
        .over("a..b", "1")
        .over("camera[4000000000].id", "x")
        .over("camera.top.id", "x");
    assert_snapshot!(etc.refused(), @r#"
    the environment: CSFLOWD__CAMERA__TOP__STALL_S: cameras and groups are set in the file or by the command line, as camera[0].stall_s
    command line: a..b: is not a key: write section.key, or camera[0].key for the first camera
    command line: camera[4000000000].id: is not a key: write section.key, or camera[0].key for the first camera
    command line: camera.top.id: is not a key: write section.key, or camera[0].key for the first camera
    the environment: engin: is not a key; did you mean "engine"?
    the environment: mqtt.prot: is not a key; did you mean "port"?
    the environment: mqtt.port: must be a whole number, is "many"
    command line: engine.batch_max: must be a whole number, is "1.5"
    "#);
}
