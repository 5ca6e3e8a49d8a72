//! A thread beside the one that judges, for the smaller pictures of the pyramid.
//!
//! oneDNN splits one convolution over threads, which pays for large maps; small ones cost more to call than to compute, and
//! threads that wait for one another at every call suffer from whatever else runs. So the largest picture goes through its
//! trunk while the others go through theirs here, and the two threads wait for one another once. Where there is one thread
//! for all, one waits while the other works.

use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use tch::{TchError, Tensor};

use crate::engine::fused::onednn::trunk::Trunk;
use crate::engine::{guard, threads};
use crate::model::{Scales, share};

#[derive(Debug)]
pub(super) struct Aside {
    /// None only while it ends.
    jobs: Option<Sender<Scales>>,
    done: Receiver<Result<Scales, String>>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    /// `threads` are what the weights are packed for.
    pub(super) fn start(trunks: Vec<Trunk>, threads: i32) -> Result<Self, TchError> {
        // One job is under way at a time, and one result is waited for.
        let (jobs, to_do) = bounded::<Scales>(1);
        let (results, done) = bounded(1);
        let work = move || {
            let _guard = tch::no_grad_guard();
            threads::set(threads);
            for pictures in to_do {
                let result = guard::catch_both(|| features(&trunks, &pictures));
                if results.send(result).is_err() {
                    return;
                }
            }
        };
        let thread = Builder::new().name("engine-aside".to_owned()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    /// Begins with these copies of one picture, one for each trunk.
    pub(super) fn begin(&self, pictures: &[Tensor]) -> Begun<'_> {
        if let Some(jobs) = &self.jobs {
            // A thread that is gone is told by what follows.
            drop(jobs.send(share(pictures)));
        }
        Begun { done: &self.done, is_over: false }
    }
}

/// One picture under way. What comes of it is waited for even if nobody asks, or it would be taken for the next picture's.
#[derive(Debug)]
#[must_use]
pub(super) struct Begun<'a> {
    done: &'a Receiver<Result<Scales, String>>,
    is_over: bool,
}

impl Begun<'_> {
    pub(super) fn finish(mut self) -> Result<Scales, TchError> {
        self.is_over = true;
        let result =
            self.done.recv().unwrap_or_else(|_| Err("the engine's second thread is gone".to_owned()));
        result.map_err(TchError::Torch)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.done.recv());
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It catches what libtorch throws; a panic beyond that has ended the process.
            drop(thread.join());
        }
    }
}

/// The features of each picture by its trunk, behind one another.
pub(super) fn features(trunks: &[Trunk], pictures: &[Tensor]) -> Result<Scales, TchError> {
    let mut features = Vec::new();
    for (trunk, picture) in trunks.iter().zip(pictures) {
        features.extend(trunk.forward(picture)?);
    }
    Ok(features)
}
