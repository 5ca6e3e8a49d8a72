//! Image files as a camera: decoded by csflowd, pushed into a pipeline at a steady rate, pulled like any frame.
//!
//! Each file comes out exactly once and in its turn: as its picture, or as what went wrong with it. What is on
//! its way is known by its timestamp, so a part id arrives with the right picture. Opened again after a loss,
//! the folder is shown from its start.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_app::AppSrc;
use gstreamer_video::VideoInfo;

use crate::capture::copy::{self, Expected};
use crate::capture::error::CaptureError;
use crate::capture::folder::{self, Playlist};
use crate::capture::pipeline::{Pipeline, Pull};
use crate::capture::under_way::{GivenUp, UnderWay};
use crate::capture::{FrameSource, Negotiated, Pulled};
use crate::causes;
use crate::clock::{Clock, Moment};
use crate::config::camera::{Camera, Files};
use crate::frame::{BufferPool, CaptureClock, Captured, PartId, PixelFormat};
use crate::image_file;

/// Files on their way through the pipeline. More than one, for pipelines that hold some back.
const UNDER_WAY: usize = 4;

/// Time from one file to the next; never, if the rate makes no sense.
pub(super) fn period(rate_hz: f64) -> Duration {
    let period = Duration::try_from_secs_f64(rate_hz.recip()).unwrap_or(Duration::MAX);
    // Timestamps must differ.
    period.max(Duration::from_nanos(1))
}

pub(super) struct FilesSource<'a> {
    pipeline: Pipeline,
    appsrc: AppSrc,
    appsrc_caps: Option<gst::Caps>,
    playlist: Playlist,
    frame_rate: gst::Fraction,
    period: Duration,
    started: Moment,
    /// When the next file is due, from the start. A multiple of the period, however late the last one was:
    /// the rate does not drift.
    due: Duration,
    /// Read ahead, so that it is ready when it is due.
    upcoming: Option<Shown>,
    /// With the part that each shows.
    under_way: UnderWay<Option<PartId>>,
    /// Came out and not yet handed on.
    arrived: VecDeque<Captured>,
    /// The last file has been pushed.
    finished: bool,
    expected: Expected,
    clock: &'a dyn Clock,
    pool: &'a BufferPool,
}

/// A file, read.
struct Shown {
    part_id: Option<PartId>,
    picture: Result<(gst::Caps, gst::Buffer), String>,
}

impl<'a> FilesSource<'a> {
    pub(super) fn open(
        camera: &Camera,
        files: &Files,
        clock: &'a dyn Clock,
        pool: &'a BufferPool,
    ) -> Result<Self, CaptureError> {
        let playlist = Playlist::new(files)?;
        let pipeline = Pipeline::parse(&camera.pipeline)?;
        let appsrc = pipeline.source()?;
        appsrc.set_format(gst::Format::Time);
        appsrc.set_is_live(true);
        pipeline.start()?;
        Ok(Self {
            pipeline,
            appsrc,
            appsrc_caps: None,
            playlist,
            frame_rate: gst::Fraction::approximate_f64(files.rate_hz).unwrap_or(gst::Fraction::new(0, 1)),
            period: period(files.rate_hz),
            started: clock.now(),
            due: Duration::ZERO,
            upcoming: None,
            under_way: UnderWay::new(),
            arrived: VecDeque::new(),
            finished: false,
            expected: Expected { format: camera.format, size: camera.size },
            clock,
            pool,
        })
    }

    /// Time until the next file is due.
    fn until_due(&self) -> Duration {
        self.due.saturating_sub(self.clock.now().since(self.started))
    }

    fn has_room(&self) -> bool {
        !self.finished && self.under_way.len() < UNDER_WAY
    }

    /// Reads the next file once nothing is left to pull, and pushes it when it is due.
    fn feed(&mut self) -> Result<(), CaptureError> {
        if !self.has_room() {
            return Ok(());
        }
        if self.upcoming.is_none() && (self.under_way.is_empty() || self.until_due().is_zero()) {
            let Some(path) = self.playlist.advance() else {
                self.finished = true;
                return self.pushed(self.appsrc.end_of_stream());
            };
            self.upcoming = Some(show(path, self.expected.format, self.frame_rate));
        }
        if !self.until_due().is_zero() {
            return Ok(());
        }
        let Some(Shown { part_id, picture }) = self.upcoming.take() else { return Ok(()) };
        let timestamp = gst::ClockTime::try_from(self.due).ok();
        self.due = self.due.saturating_add(self.period);
        match picture {
            Ok((caps, buffer)) => {
                self.under_way.push(part_id, timestamp);
                self.push(caps, buffer, timestamp)
            }
            Err(problem) => {
                self.under_way.push_without(part_id, problem);
                Ok(())
            }
        }
    }

