//! A real broker for one test: a mosquitto child on a free loopback port, and what belongs around it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, never};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
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
    assert!(never::<()>().recv_timeout(Duration::from_millis(10)).is_err());
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
        self.signal("HUP");
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
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        run(Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())));
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

/// A message as a subscriber sees it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) retained: bool,
    pub(crate) payload: Value,
}

/// An independent client that subscribes to everything, and does so again when it lost the broker.
pub(crate) struct Subscriber {
    pub(crate) messages: Receiver<Message>,
    /// Says each time that the subscription stands.
    pub(crate) subscribed: Receiver<()>,
}

impl Subscriber {
    /// Subscribed when this returns.
    pub(crate) fn start(port: u16) -> Self {
        let (tell, messages) = bounded(100_000);
        let (tell_subscribed, subscribed) = bounded(100);
        let options = MqttOptions::new(format!("subscriber-{port}"), "127.0.0.1", port);
        thread::Builder::new()
            .name("subscriber".into())
            .spawn(move || {
                let (client, mut connection) = Client::new(options, 10);
                for event in connection.iter() {
                    let go_on = match event {
                        Ok(Event::Incoming(Packet::ConnAck(_))) => {
                            // QoS 0: the broker sends at once what it gets and keeps nothing that a kill would take.
                            client.try_subscribe("#", QoS::AtMostOnce).is_ok()
                        }
                        Ok(Event::Incoming(Packet::SubAck(_))) => tell_subscribed.send(()).is_ok(),
                        Ok(Event::Incoming(Packet::Publish(publish))) => {
                            let payload = serde_json::from_slice(&publish.payload).unwrap();
                            let (topic, retained) = (publish.topic, publish.retain);
                            tell.send(Message { topic, retained, payload }).is_ok()
                        }
                        Ok(_) => true,
                        Err(_) => {
                            pause();
                            true
                        }
                    };
                    if !go_on {
                        return;
                    }
                }
            })
            .unwrap();
        let subscriber = Self { messages, subscribed };
        subscriber.wait_subscribed();
        subscriber
    }

    pub(crate) fn wait_subscribed(&self) {
        self.subscribed.recv_timeout(PATIENCE).expect("no subscription");
    }

    /// The next message for which `wanted`; what comes before it is passed over.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        self.collect_until(what, wanted).pop().expect("the last is the wanted one")
    }

    /// All messages up to the next for which `wanted`.
    #[track_caller]
    pub(crate) fn collect_until(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut seen = Vec::new();
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(message) => {
                    let found = wanted(&message);
                    seen.push(message);
                    if found {
                        return seen;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("in vain: {what}; seen: {seen:#?}")
                }
            }
        }
    }
}

/// A cable between a client and the broker that can be cut.
pub(crate) struct Cable {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    streams: Vec<TcpStream>,
}

impl Cable {
    pub(crate) fn to(broker: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::downgrade(&state);
        thread::Builder::new()
            .name("cable".into())
            .spawn(move || {
                for near in listener.incoming() {
                    let Some(state) = shared.upgrade() else { return };
                    let mut state = state.lock().unwrap();
                    let far = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, broker)));
                    // A cut cable drops what comes; so does one without a broker behind it.
                    if let (false, Ok(near), Ok(far)) = (state.cut, near, far) {
                        forward(near.try_clone().unwrap(), far.try_clone().unwrap());
                        forward(far.try_clone().unwrap(), near.try_clone().unwrap());
                        state.streams.extend([near, far]);
                    }
                }
            })
            .unwrap();
        Self { port, state }
    }

    /// Breaks all connections, with no goodbye, and lets none through until [`Self::mend`].
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.cut = true;
        for stream in state.streams.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().cut = false;
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    thread::Builder::new()
        .name("cable".into())
        .spawn(move || {
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Both));
        })
        .unwrap();
}
