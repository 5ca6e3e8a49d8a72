//! The real binary, between image files and a real broker, under a systemd that the tests play.

mod account;
mod broker;
mod camera;
#[cfg(feature = "aravis")]
mod fired;
mod gap;
mod jitter;
mod leak;
mod outage;
mod outbox;
mod product;
mod record;
mod refused;
mod reload;
mod roi;
mod sequence;
mod shipped;
mod systemd;
mod trigger;
mod usable;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::fixture;
use crate::mosquitto::{PATIENCE, signal, wait_until};

/// No verdict is late because the machine is busy.
const PATIENT: &str = "deadline_ms = 60000\n";

/// A folder with all that a station needs: settings, product, bundle, pipelines and images.
struct Station {
    folder: TempDir,
}

impl Station {
    /// A station whose camera shows the images; `camera_keys` says how.
    fn new(broker_port: u16, camera_keys: &str) -> Self {
        let station = Self { folder: tempfile::tempdir().unwrap() };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["images", "pipelines", "products", "state/bundles"] {
            fs::create_dir_all(station.path(folder)).unwrap();
        }
        for pipeline in ["pipelines/files.launch", "pipelines/test.launch"] {
            fs::copy(root.join(pipeline), station.path(pipeline)).unwrap();
        }
        station.set_bundle(fixture::bundle());
        station.set_product(PATIENT);
        let settings = format!(
            "[station]\nname = \"cell\"\nproduct = \"part\"\nstate_dir = \"state\"\n\
             [mqtt]\nport = {broker_port}\nprefix = \"plant\"\nretry_first_s = 0.02\nretry_max_s = 0.1\n\
             [engine]\ndevice = \"cpu\"\nthreads = 1\n\
             [[camera]]\nid = \"top\"\npipeline = \"files.launch\"\n\
             [camera.source]\nkind = \"files\"\nfolder = \"images\"\n{camera_keys}\n"
        );
        station.write("csflowd.toml", &settings);
        station
    }

    /// Further parts, by name and file.
    fn with_parts(self, good: u8, bad: u8) -> Self {
        for number in 0..good {
            fixture::save(&self.path(&format!("images/good{number}.png")), &fixture::good(number));
        }
        for number in 0..bad {
            fixture::save(&self.path(&format!("images/bad{number}.png")), &fixture::bad(number));
        }
        self
    }

    /// The same station with this camera instead.
    fn with_camera(self, section: &str) -> Self {
        let settings = fs::read_to_string(self.path("csflowd.toml")).unwrap();
        let (others, _) = settings.split_once("[[camera]]").unwrap();
        self.write("csflowd.toml", &[others, section].concat());
        self
    }

    fn set_product(&self, keys: &str) {
        self.write("products/part.toml", &format!("bundle = \"part.csflow\"\n{keys}"));
    }

    fn set_bundle(&self, bytes: &[u8]) {
        fs::write(self.path("state/bundles/part.csflow"), bytes).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `csflowd <command> --config <this station's> <arguments>`.
    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut csflowd = csflowd();
        csflowd.arg(command).arg("--config").arg(self.path("csflowd.toml")).args(arguments);
        csflowd
    }

    /// Exit code, standard output and standard error of a command that ends by itself, with this folder called
    /// STATION.
    fn outcome(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(command, arguments).output().unwrap();
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(self.folder.path().to_str().unwrap(), "STATION")
        };
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn start(&self, arguments: &[&str]) -> Daemon {
        Daemon::start(self.command("run", arguments), self.folder.path())
    }
}

/// The binary, away from whatever the tests themselves run under.
fn csflowd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csflowd"));
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "CSFLOWD_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// A running csflowd and what it tells systemd; killed when dropped.
struct Daemon {
    child: Child,
    notices: UnixDatagram,
    log: PathBuf,
}

impl Daemon {
    fn start(mut command: Command, folder: &Path) -> Self {
        let (socket, log) = (folder.join("notify"), folder.join("log"));
        drop(fs::remove_file(&socket));
        let notices = UnixDatagram::bind(&socket).unwrap();
        notices.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = command
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, notices, log }
    }

    /// A daemon that has told systemd that it is ready.
    fn ready(self) -> Self {
        self.wait_notice("READY=1");
        self
    }

    /// The next notice with a line that begins so; earlier ones are passed over.
    #[track_caller]
    fn wait_notice(&self, beginning: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.notices.recv(&mut buffer).unwrap_or_else(|error| {
                panic!("in vain: {beginning} ({error})");
            });
            let notice = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if notice.lines().any(|line| line.starts_with(beginning)) {
                return notice;
            }
        }
    }

    /// All that it has told and nobody has read, a line each.
    fn notices_so_far(&self) -> String {
        self.notices.set_nonblocking(true).unwrap();
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        while let Ok(length) = self.notices.recv(&mut buffer) {
            text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        self.notices.set_nonblocking(false).unwrap();
        text
    }

    fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for its end.
    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("csflowd ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Asks it to stop and waits for a good end.
    #[track_caller]
    fn stop(&mut self) {
        self.signal("TERM");
        self.expect_good_end();
    }

    #[track_caller]
    fn expect_good_end(&mut self) {
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status}");
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            drop(writeln!(io::stderr().lock(), "csflowd:\n{}", self.log()));
        }
    }
}