    fn push(
        &mut self,
        caps: gst::Caps,
        mut buffer: gst::Buffer,
        timestamp: Option<gst::ClockTime>,
    ) -> Result<(), CaptureError> {
        if self.appsrc_caps.as_ref() != Some(&caps) {
            self.appsrc.set_caps(Some(&caps));
            self.appsrc_caps = Some(caps);
        }
        buffer.get_mut().expect("nobody else has the buffer yet").set_pts(timestamp);
        self.pushed(self.appsrc.push_buffer(buffer))
    }

    fn pushed(&self, flow: Result<gst::FlowSuccess, gst::FlowError>) -> Result<(), CaptureError> {
        flow.map(drop).map_err(|_| self.pipeline.error_or(CaptureError::PushRefused))
    }

    /// Files keep their order: those that wait before `sample` in vain are given up.
    fn arrive(&mut self, sample: &gst::SampleRef) {
        let at = self.clock.now();
        let timestamp = sample.buffer().and_then(gst::BufferRef::pts);
        // A picture that the pipeline made up is a trigger too, of no known part.
        let (before, part_id) = self.under_way.arrived(timestamp).unwrap_or_default();
        self.arrived.extend(before.into_iter().map(|file| without_picture(file, at)));
        let image = copy::image(sample, self.expected, self.pool);
        self.arrived.push_back(Captured { at, clock: CaptureClock::Arrival, part_id, image });
    }

    /// Hands on what has its turn and no picture to wait for.
    fn give_up_unreadable(&mut self) {
        let at = self.clock.now();
        while let Some(file) = self.under_way.give_up(|_| false) {
            self.arrived.push_back(without_picture(file, at));
        }
    }
}

impl FrameSource for FilesSource<'_> {
    fn next(&mut self, timeout: Duration) -> Result<Pulled, CaptureError> {
        self.feed()?;
        self.give_up_unreadable();
        if let Some(captured) = self.arrived.pop_front() {
            return Ok(Pulled::Captured(captured));
        }
        let wait = if self.has_room() { timeout.min(self.until_due()) } else { timeout };
        match self.pipeline.pull(wait)? {
            Pull::Sample(sample) => self.arrive(&sample),
            Pull::Nothing => {}
            Pull::EndOfStream if self.finished => {
                let at = self.clock.now();
                while let Some(file) = self.under_way.give_up(|_| true) {
                    self.arrived.push_back(without_picture(file, at));
                }
                if self.arrived.is_empty() {
                    return Ok(Pulled::Ended);
                }
            }
            Pull::EndOfStream => return Err(CaptureError::StreamEnded),
        }
        Ok(self.arrived.pop_front().map_or(Pulled::Nothing, Pulled::Captured))
    }

    fn negotiated(&self) -> Vec<Negotiated> {
        self.pipeline.negotiated()
    }
}

fn without_picture(file: GivenUp<Option<PartId>>, at: Moment) -> Captured {
    Captured { at, clock: CaptureClock::Arrival, part_id: file.known, image: Err(file.problem) }
}

fn show(path: &Path, format: PixelFormat, frame_rate: gst::Fraction) -> Shown {
    Shown { part_id: folder::part_id(path), picture: raw_video(path, format, frame_rate) }
}

/// The image in `path` as GStreamer lays out raw video.
fn raw_video(
    path: &Path,
    format: PixelFormat,
    frame_rate: gst::Fraction,
) -> Result<(gst::Caps, gst::Buffer), String> {
    let (size, pixels) = image_file::read(path, format).map_err(|error| causes::chain(&error))?;
    let unfit = |error| format!("cannot show {}: {error}", path.display());
    let info = VideoInfo::builder(copy::video_format(format), size.width, size.height);
    let info = info.fps(frame_rate).build().map_err(unfit)?;
    let caps = info.to_caps().map_err(unfit)?;
    let row = size.width as usize * format.channels();
    let stride = info.size() / size.height as usize;
    let padded = if stride == row { pixels } else { pad(&pixels, row, stride) };
    Ok((caps, gst::Buffer::from_mut_slice(padded)))
}

fn pad(pixels: &[u8], row: usize, stride: usize) -> Vec<u8> {
    let mut padded = vec![0; pixels.len() / row * stride];
    for (to, from) in padded.chunks_mut(stride).zip(pixels.chunks(row)) {
        to[..row].copy_from_slice(from);
    }
    padded
}
