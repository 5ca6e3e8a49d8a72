//! From a GStreamer sample to an [`Image`]: checks what came against what was configured, drops the padding.
//!
//! A frame that does not fit is still a trigger, so the error is a text that goes on in place of the picture.

use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoInfo, VideoMeta};

use crate::frame::{BufferPool, Image, PixelFormat, Size};

/// What each frame of a camera must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) format: PixelFormat,
    /// None takes any size.
    pub(super) size: Option<Size>,
}

/// GStreamer's name for a format of ours.
pub(super) fn video_format(format: PixelFormat) -> VideoFormat {
    match format {
        PixelFormat::Gray8 => VideoFormat::Gray8,
        PixelFormat::Rgb8 => VideoFormat::Rgb,
        PixelFormat::Bgr8 => VideoFormat::Bgr,
    }
}

/// Copies the picture in `sample` into a buffer of `pool`.
pub(super) fn image(sample: &gst::SampleRef, expected: Expected, pool: &BufferPool) -> Result<Image, String> {
    let buffer = sample.buffer().ok_or("frame without data")?;
    let caps = sample.caps().ok_or("frame without caps")?;
    let info = VideoInfo::from_caps(caps).ok().filter(|info| info.format() != VideoFormat::Encoded);
    let info = info.ok_or_else(|| not_raw(caps))?;
    let size = Size { width: info.width(), height: info.height() };
    check(info.format(), size, expected)?;
    if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
        return Err("frame is marked as damaged by the camera or its decoder".into());
    }
    // The buffer's own word on its layout goes before what the caps let expect.
    let (offset, stride) = match buffer.meta::<VideoMeta>() {
        Some(meta) => (meta.offset()[0], meta.stride()[0]),
        None => (info.offset()[0], info.stride()[0]),
    };
    let rows =
        Rows { offset, stride, row: size.width as usize * expected.format.channels(), count: size.height };
    let bytes = buffer.map_readable().map_err(|error| format!("frame cannot be mapped: {error}"))?;
    let mut pixels = pool.take();
    if !rows.copy(&bytes, &mut pixels) {
        return Err(format!("frame has {} bytes, too few for its caps {caps}", bytes.len()));
    }
    Ok(Image { size, format: expected.format, pixels })
}

fn not_raw(caps: &gst::CapsRef) -> String {
    let is_bayer = caps.structure(0).is_some_and(|structure| structure.name() == "video/x-bayer");
    let advice = if is_bayer { "; put `bayer2rgb ! videoconvert` before the appsink" } else { "" };
    format!("frame is not raw video but {caps}{advice}")
}

fn check(format: VideoFormat, size: Size, expected: Expected) -> Result<(), String> {
    let expected_format = video_format(expected.format);
    let expected_size = expected.size.unwrap_or(size);
    if format == expected_format && size == expected_size {
        return Ok(());
    }
    let came = format!("{} {size}", format.to_str());
    Err(match expected.size {
        Some(size) => format!("frame is {came}, configured is {} {size}", expected_format.to_str()),
        None => format!("frame is {came}, configured is {}", expected_format.to_str()),
    })
}

/// Where the pixels lie in a buffer.
struct Rows {
    offset: usize,
    /// Bytes from the start of a row to the start of the next.
    stride: i32,
    /// Bytes of a row that are pixels.
    row: usize,
    count: u32,
}

