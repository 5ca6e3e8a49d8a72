//! Image files as a camera: each file comes out once, whole, under its own name.

use std::fs;
use std::path::Path;
use std::time::Duration;

use csflowd::capture::{self, Pulled};
use csflowd::clock::{Clock, SystemClock};
use csflowd::config::camera::{Camera, Files, Order, Source};
use csflowd::frame::{BufferPool, Captured, PixelFormat};
use csflowd::image_file;
use image::{Rgb, RgbImage};

use super::{camera, failure, frames, next, size};

const PLAIN: &str = "appsrc name=camera ! appsink name=frames";

fn files_camera(folder: &Path, pipeline: &str) -> Camera {
    let files = Files { folder: folder.into(), rate_hz: 500.0, repeat: false, order: Order::Sorted };
    Camera { source: Source::Files(files), ..camera(pipeline) }
}

fn files_of(camera: &mut Camera) -> &mut Files {
    let Source::Files(files) = &mut camera.source else { panic!("not a files camera") };
    files
}

/// A picture that is like no other picture of another `n`.
fn picture(n: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([n * 20, x * 5, y * 7].map(|value| value.to_le_bytes()[0])))
}

fn name_of(frame: &Captured) -> &str {
    frame.part_id.as_ref().unwrap().as_str()
}

fn names(frames: &[Captured]) -> Vec<&str> {
    frames.iter().map(name_of).collect()
}

/// A folder of `count` pictures, each of its own size, `0.png` and so on.
fn folder_of(count: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..count {
        picture(n, 37 + n, 23 + 2 * n).save(folder.path().join(format!("{n}.png"))).unwrap();
    }
    folder
}

/// All that comes until the source ends, and that it stays ended.
fn all(camera: &Camera) -> Vec<Captured> {
    capture::init().unwrap();
    let (clock, pool) = (SystemClock::start(), BufferPool::new(4, 0));
    let mut source = capture::open(camera, &clock, &pool).unwrap();
    let mut frames = Vec::new();
    loop {
        match source.next(Duration::from_millis(100)).unwrap() {
            Pulled::Captured(captured) => frames.push(captured),
            Pulled::Nothing => assert!(clock.now().mono < super::PATIENCE, "{frames:?}"),
            Pulled::Ended => break,
        }
    }
    assert!(matches!(source.next(Duration::ZERO), Ok(Pulled::Ended)));
    frames
}

#[test]
fn pictures_of_any_size_arrive_bit_by_bit_under_their_names() {
    let folder = folder_of(8);
    for format in [PixelFormat::Rgb8, PixelFormat::Bgr8, PixelFormat::Gray8] {
        let frames = all(&Camera { format, ..files_camera(folder.path(), PLAIN) });
        assert_eq!(names(&frames), ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "6.png", "7.png"]);
        for frame in &frames {
            let image = frame.image.as_ref().unwrap();
            let (size, pixels) = image_file::read(&folder.path().join(name_of(frame)), format).unwrap();
            assert_eq!((image.size, image.format), (size, format));
            assert_eq!(image.pixels.as_slice(), pixels);
        }
    }
}

#[test]
fn a_name_stays_with_its_picture_through_elements_that_work_on_it() {
    let folder = folder_of(8);
    let text = "appsrc name=camera ! queue ! videoscale ! video/x-raw,width=16,height=16 \
                ! pngenc ! pngdec ! videoconvert ! video/x-raw,format=RGB ! appsink name=frames";
    for frame in all(&Camera { size: Some(size(16, 16)), ..files_camera(folder.path(), text) }) {
        let n: u8 = name_of(&frame)[..1].parse().unwrap();
        assert_eq!(frame.image.unwrap().pixels[0], n * 20);
    }
}

