//! Work of one thread, in its order, beside that of others on the same device.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;

use tch::TchError;

use crate::cuda::Gpu;
use crate::cxx::{make, run};

/// A stream of the device's own, which goes before what others do there.
#[derive(Debug)]
pub struct Stream {
    made: NonNull<c_void>,
    gpu: Gpu,
}

/// As long as it lives, what the thread does on the device goes into the stream.
#[derive(Debug)]
#[must_use]
pub struct Entered<'a> {
    before: NonNull<c_void>,
    stream: &'a Stream,
    /// It is one thread's.
    thread: PhantomData<*const ()>,
}

/// Work that goes on beside the thread's stream.
#[derive(Debug)]
#[must_use]
pub struct Beside<'a>(Option<&'a Stream>);

// SAFETY: it is a stream's number, which hangs on no thread.
#[expect(unsafe_code, reason = "a pointer into C++ goes to the thread that uses it")]
unsafe impl Send for Stream {}

impl Stream {
    #[expect(unsafe_code, reason = "a call into C++")]
    pub fn new(gpu: &Gpu) -> Result<Self, TchError> {
        // SAFETY: it writes to the error alone, and catches its exceptions.
        let made = make(|error| unsafe { (gpu.functions.stream)(gpu.index, error) })?;
        Ok(Self { made, gpu: gpu.clone() })
    }

    /// The device that it is of.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    #[expect(unsafe_code, reason = "a call into C++")]
    pub fn enter(&self) -> Result<Entered<'_>, TchError> {
        // SAFETY: the stream lives; exceptions are caught.
        let before = make(|error| unsafe { (self.gpu.functions.stream_enter)(self.made.as_ptr(), error) })?;
        Ok(Entered { before, stream: self, thread: PhantomData })
    }

    /// Gives `work` to this stream, after what is in the thread's own by now. What it makes may be used once it is
    /// [joined](Beside::join), and what it reads is to live until then.
    #[expect(unsafe_code, reason = "a call into C++")]
    pub fn beside<T>(&self, work: impl FnOnce() -> Result<T, TchError>) -> Result<(Beside<'_>, T), TchError> {
        // SAFETY: the stream lives; exceptions are caught.
        run(|error| unsafe { (self.gpu.functions.stream_fork)(self.made.as_ptr(), error) })?;
        // Joined also if the work fails: what is recorded has to come together again.
        let beside = Beside(Some(self));
        let made = {
            let _entered = self.enter()?;
            work()?
        };
        Ok((beside, made))
    }

    /// What comes into the thread's stream waits for what is in this one.
    #[expect(unsafe_code, reason = "a call into C++")]
    fn join(&self) -> Result<(), TchError> {
        // SAFETY: the stream lives; exceptions are caught.
        run(|error| unsafe { (self.gpu.functions.stream_join)(self.made.as_ptr(), error) })
    }
}

impl Beside<'_> {
    /// What comes into the thread's stream from now on waits for it.
    pub fn join(mut self) -> Result<(), TchError> {
        self.0.take().map_or(Ok(()), Stream::join)
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        // Something failed before, and that is what is told.
        drop(self.0.take().map(Stream::join));
    }
}

impl Drop for Entered<'_> {
    #[expect(unsafe_code, reason = "a call into C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart on this thread, and is given back once. That a lost device cannot
        // be left does no harm: nothing more is done on it.
        let left =
            run(|error| unsafe { (self.stream.gpu.functions.stream_leave)(self.before.as_ptr(), error) });
        drop(left);
    }
}

impl Drop for Stream {
    #[expect(unsafe_code, reason = "a call into C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart, and is freed once.
        unsafe { (self.gpu.functions.stream_free)(self.made.as_ptr()) }
    }
}
