//! GigE Vision and USB3 Vision cameras on libaravis, pushed into a pipeline's `appsrc name=camera`.
//!
//! Each frame that the camera sent comes out once and in its turn: as its picture, or as what went wrong with it. What
//! arrives whole is known in the pipeline by its timestamp, so a picture never gets another frame's moment. A camera
//! that sends nothing is waited for; one that is gone is an error as soon as libaravis says so.

pub(super) mod list;

mod device;
mod features;
mod numbering;
mod pixels;
mod settings;
mod time;

use std::collections::VecDeque;
use std::time::Duration;

use aravis::{Buffer, BufferStatus};
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use gstreamer as gst;
use gstreamer_app::{AppLeakyType, AppSrc};
use tracing::warn;

use crate::capture::copy::{self, Expected};
use crate::capture::error::CaptureError;
use crate::capture::genicam::device::Device;
use crate::capture::genicam::numbering::{Numbering, Step};
use crate::capture::genicam::time::CameraTime;
use crate::capture::link::Losses;
use crate::capture::pipeline::{Pipeline, Pull};
use crate::capture::under_way::UnderWay;
use crate::capture::{FrameSource, Pulled};
use crate::clock::{Clock, Moment};
use crate::config::camera::Camera;
use crate::config::genicam::Genicam;
use crate::frame::{BufferPool, CaptureClock, Captured, Image};

/// Pictures on their way through the pipeline. One more means that the oldest was kept back.
const UNDER_WAY: usize = 8;

/// A picture that the pipeline has had for so long will not come.
const KEPT_BACK: Duration = Duration::from_secs(2);

/// More than buffers and pictures together: there is always room, and those threads never wait.
const SIGNS: usize = 64;

/// What the camera's and the pipeline's own threads tell.
enum Sign {
    /// The camera has filled a buffer, or given up filling it.
    Buffer(Buffer),
    /// A picture waits at the end of the pipeline.
    Picture,
    /// The device is gone.
    Lost,
}

pub(super) struct GenicamSource<'a> {
    pipeline: Pipeline,
    appsrc: AppSrc,
    device: Device,
    signs: Receiver<Sign>,
    /// Requests to fire the camera.
    fire: Receiver<()>,
    numbering: Numbering,
    time: CameraTime,
    opened: Moment,
    /// With the moment of each.
    under_way: UnderWay<Told>,
    /// Timestamp of the last picture that was handed on or given up.
    answered: Option<gst::ClockTime>,
    /// Came out and not yet handed on.
    arrived: VecDeque<Captured>,
    expected: Expected,
    clock: &'a dyn Clock,
    pool: &'a BufferPool,
}

/// When a frame was captured, and whose clock told.
type Told = (Moment, CaptureClock);

fn captured((at, clock): Told, image: Result<Image, String>) -> Captured {
    Captured { at, clock, part_id: None, image }
}

impl<'a> GenicamSource<'a> {
    /// `fire` asks for a frame of a camera that csflowd fires.
    pub(super) fn open(
        camera: &Camera,
        genicam: &Genicam,
        clock: &'a dyn Clock,
        pool: &'a BufferPool,
        fire: Option<&Receiver<()>>,
    ) -> Result<Self, CaptureError> {
        let pipeline = Pipeline::parse(&camera.pipeline)?;
        let appsrc = pipeline.source()?;
        let (tell, signs) = bounded(SIGNS);
        let device = Device::open(genicam, camera.trigger, &tell)?;
        appsrc.set_format(gst::Format::Time);
        appsrc.set_is_live(true);
        // A pipeline that is slower than the camera loses the oldest pictures, which are given up here, and never more
        // memory.
        appsrc.set_max_bytes(0);
        appsrc.set_max_buffers(UNDER_WAY as u64);
        appsrc.set_leaky_type(AppLeakyType::Downstream);
        appsrc.set_caps(Some(device.layout().caps()));
        tell_of_pictures(&pipeline, tell);
        pipeline.start()?;
        device.start()?;
        // What was asked of the camera while it was away is answered by now.
        fire.into_iter().flat_map(Receiver::try_iter).for_each(drop);
        Ok(Self {
            pipeline,
            appsrc,
            time: CameraTime::new(genicam.clock),
            device,
            signs,
            fire: fire.cloned().unwrap_or_else(never),
            numbering: Numbering::default(),
            opened: clock.now(),
            under_way: UnderWay::new(),
            answered: None,
            arrived: VecDeque::new(),
            expected: Expected { format: camera.format, size: camera.size },
            clock,
            pool,
        })
    }

    /// Takes one sign, or waits for one in vain.
    fn wait(&mut self, timeout: Duration) -> Result<(), CaptureError> {
        select! {
            recv(self.signs) -> sign => match sign {
                // Where frames come without a pause, this is when an end or an error of the pipeline is seen.
                Ok(Sign::Buffer(buffer)) => self.take(buffer).and_then(|()| self.pull()),
                Ok(Sign::Picture) => self.pull(),
                // The pipeline and the stream hold the other end for as long as they live.
                Ok(Sign::Lost) | Err(_) => Err(CaptureError::ControlLost),
            },
            recv(self.fire) -> asked => {
                if asked.is_ok() {
                    return self.device.fire();
                }
                self.fire = never();
                Ok(())
            }
            default(timeout) => self.pull(),
        }
    }

