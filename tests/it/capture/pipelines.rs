//! The GStreamer source: pixels, caps, and what is said when something is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use csflowd::capture;
use csflowd::capture::text::fill;
use csflowd::clock::SystemClock;
use csflowd::config::camera::{Camera, Files, Order, Source};
use csflowd::frame::{BufferPool, PixelFormat};

use super::{camera, failure, frames, next, size, whole_text};

/// A picture in one colour, red 0x10, green 0x20, blue 0x30, of an odd width.
fn solid(format: &str) -> String {
    format!(
        "videotestsrc pattern=solid-color foreground-color=0xff102030 \
         ! video/x-raw,format={format},width=37,height=23 ! appsink name=frames"
    )
}

#[track_caller]
fn check_pixels(pipeline: &str, format: PixelFormat, expected: &[u8]) {
    let camera = Camera { format, size: Some(size(37, 23)), ..camera(pipeline) };
    for frame in frames(&camera, 3) {
        let image = frame.image.unwrap();
        assert_eq!((image.size, image.format), (size(37, 23), format));
        assert_eq!(image.pixels.as_slice(), expected);
    }
}

#[test]
fn each_format_keeps_its_order_of_channels() {
    check_pixels(&solid("RGB"), PixelFormat::Rgb8, &[0x10, 0x20, 0x30].repeat(37 * 23));
    check_pixels(&solid("BGR"), PixelFormat::Bgr8, &[0x30, 0x20, 0x10].repeat(37 * 23));
}

/// The first frame of a drawn picture that comes in `caps`, behind `converter`.
fn converted(caps: &str, converter: &str, pattern: &str) -> Vec<u8> {
    let text = format!(
        "videotestsrc pattern={pattern} foreground-color=0xff4080c0 ! {caps} ! {converter} \
         ! video/x-raw,format=RGB ! appsink name=frames"
    );
    frames(&camera(&text), 1).remove(0).image.unwrap().pixels.to_vec()
}

#[test]
fn formats_that_are_converted_show_the_same_picture_at_an_odd_width() {
    for pattern in ["solid-color", "gradient"] {
        let rgb = converted("video/x-raw,format=RGB,width=37,height=23", "videoconvert", pattern);
        assert_eq!(rgb.len(), 37 * 23 * 3);
        for format in ["BGRx", "NV12", "I420"] {
            let caps = format!("video/x-raw,format={format},width=37,height=23");
            let other = converted(&caps, "videoconvert", pattern);
            let farthest = rgb.iter().zip(&other).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(other.len() == rgb.len() && farthest <= 6, "{format} {pattern}: {farthest}");
        }
    }
}

#[test]
fn bayer_comes_in_colour_and_an_odd_width_is_told() {
    let converter = "bayer2rgb ! videoconvert";
    for format in ["rggb", "bggr", "grbg", "gbrg"] {
        let pixels =
            converted(&format!("video/x-bayer,format={format},width=38,height=23"), converter, "solid-color");
        let wrong = pixels.chunks(3).filter(|pixel| {
            pixel.iter().zip([0x40, 0x80, 0xc0]).any(|(value, expected)| value.abs_diff(expected) > 4)
        });
        assert_eq!(wrong.count(), 0, "{format}");
    }
    let odd = "videotestsrc ! video/x-bayer,format=rggb,width=37,height=24 ! bayer2rgb ! videoconvert ! appsink name=frames";
    let text = failure(&camera(odd));
    assert!(text.starts_with("bayer2rgb: a width of 37 is odd"), "{text}");
}

#[test]
fn odd_widths_lose_their_padding_and_no_pixel() {
    let folder = tempfile::tempdir().unwrap();
    for (name, format, channels) in [("gray8", PixelFormat::Gray8, 1), ("rgb", PixelFormat::Rgb8, 3)] {
        let row = 37 * channels;
        let stride = row + 5;
        // No two pixels near each other are the same, and the padding is like none of them.
        let pixels: Vec<u8> = (0..=250).cycle().take(row * 23).collect();
        let padded: Vec<u8> = pixels.chunks(row).flat_map(|row| [row, &[255; 5]].concat()).collect();
        let path = folder.path().join(name);
        fs::write(&path, padded.repeat(3)).unwrap();
        let text = format!(
            "filesrc location={} ! rawvideoparse format={name} width=37 height=23 \
             plane-strides=<{stride}> frame-size={} ! appsink name=frames",
            path.display(),
            stride * 23
        );
        check_pixels(&text, format, &pixels);
    }
}

