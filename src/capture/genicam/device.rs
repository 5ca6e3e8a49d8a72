//! One GenICam device from opening to letting go: settings, stream, buffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use aravis::glib::prelude::*;
use aravis::prelude::*;
use aravis::{
    Buffer, BufferStatus, GvDevice, GvPacketSizeAdjustment, GvStream, GvStreamOption, GvStreamSocketBuffer,
    Stream,
};
use crossbeam_channel::Sender;
use gstreamer as gst;

use crate::capture::error::CaptureError;
use crate::capture::genicam::pixels::{self, Layout};
use crate::capture::genicam::{Sign, settings};
use crate::capture::link::Losses;
use crate::config::camera::TriggerMode;
use crate::config::genicam::Genicam;

/// Frames that may wait for csflowd. With none free the camera's next frame is lost, and counted.
const BUFFERS: usize = 8;

/// The most that the kernel gives.
const RMEM_MAX: &str = "/proc/sys/net/core/rmem_max";

/// What is asked of the kernel for packets that wait; it gives no more than `net.core.rmem_max`.
const SOCKET_BUFFER: i32 = 32 << 20;

pub(super) struct Device {
    camera: aravis::Camera,
    stream: Stream,
    layout: Layout,
    is_lost: Arc<AtomicBool>,
    packet_socket: bool,
    incomplete: u64,
}

impl Device {
    /// Takes the device for csflowd alone and sets it. `tell` gets each buffer that is filled, and the loss of the device.
    pub(super) fn open(
        genicam: &Genicam,
        trigger: TriggerMode,
        tell: &Sender<Sign>,
    ) -> Result<Self, CaptureError> {
        let named = |cause: String| CaptureError::Device { device: genicam.device.clone(), cause };
        let failed = |error: aravis::glib::Error| named(error.message().to_owned());
        let camera = aravis::Camera::new(Some(&genicam.device)).map_err(|error| {
            let hint = "is it connected, powered, and on this network? `csflowd cameras` lists what answers";
            named(format!("{}; {hint}", error.message()))
        })?;
        let device = camera.device().ok_or_else(|| named("it has no control channel".into()))?;
        let is_lost = Arc::new(AtomicBool::new(false));
        let (lost, tell_lost) = (Arc::clone(&is_lost), tell.clone());
        device.connect_control_lost(move |_| {
            lost.store(true, Relaxed);
            drop(tell_lost.try_send(Sign::Lost));
        });
        if let Some(device) = device.downcast_ref::<GvDevice>() {
            if !device.is_controller() {
                return Err(named("another program controls it, or another [[camera]] section".into()));
            }
            if genicam.packet_size.is_none() {
                device.set_packet_size_adjustment(GvPacketSizeAdjustment::OnFailure);
            } else {
                device.set_packet_size_adjustment(GvPacketSizeAdjustment::Never);
            }
            if !genicam.packet_socket {
                device.set_stream_options(GvStreamOption::PACKET_SOCKET_DISABLED);
            }
        }
        // A camera that was left running takes no settings.
        drop(camera.stop_acquisition());
        settings::apply(&camera, &device, genicam, trigger).map_err(&named)?;
        let layout = layout(&camera).map_err(failed)?.map_err(&named)?;
        let stream = camera.create_stream().map_err(failed)?;
        let payload = camera.payload().map_err(failed)?;
        if let Some(stream) = stream.downcast_ref::<GvStream>() {
            stream.set_socket_buffer(GvStreamSocketBuffer::Fixed);
            stream.set_socket_buffer_size(SOCKET_BUFFER);
        }
        for _ in 0..BUFFERS {
            stream.push_buffer(Buffer::new_allocate(payload as usize));
        }
        let tell = tell.clone();
        stream.connect_new_buffer(move |stream| {
            while let Some(buffer) = stream.try_pop_buffer() {
                drop(tell.try_send(Sign::Buffer(buffer)));
            }
        });
        stream.set_emit_signals(true);
        Ok(Self { camera, stream, layout, is_lost, packet_socket: genicam.packet_socket, incomplete: 0 })
    }

    pub(super) fn start(&self) -> Result<(), CaptureError> {
        self.camera.start_acquisition().map_err(|error| control(&error))
    }