    fn take(&mut self, buffer: Buffer) -> Result<(), CaptureError> {
        let arrived = self.clock.now();
        let (status, number) = (buffer.status(), buffer.frame_id());
        if matches!(status, BufferStatus::Cleared | BufferStatus::Aborted) {
            // Reception was stopped, or never begun: no frame.
            self.device.give_back(buffer);
            return Ok(());
        }
        let step = self.numbering.next(number);
        if step == Step::Again {
            warn!(number, "the camera sent a frame again that was answered before; it is left out");
            self.device.give_back(buffer);
            return Ok(());
        }
        for lost in self.numbering.lost(step) {
            let problem = format!("frame {lost} is lost: nothing of it arrived");
            self.under_way.push_without((arrived, CaptureClock::Arrival), problem);
        }
        let told = self.time.of(&buffer, arrived, &self.device);
        let pushed = match self.device.picture(&buffer) {
            Ok(picture) => self.push(told, arrived, picture),
            Err(problem) => {
                self.device.count_incomplete();
                self.under_way.push_without(told, format!("frame {number} is damaged: {problem}"));
                Ok(())
            }
        };
        self.device.give_back(buffer);
        pushed
    }

    fn push(&mut self, told: Told, arrived: Moment, mut picture: gst::Buffer) -> Result<(), CaptureError> {
        let since = gst::ClockTime::try_from(arrived.since(self.opened)).unwrap_or(gst::ClockTime::ZERO);
        // Timestamps must differ.
        let last = self.under_way.last_timestamp().or(self.answered);
        let timestamp = Some(last.map_or(since, |last| since.max(last + gst::ClockTime::NSECOND)));
        picture.get_mut().expect("nobody else has the buffer yet").set_pts(timestamp);
        self.under_way.push(told, timestamp);
        let pushed = self.appsrc.push_buffer(picture);
        pushed.map(drop).map_err(|_| self.pipeline.error_or(CaptureError::PushRefused))
    }

    /// Takes all that waits at the end of the pipeline, and what an element reported.
    fn pull(&mut self) -> Result<(), CaptureError> {
        loop {
            match self.pipeline.pull(Duration::ZERO)? {
                Pull::Sample(sample) => self.arrive(&sample),
                Pull::Nothing => return Ok(()),
                Pull::EndOfStream => return Err(CaptureError::StreamEnded),
            }
        }
    }

    /// Frames keep their order: those that wait before `sample` in vain are given up.
    fn arrive(&mut self, sample: &gst::SampleRef) {
        let timestamp = sample.buffer().and_then(gst::BufferRef::pts);
        let Some((before, told)) = self.under_way.arrived(timestamp) else {
            if timestamp.is_none() || timestamp <= self.answered {
                warn!("a picture that the pipeline made up, or one that had been given up; it is left out");
                return;
            }
            // A picture of no known frame is a trigger all the same.
            let image = copy::image(sample, self.expected, self.pool);
            self.arrived.push_back(captured((self.clock.now(), CaptureClock::Arrival), image));
            return;
        };
        self.arrived.extend(before.into_iter().map(|frame| captured(frame.known, Err(frame.problem))));
        self.answered = timestamp;
        let image = copy::image(sample, self.expected, self.pool);
        self.arrived.push_back(captured(told, image));
    }

    /// Hands on what has its turn and no picture to wait for.
    fn give_up(&mut self) {
        let now = self.clock.now();
        loop {
            let are_too_many = self.under_way.len() > UNDER_WAY;
            let is_late = |(at, _): &Told| are_too_many || now.since(*at) >= KEPT_BACK;
            let Some(frame) = self.under_way.give_up(is_late) else { return };
            self.answered = frame.timestamp.or(self.answered);
            self.arrived.push_back(captured(frame.known, Err(frame.problem)));
        }
    }
}

impl FrameSource for GenicamSource<'_> {
    fn next(&mut self, timeout: Duration) -> Result<Pulled, CaptureError> {
        if self.arrived.is_empty() {
            self.wait(timeout)?;
            self.give_up();
        }
        Ok(self.arrived.pop_front().map_or(Pulled::Nothing, Pulled::Captured))
    }

    fn losses(&self) -> Losses {
        Losses { frames_lost: self.numbering.total_lost(), ..self.device.losses() }
    }

    fn advice(&self) -> Option<String> {
        self.device.advice()
    }
}

/// A word only: the camera's thread takes the picture.
fn tell_of_pictures(pipeline: &Pipeline, tell: Sender<Sign>) {
    pipeline.on_picture(move || drop(tell.try_send(Sign::Picture)));
}
