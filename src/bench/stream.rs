//! Cameras that send frames at a rate, whether they are judged or not: what a station does under load, and beyond it.
//!
//! The stages are those of a running station, from the intake to the account; cameras and publisher are drawn.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::Serialize;

use crate::bench::{Recorder, Times, noise};
use crate::clock::Clock;
use crate::engine::threads;
use crate::frame::{
    BufferPool, CameraId, CaptureClock, Captured, Generation, Image, Lease, PixelFormat, Size,
};
use crate::health::{Active, Health};
use crate::inference::{self, Change, DeviceLost, Inspector, Notice, Ready};
use crate::intake::{Intake, queue};
use crate::ledger::book::Book;
use crate::ledger::sequence::{self, Store};
use crate::ledger::{self, Ledger};
use crate::shutdown::{self, Shutdown};
use crate::verdict::{Decided, Outcome, Reason};

/// Reports and verdicts that may wait, as in a station.
const QUEUE: usize = 1024;

/// What comes, and how it is taken.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub frame: Size,
    pub cameras: usize,
    /// Of each camera.
    pub rate_hz: f64,
    pub lasts: Duration,
    pub deadline: Duration,
    pub batch_max: usize,
    pub frame_queue: usize,
}

/// The figures of one stream. Serialised as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    pub cameras: usize,
    /// Of all cameras together.
    pub offered_per_s: f64,
    pub judged_per_s: f64,
    pub triggers: u64,
    /// One for each trigger, or something is wrong.
    pub verdicts: u64,
    pub judged: u64,
    /// There was no room for the frame.
    pub dropped: u64,
    pub timed_out: u64,
    /// Not inspected for another reason.
    pub otherwise: u64,
    /// Judgements that came after their deadline, beside the verdict that was out by then.
    pub late: u64,
    /// Of what was judged in time, from capture to verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Times>,
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the network cannot judge: {0}")]
    NotInstalled(String),
    #[error(transparent)]
    DeviceLost(#[from] DeviceLost),
}

/// A counter that is not kept.
#[derive(Debug)]
struct NotKept;

