//! The stop request: a channel on which nothing is ever sent and which is closed to say "stop".
//!
//! Only the cameras listen to it. Every later stage ends because its input ends.

use std::convert::Infallible;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// The listening end; clones listen to the same request.
#[derive(Clone, Debug)]
pub struct Shutdown(Receiver<Infallible>);

/// The asking end: dropping it is the request.
#[derive(Debug)]
pub struct ShutdownHandle {
    _sender: Sender<Infallible>,
}

/// A connected pair.
pub fn channel() -> (ShutdownHandle, Shutdown) {
    let (sender, receiver) = bounded(0);
    (ShutdownHandle { _sender: sender }, Shutdown(receiver))
}

impl Shutdown {
    /// Waits for `duration`, or less if the stop request comes first. True means: stop.
    pub fn sleep(&self, duration: Duration) -> bool {
        matches!(self.0.recv_timeout(duration), Err(RecvTimeoutError::Disconnected))
    }

    pub fn is_requested(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// For `select!`: becomes ready when the stop request comes.
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_handle_wakes_a_sleeper() {
        let (handle, shutdown) = channel();
        assert!(!shutdown.is_requested());
        assert!(!shutdown.sleep(Duration::from_millis(1)));
        drop(handle);
        assert!(shutdown.sleep(Duration::from_hours(1)));
        assert!(shutdown.is_requested());
    }
}
