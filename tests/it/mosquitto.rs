//! A real broker for one test: a mosquitto child on a free loopback port, and what belongs around it.

pub(crate) mod cable;
pub(crate) mod sender;
pub(crate) mod subscriber;

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crossbeam_channel::never;
use tempfile::TempDir;

/// Longer than anything takes on a busy machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `is_so`, looking often.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 10 {
        if is_so() {
            return;
        }
        pause();
    }
    panic!("in vain: {what}");
}

fn pause() {
    pause_for(Duration::from_millis(10));
}

/// Lets time pass.
pub(crate) fn pause_for(time: Duration) {
    assert!(never::<()>().recv_timeout(time).is_err());
}

/// `STOP`, `CONT`, `KILL`, ... to a process.
pub(crate) fn signal(child: &Child, name: &str) {
    run(Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())));
}

/// A running mosquitto, killed when dropped.
pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    folder: TempDir,
    child: Child,
}

impl Mosquitto {
    /// A broker that lets everybody in.
    pub(crate) fn start() -> Self {
        Self::with_settings("allow_anonymous true\n", &[])
    }

    /// A broker that knows one user.
    pub(crate) fn with_password(user: &str, password: &str) -> Self {
        let settings = "allow_anonymous false\npassword_file @/passwords\n";
        let broker = Self::with_settings(settings, &[("passwords", b"")]);
        broker.set_password(user, password);
        broker
    }

    /// Changes or adds a user.
    pub(crate) fn set_password(&self, user: &str, password: &str) {
        let file = self.folder.path().join("passwords");
        run(Command::new("mosquitto_passwd").arg("-b").arg(file).args([user, password]));
        signal(&self.child, "HUP");
    }

    /// A broker with further lines in its configuration, in which `@` is the folder that holds `files`.
    pub(crate) fn with_settings(settings: &str, files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let settings = settings.replace('@', folder.path().to_str().unwrap());
        loop {
            let port = free_port();
            let config = format!(
                "user root\nlistener {port} 127.0.0.1\npersistence false\nmax_queued_messages 0\nlog_dest stderr\n{settings}"
            );
            fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
            // Another process may have taken the port meanwhile: then with the next one.
            if let Some(child) = spawn(folder.path(), port) {
                return Self { port, folder, child };
            }
        }
    }

    /// Kills the broker as power loss would. It keeps nothing.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.folder.path(), self.port).expect("mosquitto does not start again");
    }

    /// Stops it in mid-air: connections stay open, nothing is answered.
    pub(crate) fn freeze(&self) {
        signal(&self.child, "STOP");
    }

    pub(crate) fn thaw(&self) {
        signal(&self.child, "CONT");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            let mut stderr = io::stderr().lock();
            drop(writeln!(stderr, "mosquitto on port {}:\n{}", self.port, self.log()));
        }
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// None if it ended at once.
fn spawn(folder: &Path, port: u16) -> Option<Child> {
    let log = File::options().append(true).create(true).open(folder.join("log")).unwrap();
    let mut child = Command::new("mosquitto")
        .arg("-c")
        .arg(folder.join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("mosquitto is not installed");
    let mut ended = false;
    wait_until("mosquitto accepts connections", || {
        ended = child.try_wait().unwrap().is_some();
        ended || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    (!ended).then_some(child)
}

#[track_caller]
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