impl Rows {
    /// Appends the rows without padding. False if `from` does not hold them all.
    fn copy(&self, from: &[u8], to: &mut Vec<u8>) -> bool {
        let Ok(stride) = usize::try_from(self.stride) else { return false };
        let count = self.count as usize;
        if count == 0 || self.row == 0 || stride < self.row {
            return false;
        }
        // The last row may lack its padding.
        let end = (count - 1).checked_mul(stride).and_then(|n| n.checked_add(self.row));
        let end = end.and_then(|n| n.checked_add(self.offset));
        let Some(from) = end.and_then(|end| from.get(self.offset..end)) else { return false };
        to.reserve_exact(count * self.row);
        if stride == self.row {
            to.extend_from_slice(from);
        } else {
            from.chunks(stride).for_each(|row| to.extend_from_slice(&row[..self.row]));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample of 3 by 2 pixels of GRAY8, in rows of 4 bytes.
    fn sample(bytes: &'static [u8], change: impl FnOnce(&mut gst::BufferRef)) -> gst::Sample {
        gst::init().unwrap();
        let caps = VideoInfo::builder(VideoFormat::Gray8, 3, 2).build().unwrap().to_caps().unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(bytes.to_vec());
        change(buffer.get_mut().unwrap());
        gst::Sample::builder().buffer(&buffer).caps(&caps).build()
    }

    #[track_caller]
    fn check_image(sample: &gst::Sample, expected: Result<&[u8], &str>) {
        let pool = BufferPool::new(1, 6);
        let gray = Expected { format: PixelFormat::Gray8, size: None };
        let image = image(sample, gray, &pool);
        match (image, expected) {
            (Ok(image), Ok(pixels)) => assert_eq!(image.pixels.as_slice(), pixels),
            (Err(text), Err(start)) => assert!(text.starts_with(start), "{text}"),
            (image, _) => panic!("{image:?}"),
        }
        assert_eq!(pool.take().capacity(), 6, "the buffer is back");
    }

    #[test]
    fn a_damaged_frame_is_a_text_and_not_a_picture() {
        check_image(&sample(&[1, 2, 3, 0, 4, 5, 6, 0], |_| {}), Ok(&[1, 2, 3, 4, 5, 6]));
        let flagged = |buffer: &mut gst::BufferRef| buffer.set_flags(gst::BufferFlags::CORRUPTED);
        check_image(&sample(&[0; 8], flagged), Err("frame is marked as damaged"));
        check_image(&sample(&[0; 5], |_| {}), Err("frame has 5 bytes, too few for its caps video/x-raw"));
        check_image(&sample(&[], |_| {}), Err("frame has 0 bytes"));
        check_image(&gst::Sample::builder().build(), Err("frame without data"));
        check_image(&gst::Sample::builder().buffer(&gst::Buffer::new()).build(), Err("frame without caps"));
    }

    #[test]
    fn a_buffer_that_tells_its_own_layout_is_believed() {
        let laid_out = |offset: usize, stride: i32| {
            move |buffer: &mut gst::BufferRef| {
                let (format, flags) = (VideoFormat::Gray8, gstreamer_video::VideoFrameFlags::empty());
                VideoMeta::add_full(buffer, flags, format, 3, 2, &[offset], &[stride]).unwrap();
            }
        };
        let bytes = &[9, 1, 2, 3, 9, 9, 4, 5, 6, 9];
        check_image(&sample(bytes, laid_out(1, 5)), Ok(&[1, 2, 3, 4, 5, 6]));
        check_image(&sample(bytes, laid_out(1, 7)), Err("frame has 10 bytes"));
    }

    #[track_caller]
    fn check_copy(rows: &Rows, from: &[u8], expected: Option<&[u8]>) {
        let mut to = Vec::new();
        let whole = rows.copy(from, &mut to);
        assert_eq!(whole.then_some(to.as_slice()), expected);
    }

    #[test]
    fn padding_and_offset_are_left_out() {
        let from = [9, 1, 2, 3, 0, 4, 5, 6, 0];
        check_copy(&Rows { offset: 1, stride: 4, row: 3, count: 2 }, &from, Some(&[1, 2, 3, 4, 5, 6]));
        let unpadded_end = &from[..8];
        check_copy(&Rows { offset: 1, stride: 4, row: 3, count: 2 }, unpadded_end, Some(&[1, 2, 3, 4, 5, 6]));
        check_copy(&Rows { offset: 0, stride: 3, row: 3, count: 3 }, &from, Some(&from));
    }

    #[test]
    fn a_layout_that_does_not_fit_copies_nothing() {
        let from = [0; 8];
        check_copy(&Rows { offset: 0, stride: 4, row: 4, count: 3 }, &from, None);
        check_copy(&Rows { offset: 2, stride: 4, row: 3, count: 2 }, &from, None);
        check_copy(&Rows { offset: 9, stride: 4, row: 3, count: 1 }, &from, None);
        check_copy(&Rows { offset: usize::MAX, stride: 4, row: 3, count: 1 }, &from, None);
        check_copy(&Rows { offset: 0, stride: -4, row: 4, count: 2 }, &from, None);
        check_copy(&Rows { offset: 0, stride: 2, row: 4, count: 2 }, &from, None);
        check_copy(&Rows { offset: 0, stride: 4, row: 0, count: 2 }, &from, None);
        check_copy(&Rows { offset: 0, stride: i32::MAX, row: 4, count: u32::MAX }, &from, None);
    }
}