impl Store for NotKept {
    fn read(&mut self) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn write(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn path(&self) -> &Path {
        Path::new("")
    }
}

/// Sends frames of noise through the stages of a station, and keeps count.
pub fn run(inspector: Inspector, stream: Stream, clock: &dyn Clock) -> Result<Account, StreamError> {
    let names: Vec<CameraId> =
        (0..stream.cameras).map(|n| CameraId::new(&format!("camera-{n}")).expect("a fitting name")).collect();
    let health = Health::new(names.iter().cloned());
    let (sequence, reserver) = sequence::kept_in(Box::new(NotKept)).expect("nothing is read that could fail");
    let (reports_in, reports) = bounded(QUEUE);
    let (frames_in, frames) = queue::queue(stream.frame_queue);
    let (decided_in, decided) = bounded(QUEUE);
    let (changes_in, changes) = bounded(1);
    let (notices_in, notices) = bounded(2);
    let recipe = Arc::clone(&inspector.rules().recipe);
    let active = Active { lease: Lease::new(Generation(1)), recipe, deadline: stream.deadline };
    let ready = Box::new(Ready::Inspector(inspector));
    changes_in.send(Change::Install { active, ready }).expect("there is room for one");
    let mut rng = Pcg64::seed_from_u64(1);
    let pixels = noise(stream.frame, &mut rng);
    // Nobody asks for a stop, but the cameras wait as those of a station do.
    let (_handle, shutdown) = shutdown::channel();

    thread::scope(|scope| {
        let (health, pixels, shutdown) = (&health, pixels.as_slice(), &shutdown);
        scope.spawn(move || reserver.run(clock));
        scope.spawn(move || {
            ledger::run(Ledger::new(Book::new(sequence), &[], health), &reports, &decided_in, clock);
        });
        let context = inference::Context {
            notices: notices_in,
            reports: reports_in.clone(),
            health,
            clock,
            events: None,
            hangs_at: None,
        };
        let cores = threads::count();
        let judges = scope.spawn(move || {
            threads::set(cores);
            inference::run(stream.batch_max, &frames, &changes, context)
        });
        let counting = scope.spawn(move || count(stream, &decided));
        let installed = wait_until_installed(&notices);
        if installed.is_ok() {
            for (position, name) in names.into_iter().enumerate() {
                let intake = Intake::new(position, name, None, health, reports_in.clone(), frames_in.clone());
                scope.spawn(move || send(intake, (stream, position), pixels, (shutdown, clock)));
            }
        }
        // From here on only cameras hold them: the last one to stop ends the stream.
        drop((reports_in, frames_in));
        let end = judges.join().expect("inference does not panic");
        drop(changes_in);
        let account = counting.join().expect("counting does not panic");
        end?;
        installed.map_err(StreamError::NotInstalled)?;
        Ok(Account { triggers: health.counters.triggers.load(Relaxed), ..account })
    })
}

fn wait_until_installed(notices: &Receiver<Notice>) -> Result<(), String> {
    match notices.recv() {
        Ok(Notice::Installed(result)) => result,
        Ok(Notice::Retired(..)) | Err(_) => Err("inference has ended".to_owned()),
    }
}

/// One camera. The cameras take turns, as those of a line that see the same part one after another.
fn send(
    mut intake: Intake<'_>,
    (stream, position): (Stream, usize),
    pixels: &[u8],
    (shutdown, clock): (&Shutdown, &dyn Clock),
) {
    let pool = BufferPool::new(queue::buffers(stream.frame_queue, stream.batch_max), pixels.len());
    let period = Duration::from_secs_f64(1.0 / stream.rate_hz);
    let start = clock.now().mono + period.mul_f64(share(position, stream.cameras));
    let mut due = start;
    while due.saturating_sub(start) < stream.lasts {
        if shutdown.sleep(due.saturating_sub(clock.now().mono)) {
            return;
        }
        let mut buffer = pool.take();
        let at = clock.now();
        buffer.extend_from_slice(pixels);
        let image = Image { size: stream.frame, format: PixelFormat::Rgb8, pixels: buffer };
        intake.take(Captured { at, clock: CaptureClock::Arrival, part_id: None, image: Ok(image) });
        due += period;
    }
}

fn count(stream: Stream, decided: &Receiver<Decided>) -> Account {
    let mut latency = Recorder::new();
    let mut account = Account {
        cameras: stream.cameras,
        offered_per_s: share(stream.cameras, 1) * stream.rate_hz,
        judged_per_s: 0.0,
        triggers: 0,
        verdicts: 0,
        judged: 0,
        dropped: 0,
        timed_out: 0,
        otherwise: 0,
        late: 0,
        latency_ms: None,
    };
    for decided in decided {
        let Decided::View(verdict) = decided else { continue };
        if verdict.late {
            account.late += 1;
            continue;
        }
        account.verdicts += 1;
        match verdict.judgement.outcome {
            Outcome::Good | Outcome::Anomalous | Outcome::Undecidable => {
                account.judged += 1;
                latency.record(verdict.decided.since(verdict.trigger.captured));
            }
            Outcome::NotInspected(Reason::FrameDropped) => account.dropped += 1,
            Outcome::NotInspected(Reason::Timeout) => account.timed_out += 1,
            Outcome::NotInspected(_) => account.otherwise += 1,
        }
    }
    if account.judged > 0 {
        account.latency_ms = Some(latency.times());
    }
    account.judged_per_s = per_second(account.judged, stream.lasts);
    account
}

#[expect(clippy::cast_precision_loss, reason = "a few cameras")]
fn share(part: usize, of: usize) -> f64 {
    part as f64 / of as f64
}

#[expect(clippy::cast_precision_loss, reason = "a count of frames")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