#[test]
fn a_picture_that_the_pipeline_keeps_is_still_answered() {
    let thinned = "videorate drop-only=true ! video/x-raw,framerate=250/1";
    for (kept_by, count, n_kept) in [("identity drop-probability=1.0", 3, 3), (thinned, 9, 4)] {
        let text = format!("appsrc name=camera ! {kept_by} ! appsink name=frames");
        let folder = folder_of(count);
        let frames = all(&files_camera(folder.path(), &text));
        assert_eq!(names(&frames), (0..count).map(|n| format!("{n}.png")).collect::<Vec<_>>());
        let kept: Vec<_> = frames.iter().filter_map(|frame| frame.image.as_ref().err()).collect();
        assert_eq!(kept, ["the pipeline kept the picture"].repeat(n_kept));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_answered_in_its_turn() {
    let folder = folder_of(3);
    let path = folder.path().join("1.png");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.path().join("3.jpg"), "no picture").unwrap();
    let frames = all(&files_camera(folder.path(), PLAIN));
    assert_eq!(names(&frames), ["0.png", "1.png", "2.png", "3.jpg"]);
    for (frame, is_whole) in frames.iter().zip([true, false, true, false]) {
        match &frame.image {
            Ok(_) => assert!(is_whole),
            Err(text) => {
                let path = folder.path().join(name_of(frame));
                assert!(!is_whole && text.starts_with(&format!("image {}: ", path.display())), "{text}");
            }
        }
    }
}

#[test]
fn a_picture_of_the_wrong_size_does_not_stop_the_others() {
    let folder = folder_of(3);
    let frames = all(&Camera { size: Some(size(38, 25)), ..files_camera(folder.path(), PLAIN) });
    let texts: Vec<_> =
        frames.iter().map(|frame| frame.image.as_ref().map(|_| ()).map_err(String::as_str)).collect();
    let wrong_0 = "frame is RGB 37x23, configured is RGB 38x25";
    let wrong_2 = "frame is RGB 39x27, configured is RGB 38x25";
    assert_eq!(texts, [Err(wrong_0), Ok(()), Err(wrong_2)]);
}

#[test]
fn a_folder_that_is_repeated_starts_again() {
    let folder = folder_of(2);
    let mut camera = files_camera(folder.path(), PLAIN);
    files_of(&mut camera).repeat = true;
    assert_eq!(names(&frames(&camera, 5)), ["0.png", "1.png", "0.png", "1.png", "0.png"]);
}

#[test]
fn a_seed_shuffles_the_same_way_each_time() {
    let folder = folder_of(8);
    let mut camera = files_camera(folder.path(), PLAIN);
    files_of(&mut camera).order = Order::Shuffled { seed: 3 };
    let (one, two) = (all(&camera), all(&camera));
    assert_eq!(names(&one), names(&two));
    assert!(!names(&one).is_sorted());
}

#[test]
fn pictures_come_no_faster_than_their_rate() {
    let folder = folder_of(5);
    let mut camera = files_camera(folder.path(), PLAIN);
    files_of(&mut camera).rate_hz = 100.0;
    // From the start, for the first may be late and then the second comes sooner after it.
    let frames = all(&camera);
    assert!(frames[4].at.mono >= Duration::from_millis(40), "{:?}", frames[4].at.mono);
}

#[test]
fn a_folder_that_is_missing_or_empty_is_named() {
    let missing = failure(&files_camera(Path::new("/nowhere/parts"), PLAIN));
    assert_eq!(missing, "cannot read folder /nowhere/parts: No such file or directory (os error 2)");
    let empty = tempfile::tempdir().unwrap();
    let text = failure(&files_camera(empty.path(), PLAIN));
    let expected = format!("no image (png, jpg, jpeg, bmp, tif, tiff) in folder {}", empty.path().display());
    assert_eq!(text, expected);
}

#[test]
fn every_buffer_comes_back_to_the_pool() {
    capture::init().unwrap();
    let folder = folder_of(6);
    let camera = files_camera(folder.path(), PLAIN);
    let (clock, pool) = (SystemClock::start(), BufferPool::new(1, 64 * 64 * 3));
    let mut source = capture::open(&camera, &clock, &pool).unwrap();
    for _ in 0..6 {
        drop(next(source.as_mut(), &clock));
        assert!(pool.take().capacity() >= 64 * 64 * 3);
    }
}
