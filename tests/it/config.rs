//! Settings, loaded from a folder made for each test.

mod accepted;
mod genicam;
mod refused;
mod roi;
mod shipped;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use csflowd::config::camera::{Camera, Pipelines};
use csflowd::config::problem::Problems;
use csflowd::config::{Config, Sources, load};
use tempfile::TempDir;

const STATION: &str = "[station]\nname = \"cell2\"\nproduct = \"tile\"\nstate_dir = \"state\"\n";
const MQTT: &str = "[mqtt]\nprefix = \"plant1/cell2\"\n";
const CAMERA: &str = "[[camera]]\nid = \"top\"\npipeline = \"test.launch\"\n";
const PRODUCT: &str = "bundle = \"tile.csflow\"\n";

/// A folder like /etc/csflowd, with all that a good station needs.
struct Etc {
    dir: TempDir,
    environment: HashMap<String, String>,
    overrides: Vec<(String, String)>,
}

impl Etc {
    fn new() -> Self {
        let etc = Self { dir: TempDir::new().unwrap(), environment: HashMap::new(), overrides: Vec::new() };
        etc.write("csflowd.toml", &[STATION, MQTT, CAMERA].concat());
        etc.write("products/tile.toml", PRODUCT);
        etc.write("state/bundles/tile.csflow", "");
        etc.write("pipelines/test.launch", "fakesrc ! appsink name=frames\n");
        etc
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    fn over(mut self, key: &str, value: &str) -> Self {
        self.overrides.push((key.into(), value.into()));
        self
    }

    fn load(&self) -> Result<Config, Problems> {
        self.load_file("csflowd.toml")
    }

    fn load_file(&self, name: &str) -> Result<Config, Problems> {
        let shared_dir = self.dir.path().join("shared");
        let pipelines = Pipelines {
            shared_dir: &shared_dir,
            fill: &|text, parameters| match parameters.get("refused") {
                None => Ok(text.trim().replace("${device}", parameters.get("device").map_or("", |d| d))),
                Some(_) => Err("parameter \"refused\" is not in the pipeline".into()),
            },
            check: &|camera: &Camera| {
                let ends_well = camera.pipeline.contains("appsink name=frames");
                ends_well.then_some(()).ok_or_else(|| "has no appsink named frames".into())
            },
        };
        load(&Sources {
            file: &self.dir.path().join(name),
            environment: &self.environment,
            overrides: &self.overrides,
            pipelines: &pipelines,
            product: None,
        })
    }

    /// The problems, with this folder called ETC.
    fn refused(&self) -> String {
        let problems = self.load().expect_err("bad settings were accepted").to_string();
        problems.replace(self.dir.path().to_str().unwrap(), "ETC")
    }
}
