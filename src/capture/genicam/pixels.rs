//! How the frames of a camera lie in memory, and what GStreamer calls that.

use aravis::PixelFormat;
use gstreamer as gst;

/// Of a camera's format: its GenICam name, GStreamer's media type and name, and bytes of a pixel.
const FORMATS: [(PixelFormat, &str, &str, &str, usize); 8] = [
    (PixelFormat::MONO_8, "Mono8", "video/x-raw", "GRAY8", 1),
    (PixelFormat::MONO_16, "Mono16", "video/x-raw", "GRAY16_LE", 2),
    (PixelFormat::RGB_8_PACKED, "RGB8", "video/x-raw", "RGB", 3),
    (PixelFormat::BGR_8_PACKED, "BGR8", "video/x-raw", "BGR", 3),
    (PixelFormat::BAYER_RG_8, "BayerRG8", "video/x-bayer", "rggb", 1),
    (PixelFormat::BAYER_GR_8, "BayerGR8", "video/x-bayer", "grbg", 1),
    (PixelFormat::BAYER_GB_8, "BayerGB8", "video/x-bayer", "gbrg", 1),
    (PixelFormat::BAYER_BG_8, "BayerBG8", "video/x-bayer", "bggr", 1),
];

/// What the frames of a camera are, as it was set.
#[derive(Debug)]
pub(super) struct Layout {
    format: PixelFormat,
    width: i32,
    height: i32,
    row: usize,
    caps: gst::Caps,
}

/// The names of all that can be pushed, for messages.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|(_, name, ..)| *name)
}

impl Layout {
    /// None if pictures of this format cannot be pushed.
    pub(super) fn new(format: PixelFormat, width: i32, height: i32) -> Option<Self> {
        let (_, _, media, name, bytes) = FORMATS.iter().find(|(known, ..)| *known == format)?;
        let row = usize::try_from(width).ok()?.checked_mul(*bytes)?;
        let caps = gst::Caps::builder(*media).field("format", *name);
        let caps = caps.field("width", width).field("height", height);
        let caps = caps.field("framerate", gst::Fraction::new(0, 1)).build();
        Some(Self { format, width, height, row, caps })
    }

    pub(super) fn caps(&self) -> &gst::Caps {
        &self.caps
    }

    /// Whether a frame has this layout; else what it has.
    pub(super) fn check(&self, format: PixelFormat, width: i32, height: i32) -> Result<(), String> {
        if (format, width, height) == (self.format, self.width, self.height) {
            return Ok(());
        }
        let name = |format: PixelFormat| {
            let known = FORMATS.iter().find(|(known, ..)| *known == format);
            known.map_or_else(|| format!("{:#010x}", format.raw()), |(_, name, ..)| (*name).to_owned())
        };
        Err(format!(
            "it is {} {width}x{height}, and the camera was set to {} {}x{}",
            name(format),
            name(self.format),
            self.width,
            self.height
        ))
    }

    /// `pixels`, in rows that end with `padding` bytes, as GStreamer lays them out: rows of a multiple of 4 bytes.
    pub(super) fn lay_out(&self, pixels: Vec<u8>, padding: usize) -> Result<gst::Buffer, String> {
        let (from, to) = (self.row + padding, self.row.next_multiple_of(4));
        let rows = usize::try_from(self.height).unwrap_or(0);
        if pixels.len() + padding < from * rows {
            return Err(format!("it has {} bytes and should have {}", pixels.len(), from * rows));
        }
        if from == to {
            return Ok(gst::Buffer::from_mut_slice(pixels));
        }
        let mut padded = vec![0; to * rows];
        for (to, from) in padded.chunks_mut(to).zip(pixels.chunks(from)) {
            to[..self.row].copy_from_slice(&from[..self.row]);
        }
        Ok(gst::Buffer::from_mut_slice(padded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(width: i32, pixels: &[u8], padding: usize, expected: &[u8]) {
        gst::init().unwrap();
        let layout = Layout::new(PixelFormat::MONO_8, width, 2).unwrap();
        let buffer = layout.lay_out(pixels.to_vec(), padding).unwrap();
        assert_eq!(buffer.map_readable().unwrap().as_slice(), expected);
    }

    #[test]
    fn rows_get_the_padding_that_gstreamer_wants() {
        check(4, &[1, 2, 3, 4, 5, 6, 7, 8], 0, &[1, 2, 3, 4, 5, 6, 7, 8]);
        check(3, &[1, 2, 3, 4, 5, 6], 0, &[1, 2, 3, 0, 4, 5, 6, 0]);
        check(3, &[1, 2, 3, 9, 9, 4, 5, 6], 2, &[1, 2, 3, 0, 4, 5, 6, 0]);
    }

    #[test]
    fn a_frame_of_another_layout_is_told() {
        gst::init().unwrap();
        let layout = Layout::new(PixelFormat::MONO_8, 4, 2).unwrap();
        assert_eq!(layout.check(PixelFormat::MONO_8, 4, 2), Ok(()));
        let text = "it is RGB8 4x3, and the camera was set to Mono8 4x2";
        assert_eq!(layout.check(PixelFormat::RGB_8_PACKED, 4, 3), Err(text.to_owned()));
        let short = layout.lay_out(vec![0; 7], 0).unwrap_err();
        assert_eq!(short, "it has 7 bytes and should have 8");
        assert!(Layout::new(PixelFormat::MONO_12, 4, 2).is_none());
    }
}