    /// Makes the camera take one picture.
    pub(super) fn fire(&self) -> Result<(), CaptureError> {
        self.camera.software_trigger().map_err(|error| control(&error))
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The picture in `buffer`, or what is wrong with it.
    pub(super) fn picture(&self, buffer: &Buffer) -> Result<gst::Buffer, String> {
        match buffer.status() {
            BufferStatus::Success => {}
            BufferStatus::MissingPackets | BufferStatus::Timeout => {
                return Err("packets of it are missing".into());
            }
            BufferStatus::WrongPacketId => return Err("its packets are numbered wrongly".into()),
            BufferStatus::SizeMismatch => return Err("it is larger than the camera said".into()),
            BufferStatus::PayloadNotSupported => return Err("it is no plain image".into()),
            other => return Err(format!("its reception ended as {other:?}")),
        }
        let (width, height) = (buffer.image_width(), buffer.image_height());
        self.layout.check(buffer.image_pixel_format(), width, height)?;
        let padding = usize::try_from(buffer.image_padding().0).unwrap_or(0);
        self.layout.lay_out(buffer.image_data(), padding)
    }

    /// The buffer is filled again.
    pub(super) fn give_back(&self, buffer: Buffer) {
        self.stream.push_buffer(buffer);
    }

    pub(super) fn count_incomplete(&mut self) {
        self.incomplete += 1;
    }

    /// What was lost beside the frames of which nothing arrived.
    pub(super) fn losses(&self) -> Losses {
        let (packets_resent, packets_lost) =
            self.stream.downcast_ref::<GvStream>().map(GvStream::statistics).unwrap_or_default();
        Losses { frames_lost: 0, frames_incomplete: self.incomplete, packets_lost, packets_resent }
    }

    /// What to change when frames stay away or come damaged.
    pub(super) fn advice(&self) -> Option<String> {
        let stream = self.stream.downcast_ref::<GvStream>()?;
        if stream.info_uint64_by_name("n_received_packets") == 0 {
            return Some(if self.packet_socket {
                "no packet of it arrives: set source.packet_socket = false".into()
            } else {
                "no packet of it arrives: look for a firewall, and set source.packet_size to what the network carries"
                    .into()
            });
        }
        let (_, packets_lost) = stream.statistics();
        if packets_lost == 0 {
            return None;
        }
        let most = std::fs::read_to_string(RMEM_MAX).ok().and_then(|text| text.trim().parse::<i32>().ok());
        Some(match most {
            Some(most) if most < SOCKET_BUFFER => format!(
                "the kernel keeps at most {most} bytes of packets that wait: set net.core.rmem_max to {SOCKET_BUFFER} \
                 (sysctl)"
            ),
            _ => "raise source.packet_delay_ns, set source.packet_size to what the network carries, check the cable"
                .into(),
        })
    }

    /// Whether the camera says that its clock follows a PTP master.
    pub(super) fn is_held_by_ptp(&self) -> bool {
        [("PtpEnable", "PtpStatus"), ("GevIEEE1588", "GevIEEE1588Status")].into_iter().any(
            |(enable, status)| {
                self.camera.is_feature_available(enable).unwrap_or(false)
                    && self.camera.boolean(enable).unwrap_or(false)
                    && self.camera.string(status).is_ok_and(|status| status.eq_ignore_ascii_case("slave"))
            },
        )
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.stream.set_emit_signals(false);
        // One that is gone would be asked in vain for seconds.
        if !self.is_lost.load(Relaxed) {
            drop(self.camera.stop_acquisition());
        }
    }
}

fn control(error: &aravis::glib::Error) -> CaptureError {
    CaptureError::Control(error.message().to_owned())
}

/// What the frames will be. The inner error is a format that cannot be pushed.
fn layout(camera: &aravis::Camera) -> Result<Result<Layout, String>, aravis::glib::Error> {
    let (_, _, width, height) = camera.region()?;
    let layout = Layout::new(camera.pixel_format()?, width, height);
    let Some(layout) = layout else {
        let (name, known) = (camera.pixel_format_as_string()?, pixels::known().collect::<Vec<_>>());
        let offered = camera.dup_available_pixel_formats_as_strings()?;
        let usable: Vec<&str> =
            known.iter().copied().filter(|name| offered.iter().any(|offer| offer == name)).collect();
        return Ok(Err(match usable.as_slice() {
            [] => format!("it sends {name}; csflowd takes {}", known.join(", ")),
            usable => format!("it sends {name}; set source.pixel_format to one of {}", usable.join(", ")),
        }));
    };
    Ok(Ok(layout))
}
