//! An RTSP camera on loopback, by GStreamer's own server: a process that can be killed and frozen.
//!
//! Its pictures are eight bars, black or white: the number of the picture in binary, the highest bit on the left.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::{env, thread};

use csflowd::frame::Image;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_rtsp_server::prelude::*;
use gstreamer_rtsp_server::{RTSPMedia, RTSPMediaFactory, RTSPServer};

use crate::mosquitto::{free_port, signal, wait_until};

/// Tells this program to be the camera, at this port.
const PORT: &str = "CSFLOWD_TEST_RTSP_PORT";

pub(crate) const SIZE: (u32, u32) = (128, 64);
const BARS: usize = 8;

/// A running camera, killed when dropped.
pub(crate) struct RtspCamera {
    port: u16,
    child: Child,
}

impl RtspCamera {
    pub(crate) fn start() -> Self {
        let port = free_port();
        Self { port, child: spawn(port) }
    }

    pub(crate) fn location(&self) -> String {
        format!("rtsp://127.0.0.1:{}/camera", self.port)
    }

    /// As when its power is cut.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again; its pictures are counted anew.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port);
    }

    /// It answers nothing any more, and keeps its connections.
    pub(crate) fn freeze(&self) {
        signal(&self.child, "STOP");
    }

    pub(crate) fn thaw(&self) {
        signal(&self.child, "CONT");
    }
}

impl Drop for RtspCamera {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The number that a picture shows, modulo 256.
pub(crate) fn number_in(image: &Image) -> u8 {
    let width = usize::try_from(SIZE.0).unwrap();
    let bar = width / BARS;
    let row = &image.pixels[image.pixels.len() / 2..][..width];
    (0..BARS).fold(0, |number, at| number << 1 | u8::from(row[at * bar + bar / 2] > 127))
}

/// It takes connections when this returns, and ends when its standard input is closed, as when this process is killed.
fn spawn(port: u16) -> Child {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "rtsp::this_program_is_the_camera_where_it_is_told_to"])
        .env(PORT, port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the camera takes connections", || {
        assert!(child.try_wait().unwrap().is_none(), "the camera does not start");
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    child
}

/// Where it is not told to there is nothing to do.
#[test]
fn this_program_is_the_camera_where_it_is_told_to() {
    let Ok(port) = env::var(PORT) else { return };
    gst::init().unwrap();
    let server = RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service(&port);
    let factory = RTSPMediaFactory::new();
    let (width, height) = SIZE;
    factory.set_launch(&format!(
        "( videotestsrc is-live=true ! video/x-raw,format=I420,width={width},height={height},framerate=50/1 \
         ! identity name=numbers ! jpegenc quality=100 ! rtpjpegpay name=pay0 pt=26 )"
    ));
    factory.connect_media_configure(|_, media| number(media));
    server.mount_points().unwrap().add_factory("/camera", factory);
    let _attached = server.attach(None).unwrap();
    let main_loop = glib::MainLoop::new(None, false);
    thread::scope(|scope| {
        scope.spawn(|| main_loop.run());
        drop(io::stdin().read_to_end(&mut Vec::new()));
        main_loop.quit();
    });
}

/// Each connection has its own pictures, counted from 0.
fn number(media: &RTSPMedia) {
    let elements = media.element().downcast::<gst::Bin>().unwrap();
    let pad = elements.by_name("numbers").unwrap().static_pad("src").unwrap();
    let count = AtomicU8::new(0);
    let draw = move |_: &gst::Pad, info: &mut gst::PadProbeInfo<'_>| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            let mut map = buffer.make_mut().map_writable().unwrap();
            draw_bars(&mut map, count.fetch_add(1, Relaxed));
        }
        gst::PadProbeReturn::Ok
    };
    pad.add_probe(gst::PadProbeType::BUFFER, draw);
}

/// Into I420: a plane of brightness, and two without colour.
fn draw_bars(pixels: &mut [u8], number: u8) {
    let (width, height) = (usize::try_from(SIZE.0).unwrap(), usize::try_from(SIZE.1).unwrap());
    let (bright, colours) = pixels.split_at_mut(width * height);
    colours.fill(128);
    for (at, pixel) in bright.iter_mut().enumerate() {
        let bar = at % width / (width / BARS);
        *pixel = if number >> (BARS - 1 - bar) & 1 == 1 { 235 } else { 16 };
    }
}
