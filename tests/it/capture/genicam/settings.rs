//! What a camera is set to, and how it says no.

use csflowd::capture;
use csflowd::clock::SystemClock;
use csflowd::config::camera::Camera;
use csflowd::config::genicam::{ClockChoice, Genicam, Region, Value};
use csflowd::frame::{BufferPool, CaptureClock, PixelFormat};
use insta::assert_snapshot;

use super::super::{failure, frames, size};
use super::{genicam_camera, genicam_of};
use crate::lens::Lens;

#[test]
fn what_the_camera_does_not_offer_is_told_with_what_it_does() {
    let Some(lens) = Lens::start(&[]) else { return };
    let refused = |set: &dyn Fn(&mut Genicam)| {
        let mut camera = genicam_camera(&lens);
        set(genicam_of(&mut camera));
        failure(&camera).replace(&lens.id, "LENS")
    };
    let refused_feature = |name: &str, value: Value| {
        refused(&|genicam| drop(genicam.features.insert(name.into(), value.clone())))
    };
    assert_snapshot!(refused(&|genicam| genicam.exposure_us = Some(1.0)), @"camera LENS: source.exposure_us: ExposureTimeAbs: must be 10 to 10000000, is 1");
    assert_snapshot!(refused(&|genicam| genicam.gain = Some(2.5)), @"camera LENS: source.gain: GainRaw: must be 0 to 10, is 2.5");
    assert_snapshot!(refused(&|genicam| genicam.pixel_format = Some("Mono12".into())), @r#"camera LENS: source.pixel_format: PixelFormat: must be one of "BayerBG8", "BayerGB8", "BayerGR8", "BayerRG8", "Mono8", "RGB8", "Mono16", is "Mono12""#);
    assert_snapshot!(refused(&|genicam| genicam.region = Region { width: Some(4096), ..Region::default() }), @"camera LENS: source.region.width: Width: must be 1 to 2048, is 4096");
    assert_snapshot!(refused(&|genicam| genicam.trigger_source = Some("Line7".into())), @r#"camera LENS: source.trigger_source: TriggerSource: must be one of "Line0", "Software", is "Line7""#);
    assert_snapshot!(refused_feature("AcquisitionFrameRat", Value::Whole(5)), @"camera LENS: source.features: the camera has no feature AcquisitionFrameRat");
    assert_snapshot!(refused_feature("SensorWidth", Value::Whole(5)), @"camera LENS: source.features: SensorWidth: locked: the camera lets it be read and not written, now or ever");
    assert_snapshot!(refused_feature("TestBoolean", Value::Whole(5)), @"camera LENS: source.features: TestBoolean: must be true or false, is 5");
    assert_snapshot!(refused_feature("TriggerSoftware", Value::Flag(true)), @"camera LENS: source.features: TriggerSoftware: is a command, not a setting");
    let all = refused(&|genicam| {
        genicam.exposure_us = Some(1.0);
        genicam.features.insert("GainAuto".into(), Value::Text("Always".into()));
    });
    assert_snapshot!(all, @r#"camera LENS: source.features: GainAuto: must be one of "Off", "Once", "Continuous", is "Always"; source.exposure_us: ExposureTimeAbs: must be 10 to 10000000, is 1"#);
}

#[test]
fn a_device_that_is_not_there_or_belongs_to_another_is_told() {
    let Some(lens) = Lens::start(&[]) else { return };
    let mut camera = genicam_camera(&lens);
    let (clock, pool) = (SystemClock::start(), BufferPool::new(1, 0));
    capture::init().unwrap();
    let open = capture::open(&camera, &clock, &pool).unwrap();
    let text = failure(&camera).replace(&lens.id, "LENS");
    assert_snapshot!(text, @"camera LENS: another program controls it, or another [[camera]] section");
    drop(open);
    assert_eq!(frames(&camera, 1).len(), 1, "it was let go of");

    genicam_of(&mut camera).device = "Nobody-1".into();
    assert_snapshot!(failure(&camera), @"camera Nobody-1: Device 'Nobody-1' not found; is it connected, powered, and on this network? `csflowd cameras` lists what answers");
}

#[test]
fn the_camera_is_found_by_its_address_and_in_the_list() {
    let Some(lens) = Lens::start(&[]) else { return };
    let found = capture::genicam_cameras().unwrap();
    let found = found.iter().find(|found| found.id == lens.id).unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!((found.model.as_str(), found.protocol.as_str()), ("Fake", "GigEVision"));
    assert_eq!(found.address, "127.0.0.1");
    let mut camera = genicam_camera(&lens);
    genicam_of(&mut camera).device = "127.0.0.1".into();
    assert_eq!(frames(&camera, 1).len(), 1);
}

/// Frames that came whole, of so many.
fn whole(camera: &Camera) -> Vec<csflowd::frame::Image> {
    let whole: Vec<_> = frames(camera, 20).into_iter().filter_map(|frame| frame.image.ok()).collect();
    assert!(!whole.is_empty(), "not one frame came whole");
    whole
}

#[test]
fn a_part_of_the_sensor_arrives_in_its_own_odd_size() {
    let Some(lens) = Lens::start(&[]) else { return };
    let mut camera = genicam_camera(&lens);
    camera.size = Some(size(509, 31));
    let region = Region { x: Some(3), y: Some(5), width: Some(509), height: Some(31) };
    genicam_of(&mut camera).region = region;
    for image in whole(&camera) {
        // A ramp along x and y; a row more or less of padding would break it.
        let at = |x: usize, y: usize| u32::from(image.pixels[y * 509 + x]);
        for (x, y) in [(0, 0), (508, 0), (0, 30), (508, 30)] {
            assert_eq!(at(x, y), (at(0, 0) + u32::try_from(x + y).unwrap()) % 255);
        }
    }
}

#[test]
fn bayer_pictures_are_made_colourful_by_the_pipeline() {
    let Some(lens) = Lens::start(&[]) else { return };
    let mut camera = genicam_camera(&lens);
    genicam_of(&mut camera).pixel_format = Some("BayerRG8".into());
    camera.format = PixelFormat::Rgb8;
    camera.pipeline =
        "appsrc name=camera ! bayer2rgb ! videoconvert ! video/x-raw,format=RGB ! appsink name=frames".into();
    assert_eq!(whole(&camera)[0].pixels.len(), 512 * 512 * 3);
    // It stays as it was set, until it is set back.
    let mut camera = genicam_camera(&lens);
    let frames = frames(&camera, 20);
    let is_told = |text: &String| text.starts_with("frame is not raw video but video/x-bayer");
    assert!(frames.iter().any(|frame| frame.image.as_ref().is_err_and(is_told)), "{frames:?}");
    genicam_of(&mut camera).pixel_format = Some("Mono8".into());
    assert_eq!(whole(&camera)[0].pixels.len(), 512 * 512);
}

#[test]
fn the_camera_tells_the_capture_time_where_its_clock_is_held_or_trusted() {
    let Some(lens) = Lens::start(&[]) else { return };
    let mut camera = genicam_camera(&lens);
    let is_told_by = |camera: &Camera, clock: CaptureClock| {
        frames(camera, 10).iter().filter(|frame| frame.image.is_ok()).all(|frame| frame.clock == clock)
    };
    // Its clock counts UTC, and it says nothing of PTP.
    assert!(is_told_by(&camera, CaptureClock::Arrival));
    genicam_of(&mut camera).clock = ClockChoice::Camera;
    assert!(is_told_by(&camera, CaptureClock::Camera));
    genicam_of(&mut camera).clock = ClockChoice::Arrival;
    assert!(is_told_by(&camera, CaptureClock::Arrival));
}
