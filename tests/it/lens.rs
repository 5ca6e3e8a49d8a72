//! The GigE Vision camera that libaravis brings for tests, on loopback: a process that can be killed.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::mosquitto::pause_for;

const PROGRAM: &str = "arv-fake-gv-camera-0.8";

/// A running camera, killed when dropped. There is one at a time on this machine: all of them want the same port.
pub(crate) struct Lens {
    /// What `source.device` takes.
    pub(crate) id: String,
    serial: String,
    arguments: Vec<String>,
    child: Child,
    _alone: File,
}

impl Lens {
    /// None, and a line that says so, where the program is not installed.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Another test, or another run of the tests, may have the port.
        let alone = File::create(std::env::temp_dir().join("csflowd-fake-camera.lock")).unwrap();
        alone.lock().unwrap();
        let serial = format!("T{}N{}", std::process::id() % 100_000, COUNT.fetch_add(1, Relaxed));
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        let child = match spawn(&serial, &arguments) {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                drop(writeln!(io::stderr(), "skipped: {PROGRAM} is not installed (package aravis-tools)"));
                return None;
            }
            Err(error) => panic!("{PROGRAM}: {error}"),
        };
        Some(Self { id: format!("Aravis-Fake-{serial}"), serial, arguments, child, _alone: alone })
    }

    /// As when its power is cut.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again; its frames are counted anew.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.serial, &self.arguments).unwrap();
    }
}

impl Drop for Lens {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(serial: &str, arguments: &[String]) -> io::Result<Child> {
    let mut child = Command::new(PROGRAM)
        .args(["-i", "127.0.0.1", "-s", serial])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // It says nothing when it listens; that takes a few milliseconds.
    pause_for(std::time::Duration::from_millis(300));
    assert!(child.try_wait()?.is_none(), "{PROGRAM} ended at once");
    Ok(child)
}
