//! What every source of frames must do. A new kind of source adds one line at the end.

use std::fs;
use std::path::Path;
use std::time::Duration;

use csflowd::capture::{self, FrameSource, Pulled};
use csflowd::clock::{Clock, SystemClock};
use csflowd::config::camera::{Camera, Files, Order, Source};
use csflowd::frame::{BufferPool, CaptureClock, Captured, Image, PixelFormat, PooledBuffer};

use super::{camera, next, scripted, size};

/// Opens the source under test: RGB, 37 by 23, at least three frames.
type Open = for<'a> fn(&'a SystemClock, &'a BufferPool) -> Box<dyn FrameSource + 'a>;

fn check_contract(open: Open) {
    const BYTES: usize = 37 * 23 * 3;
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(3, BYTES));
    for _life in 0..2 {
        let opened = clock.now();
        let mut source = open(&clock, &pool);
        let frames: Vec<Captured> = (0..3).map(|_| next(source.as_mut(), &clock)).collect();
        for frame in &frames {
            let image = frame.image.as_ref().unwrap();
            assert_eq!((image.size, image.format), (size(37, 23), PixelFormat::Rgb8));
            assert_eq!(image.pixels.len(), BYTES);
            assert!(frame.at.mono >= opened.mono && frame.at.mono <= clock.now().mono);
        }
        assert!(frames.is_sorted_by_key(|frame| frame.at.mono), "captured in order");
        // No time to wait is no error.
        assert!(source.next(Duration::ZERO).is_ok());
        // A source that is dropped lets go of its device and of its buffers.
        drop((frames, source));
        let buffers: Vec<PooledBuffer> = (0..3).map(|_| pool.take()).collect();
        assert!(buffers.iter().all(|buffer| buffer.capacity() >= BYTES));
    }
}

macro_rules! camera_contract {
    ($kind:ident, $open:expr) => {
        #[test]
        fn $kind() {
            check_contract($open);
        }
    };
}

fn a_scripted_frame(clock: &SystemClock, pool: &BufferPool) -> Captured {
    let mut pixels = pool.take();
    pixels.resize(37 * 23 * 3, 0);
    let image = Image { size: size(37, 23), format: PixelFormat::Rgb8, pixels };
    Captured { at: clock.now(), clock: CaptureClock::Arrival, part_id: None, image: Ok(image) }
}

camera_contract!(a_pipeline_keeps_the_contract, |clock, pool| {
    let text = "videotestsrc is-live=true ! video/x-raw,format=RGB,width=37,height=23,framerate=100/1 \
                ! appsink name=frames";
    capture::open(&camera(text), clock, pool).unwrap()
});

camera_contract!(files_keep_the_contract, |clock, pool| {
    // The source reads it for as long as it lives, so a temporary folder would be gone too early.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract");
    fs::create_dir_all(&folder).unwrap();
    image::RgbImage::new(37, 23).save(folder.join("part.png")).unwrap();
    let files = Files { folder, rate_hz: 100.0, repeat: true, order: Order::Sorted };
    let camera =
        Camera { source: Source::Files(files), ..camera("appsrc name=camera ! appsink name=frames") };
    capture::open(&camera, clock, pool).unwrap()
});

camera_contract!(a_script_keeps_the_contract, |clock, pool| {
    scripted((0..3).map(|_| Ok(Pulled::Captured(a_scripted_frame(clock, pool)))))
});
