//! A cable that can be cut: what a broken network looks like from both ends.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

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
