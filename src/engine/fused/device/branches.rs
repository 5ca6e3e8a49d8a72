//! Work that goes on at the same time on a device.

use tch::TchError;

use crate::cuda::Target;
use crate::cuda::stream::Stream;

/// Streams beside the thread's own; none on a CPU.
#[derive(Debug)]
pub(super) struct Branches(Vec<Stream>);

impl Branches {
    pub(super) fn on(target: &Target, count: usize) -> Result<Self, TchError> {
        match target {
            Target::Cpu => Ok(Self(Vec::new())),
            Target::Gpu(gpu) => (0..count).map(|_| Stream::new(gpu)).collect::<Result<_, _>>().map(Self),
        }
    }

    /// Gives the first job to the thread's stream and the others to streams beside it, the same job to the same stream each time; what
    /// follows waits for all. What jobs read is there before, and stays until then.
    pub(super) fn at_once<T>(
        &self,
        jobs: Vec<impl FnOnce() -> Result<T, TchError>>,
    ) -> Result<Vec<T>, TchError> {
        if self.0.is_empty() {
            return jobs.into_iter().map(|job| job()).collect();
        }
        let mut jobs = jobs.into_iter();
        let Some(first) = jobs.next() else { return Ok(Vec::new()) };
        let mut begun = Vec::with_capacity(jobs.len());
        for (job, stream) in jobs.zip(self.0.iter().cycle()) {
            begun.push(stream.beside(job)?);
        }
        let mut results = vec![first()?];
        for (beside, result) in begun {
            beside.join()?;
            results.push(result);
        }
        Ok(results)
    }
}
