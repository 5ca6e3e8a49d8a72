//! Work on a device that is recorded once and done many times, at the cost of one call.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use tch::TchError;

use crate::cuda::library::Functions;
use crate::cuda::stream::Stream;
use crate::cxx::{make, run};

/// What was recorded. It reads and writes the same memory each time.
#[derive(Debug)]
pub struct Graph {
    made: NonNull<c_void>,
    functions: Arc<Functions>,
}

/// Ends the recording, whatever becomes of the work.
struct Recording<'a>(Option<&'a Graph>);

// SAFETY: nothing in it hangs on the thread that made it. It is not `Sync`: one thread runs it.
#[expect(unsafe_code, reason = "a pointer into C++ goes to the thread that uses it")]
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `work` gives to `stream`, which the thread has entered, without doing it. The work has been done before in
    /// earnest, so that nothing is left to choose; it waits for nothing, and reads no number back. What it makes lies in memory
    /// that belongs to the graph and, with `beside`, to that graph too: of these one runs at a time, and what it made is read
    /// before the next does.
    #[expect(unsafe_code, reason = "calls into C++")]
    pub fn record<T>(
        stream: &Stream,
        beside: Option<&Self>,
        work: impl FnOnce() -> Result<T, TchError>,
    ) -> Result<(Self, T), TchError> {
        let functions = Arc::clone(&stream.gpu().functions);
        let other = beside.map_or(ptr::null_mut(), |other| other.made.as_ptr());
        // SAFETY: the other graph lives if there is one; exceptions are caught.
        let made = make(|error| unsafe { (functions.graph)(other, error) })?;
        let graph = Self { made, functions };
        // SAFETY: the graph lives; exceptions are caught.
        run(|error| unsafe { (graph.functions.graph_begin)(graph.made.as_ptr(), error) })?;
        let recording = Recording(Some(&graph));
        let result = work();
        let ended = recording.end();
        let made = result?;
        ended?;
        Ok((graph, made))
    }

    /// Does it again, in the thread's stream.
    #[expect(unsafe_code, reason = "a call into C++")]
    pub fn replay(&self) -> Result<(), TchError> {
        // SAFETY: the graph lives, and was recorded to its end; exceptions are caught.
        run(|error| unsafe { (self.functions.graph_replay)(self.made.as_ptr(), error) })
    }

    #[expect(unsafe_code, reason = "a call into C++")]
    fn end(&self) -> Result<(), TchError> {
        // SAFETY: the graph lives, and its recording has begun on this thread; exceptions are caught.
        run(|error| unsafe { (self.functions.graph_end)(self.made.as_ptr(), error) })
    }
}

impl Recording<'_> {
    fn end(mut self) -> Result<(), TchError> {
        self.0.take().map_or(Ok(()), Graph::end)
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        // The work has failed, and that is what is told.
        drop(self.0.take().map(Graph::end));
    }
}

impl Drop for Graph {
    #[expect(unsafe_code, reason = "a call into C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart, and is freed once; exceptions are caught.
        unsafe { (self.functions.graph_free)(self.made.as_ptr()) }
    }
}