#[test]
fn a_frame_that_is_not_what_was_configured_says_both() {
    let text = |camera: Camera| frames(&camera, 1).remove(0).image.unwrap_err();
    let sized = Camera { size: Some(size(64, 48)), ..camera(&solid("RGB")) };
    assert_eq!(text(sized), "frame is RGB 37x23, configured is RGB 64x48");
    assert_eq!(text(camera(&solid("I420"))), "frame is I420 37x23, configured is RGB");
    let sound = camera("audiotestsrc ! audio/x-raw,rate=8000 ! appsink name=frames");
    assert!(text(sound).starts_with("frame is not raw video but audio/x-raw"));
}

#[test]
fn a_pipeline_without_the_right_sink_is_refused() {
    let no_sink = "pipeline has no appsink named \"frames\": end it with `! appsink name=frames`";
    for text in ["videotestsrc ! fakesink", "videotestsrc ! fakesink name=frames", "appsink name=frames"] {
        assert_eq!(failure(&camera(text)), no_sink);
    }
}

#[test]
fn a_pipeline_that_does_not_parse_is_refused_with_the_reason() {
    for (text, reason) in [
        ("videotestsrc ! nosuchelement ! appsink name=frames", "no element \"nosuchelement\""),
        (
            "videotestsrc colour=red ! appsink name=frames",
            "no property \"colour\" in element \"videotestsrc\"",
        ),
        ("videotestsrc ! ! appsink name=frames", "syntax error"),
        ("", "empty pipeline not allowed"),
    ] {
        let failure = failure(&camera(text));
        assert!(failure.starts_with("pipeline does not parse: ") && failure.contains(reason), "{failure}");
    }
}

#[test]
fn an_element_that_fails_is_named_with_its_message() {
    let before_start = "filesrc name=disk location=/nonexistent ! decodebin ! appsink name=frames";
    let text = failure(&camera(before_start));
    assert_eq!(text, "disk: Resource not found. (No such file \"/nonexistent\")");
    let on_the_way = "videotestsrc ! video/x-raw,format=RGB ! identity error-after=2 ! appsink name=frames";
    let text = failure(&camera(on_the_way));
    assert_eq!(text, "identity: Failed after iterations as requested.");
    assert_eq!(failure(&camera(on_the_way)), text, "the same in each life, so that it is told once");
}

#[test]
fn the_same_buffers_serve_all_frames() {
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(2, 37 * 23 * 3));
    let camera = camera(&solid("RGB"));
    let mut source = capture::open(&camera, &clock, &pool).unwrap();
    let address = |frame: &csflowd::frame::Captured| frame.image.as_ref().unwrap().pixels.as_ptr();
    let (one, two) = (next(source.as_mut(), &clock), next(source.as_mut(), &clock));
    let known = [address(&one), address(&two)];
    drop((one, two));
    for _ in 0..20 {
        assert!(known.contains(&address(&next(source.as_mut(), &clock))));
    }
}

fn shipped() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().into(), fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn every_shipped_pipeline_parses_with_its_defaults() {
    capture::init().unwrap();
    let shipped = shipped();
    assert!(shipped.len() >= 4);
    for (name, template) in shipped {
        let location = ("location".to_owned(), "rtsp://127.0.0.1/live".to_owned());
        let parameters = template.contains("${location}").then_some(location).into_iter().collect();
        let text = fill(&template, &parameters).unwrap();
        let files = Files { folder: ".".into(), rate_hz: 1.0, repeat: false, order: Order::Sorted };
        let source = if name == "files" { Source::Files(files) } else { Source::Pipeline };
        if let Err(error) = capture::check(&text, &source) {
            panic!("{name}: {}", whole_text(&error));
        }
    }
}

#[test]
fn the_test_pipeline_gives_what_its_parameters_say() {
    let (_, template) = shipped().into_iter().find(|(name, _)| name == "test").unwrap();
    let parameters =
        [("width", "33"), ("height", "21"), ("fps", "50"), ("format", "GRAY8"), ("pattern", "white")];
    let parameters: BTreeMap<_, _> = parameters.map(|(name, value)| (name.into(), value.into())).into();
    let text = fill(&template, &parameters).unwrap();
    let camera = Camera { format: PixelFormat::Gray8, size: Some(size(33, 21)), ..camera(&text) };
    let image = frames(&camera, 1).remove(0).image.unwrap();
    assert!(image.pixels.iter().all(|&pixel| pixel >= 235));
}

#[test]
fn files_need_an_appsrc_to_be_pushed_into() {
    let files = Files { folder: ".".into(), rate_hz: 1.0, repeat: false, order: Order::Sorted };
    capture::init().unwrap();
    let error = capture::check("videotestsrc ! appsink name=frames", &Source::Files(files)).unwrap_err();
    assert!(error.to_string().starts_with("pipeline has no appsrc named \"camera\""), "{error}");
}
