//! A GStreamer pipeline that ends in an appsink, from PLAYING to NULL: one life of a camera.
//!
//! Frames are pulled in the camera's own thread. Retry and stopping are not known here.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use tracing::{debug, warn};

use crate::capture::bayer;
use crate::capture::copy::{self, Expected};
use crate::capture::error::CaptureError;
use crate::capture::{FrameSource, Negotiated, Pulled, time};
use crate::clock::Clock;
use crate::config::camera::Camera;
use crate::frame::{BufferPool, Captured};

/// Frames that may wait in the appsink. A full appsink holds back the pipeline (`drop=false`): each frame is a
/// trigger, and one that the appsink threw away would be a part without a verdict, counted by nobody. The
/// camera's thread only copies and hands on without waiting, so the appsink is full only when that thread gets
/// no processor.
const WAITING_FRAMES: u32 = 4;

/// A pipeline that has been parsed. Dropping it sets it to NULL.
#[derive(Debug)]
pub(super) struct Pipeline {
    elements: gst::Pipeline,
    bus: gst::Bus,
    sink: AppSink,
}

/// What one pull gave.
#[derive(Debug)]
pub(super) enum Pull {
    Sample(gst::Sample),
    Nothing,
    EndOfStream,
}

impl Pipeline {
    /// Makes the elements; opens no device.
    pub(super) fn parse(text: &str) -> Result<Self, CaptureError> {
        let element = gst::parse::launch(text).map_err(CaptureError::Unparsable)?;
        // A text of one single element gives that element and not a pipeline.
        let elements = element.downcast::<gst::Pipeline>().map_err(|_| CaptureError::NoSink)?;
        let sink = elements.by_name("frames").and_then(|element| element.downcast::<AppSink>().ok());
        let sink = sink.ok_or(CaptureError::NoSink)?;
        sink.set_max_buffers(WAITING_FRAMES);
        sink.set_drop(false);
        // Frames are taken as they come, not when their timestamp is due.
        sink.set_sync(false);
        sink.set_qos(false);
        // Else the sink would keep the last frame from its camera's buffer pool.
        sink.set_enable_last_sample(false);

        bayer::guard(&elements);
        let bus = elements.bus().expect("a pipeline has a bus");
        // An unread bus grows for ever, so it is given only what will be read.
        bus.set_sync_handler(|_, message| match message.type_() {
            gst::MessageType::Error => gst::BusSyncReply::Pass,
            _ => gst::BusSyncReply::Drop,
        });
        Ok(Self { elements, bus, sink })
    }

    /// The `appsrc name=camera` that csflowd pushes pictures into.
    pub(super) fn source(&self) -> Result<AppSrc, CaptureError> {
        let source = self.elements.by_name("camera").and_then(|element| element.downcast().ok());
        source.ok_or(CaptureError::NoSource)
    }

    /// Calls `tell` from GStreamer's thread when a picture waits to be pulled. Before the start.
    #[cfg(feature = "aravis")]
    pub(super) fn on_picture(&self, tell: impl Fn() + Send + Sync + 'static) {
        let told = move |_: &AppSink| {
            tell();
            Ok(gst::FlowSuccess::Ok)
        };
        self.sink.set_callbacks(gstreamer_app::AppSinkCallbacks::builder().new_sample(told).build());
    }

    pub(super) fn start(&self) -> Result<(), CaptureError> {
        let change = self.elements.set_state(gst::State::Playing);
        change.map(drop).map_err(|_| self.error_or(CaptureError::NotStarted))
    }

    /// Waits up to `timeout` for the next frame. Frames that came before an error are given first.
    pub(super) fn pull(&self, timeout: Duration) -> Result<Pull, CaptureError> {
        if let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::try_from(timeout).ok()) {
            return Ok(Pull::Sample(sample));
        }
        match self.bus_error() {
            Some(error) => Err(error),
            None if self.sink.is_eos() => Ok(Pull::EndOfStream),
            None => Ok(Pull::Nothing),
        }
    }

    /// What the elements hand on to one another, from the source on; nothing before the first frame.
    pub(super) fn negotiated(&self) -> Vec<Negotiated> {
        let elements = self.elements.iterate_sorted().into_iter().flatten();
        let mut links: Vec<Negotiated> = elements
            .flat_map(|element| {
                let caps = element.src_pads().into_iter().filter_map(|pad| pad.current_caps());
                caps.map(|caps| Negotiated { element: element.name().into(), caps: caps.to_string() })
                    .collect::<Vec<_>>()
            })
            .collect();
        // GStreamer begins with the sink.
        links.reverse();
        links
    }

    /// What an element reported, if any did.
    pub(super) fn error_or(&self, otherwise: CaptureError) -> CaptureError {
        self.bus_error().unwrap_or(otherwise)
    }

    fn bus_error(&self) -> Option<CaptureError> {
        let message = self.bus.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        let element = error.src().map_or_else(|| "pipeline".into(), given_name);
        let mut message = error.error().to_string();
        if let Some(text) = error.debug() {
            debug!(element, %text, "element failed");
            // The first line is a place in GStreamer's source, the rest is for people.
            let details: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
            if !details.is_empty() {
                message = format!("{message} ({})", details.join(" "));
            }
        }
        Some(CaptureError::element(element, &message))
    }
}

/// The name of an element, or its kind if GStreamer made up the name: that one counts on with each life, and a
/// loss that goes on would look like a new one each time.
fn given_name(object: &gst::Object) -> String {
    let name = object.name();
    let kind = object.downcast_ref::<gst::Element>().and_then(gst::Element::factory).map(|kind| kind.name());
    match kind {
        Some(kind) if name.starts_with(kind.as_str()) => kind.into(),
        _ => name.into(),
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Err(error) = self.elements.set_state(gst::State::Null) {
            warn!(%error, "pipeline does not stop");
        }
    }
}

/// A pipeline with a source element of its own.
pub(super) struct PipelineSource<'a> {
    pipeline: Pipeline,
    expected: Expected,
    clock: &'a dyn Clock,
    pool: &'a BufferPool,
}

impl<'a> PipelineSource<'a> {
    pub(super) fn open(
        camera: &Camera,
        clock: &'a dyn Clock,
        pool: &'a BufferPool,
    ) -> Result<Self, CaptureError> {
        let pipeline = Pipeline::parse(&camera.pipeline)?;
        pipeline.start()?;
        let expected = Expected { format: camera.format, size: camera.size };
        Ok(Self { pipeline, expected, clock, pool })
    }
}

impl FrameSource for PipelineSource<'_> {
    fn next(&mut self, timeout: Duration) -> Result<Pulled, CaptureError> {
        Ok(match self.pipeline.pull(timeout)? {
            Pull::Sample(sample) => {
                let (at, clock) = time::of_sample(&sample, self.clock.now());
                let image = copy::image(&sample, self.expected, self.pool);
                Pulled::Captured(Captured { at, clock, part_id: None, image })
            }
            Pull::Nothing => Pulled::Nothing,
            // A camera does not end: it is gone.
            Pull::EndOfStream => return Err(CaptureError::StreamEnded),
        })
    }

    fn negotiated(&self) -> Vec<Negotiated> {
        self.pipeline.negotiated()
    }
}
