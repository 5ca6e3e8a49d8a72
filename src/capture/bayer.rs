//! GStreamer's `bayer2rgb` reads past the end of rows of an odd width, and ends the process: such a stream is refused.

use gstreamer as gst;
use gstreamer::prelude::*;

/// Watches what reaches the `bayer2rgb` elements of a pipeline.
pub(super) fn guard(elements: &gst::Pipeline) {
    for element in elements.iterate_recurse().into_iter().flatten() {
        let is_bayer = element.factory().is_some_and(|factory| factory.name() == "bayer2rgb");
        let Some(pad) = element.static_pad("sink").filter(|_| is_bayer) else { continue };
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
            let odd = info.event().and_then(odd_width);
            let (Some(width), Some(element)) = (odd, pad.parent_element()) else {
                return gst::PadProbeReturn::Ok;
            };
            gst::element_error!(
                element,
                gst::StreamError::Format,
                ("a width of {width} is odd, and bayer2rgb takes even ones alone: set the camera to one")
            );
            // Without caps the element takes no frame.
            drop(info.data.take());
            gst::PadProbeReturn::Handled
        });
    }
}

fn odd_width(event: &gst::Event) -> Option<i32> {
    let gst::EventView::Caps(caps) = event.view() else { return None };
    let width: i32 = caps.caps().structure(0)?.get("width").ok()?;
    (width % 2 != 0).then_some(width)
}
