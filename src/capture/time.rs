//! When a frame was captured, by the best clock there is: the camera's, one that came with the stream, or the arrival.
//!
//! Only the time of day is taken from another clock, and only where it fits the machine's. The monotonic half of a moment
//! is that of the arrival, whatever the other clocks do.

use std::time::{Duration, SystemTime};

use gstreamer as gst;

use crate::clock::Moment;
use crate::frame::CaptureClock;

/// A frame is no older than this when it arrives; a longer way is a clock that is wrong.
const OLDEST: Duration = Duration::from_secs(5);

/// Clocks that are held differ by less than this.
const APART: Duration = Duration::from_millis(100);

/// TAI, which PTP counts, is so far ahead of UTC since 2017.
const TAI: Duration = Duration::from_secs(37);

/// From 1900, where NTP begins, to 1970.
const NTP: Duration = Duration::from_hours(25_567 * 24);

/// A count of time since 1970 as UTC, if it is one that fits the machine's clock.
pub(super) fn utc(since_1970: Duration, arrived: SystemTime) -> Option<SystemTime> {
    let counted = SystemTime::UNIX_EPOCH.checked_add(since_1970)?;
    [counted, counted.checked_sub(TAI)?].into_iter().find(|&utc| match arrived.duration_since(utc) {
        Ok(age) => age <= OLDEST,
        Err(ahead) => ahead.duration() <= APART,
    })
}

/// When the picture in `sample` was captured, as far as the stream says it.
pub(super) fn of_sample(sample: &gst::SampleRef, arrived: Moment) -> (Moment, CaptureClock) {
    let metas = sample.buffer().map(gst::BufferRef::iter_meta::<gst::ReferenceTimestampMeta>);
    let utc = metas.into_iter().flatten().find_map(|meta| {
        let counted = Duration::from_nanos(meta.timestamp().nseconds());
        let since_1970 = match meta.reference().structure(0)?.name().as_str() {
            "timestamp/x-ntp" => counted.checked_sub(NTP)?,
            "timestamp/x-unix" | "timestamp/x-ptp" => counted,
            _ => return None,
        };
        utc(since_1970, arrived.utc)
    });
    match utc {
        Some(utc) => (Moment { utc, ..arrived }, CaptureClock::Reference),
        None => (arrived, CaptureClock::Arrival),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_760_000_000);
    /// When a frame was captured that arrives now.
    const BEFORE: Duration = Duration::from_millis(1_759_999_999_980);

    fn at(since_1970: Duration) -> SystemTime {
        SystemTime::UNIX_EPOCH + since_1970
    }

    #[test]
    fn another_clock_counts_where_it_fits_in_utc_or_tai() {
        assert_eq!(utc(BEFORE, at(NOW)), Some(at(BEFORE)));
        assert_eq!(utc(BEFORE + TAI, at(NOW)), Some(at(BEFORE)));
        assert_eq!(utc(NOW + APART, at(NOW)), Some(at(NOW + APART)));
        let hour = Duration::from_hours(1);
        // Since the camera was switched on, or on a machine whose clock was stepped.
        for wrong in [Duration::ZERO, hour, BEFORE / 2, NOW + hour, Duration::MAX] {
            assert_eq!(utc(wrong, at(NOW)), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_the_stream_says_is_read_and_deadlines_keep_the_arrival() {
        gst::init().unwrap();
        let arrived = Moment { mono: Duration::from_secs(7), utc: at(NOW) };
        let of = |name: &str, counted: Duration| {
            let mut buffer = gst::Buffer::new();
            let caps = gst::Caps::builder(name).build();
            let counted = gst::ClockTime::try_from(counted).unwrap();
            gst::ReferenceTimestampMeta::add(buffer.get_mut().unwrap(), &caps, counted, None);
            of_sample(&gst::Sample::builder().buffer(&buffer).build(), arrived)
        };
        let told = (Moment { utc: at(BEFORE), ..arrived }, CaptureClock::Reference);
        assert_eq!(of("timestamp/x-ntp", BEFORE + NTP), told);
        assert_eq!(of("timestamp/x-unix", BEFORE), told);
        assert_eq!(of("timestamp/x-ptp", BEFORE + TAI), told);
        let own = (arrived, CaptureClock::Arrival);
        assert_eq!(of("timestamp/x-ntp", NOW), own, "a count of something else");
        assert_eq!(of("timestamp/x-drone", NOW), own);
        assert_eq!(of_sample(&gst::Sample::builder().build(), arrived), own);
    }
}
