//! What csflowd has pushed into a pipeline and not yet got back.
//!
//! Each is answered once and in its turn: by the picture with its timestamp, or given up. They keep their order, so what
//! waits before a picture that has come waits in vain.

use std::collections::VecDeque;

use gstreamer as gst;

/// In the order of their capture, each with what is known of it.
#[derive(Debug)]
pub(super) struct UnderWay<K>(VecDeque<Entry<K>>);

#[derive(Debug)]
struct Entry<K> {
    known: K,
    /// Of its picture; none if there will be none.
    timestamp: Option<gst::ClockTime>,
    /// Why no picture will come.
    problem: Option<String>,
}

/// One for which no picture came, and why.
#[derive(Debug)]
pub(super) struct GivenUp<K> {
    pub(super) known: K,
    pub(super) timestamp: Option<gst::ClockTime>,
    pub(super) problem: String,
}

impl<K> UnderWay<K> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One whose picture has this timestamp.
    pub(super) fn push(&mut self, known: K, timestamp: Option<gst::ClockTime>) {
        self.0.push_back(Entry { known, timestamp, problem: None });
    }

    /// One of which no picture will come.
    pub(super) fn push_without(&mut self, known: K, problem: String) {
        self.0.push_back(Entry { known, timestamp: None, problem: Some(problem) });
    }

    /// Of the picture that was pushed last.
    pub(super) fn last_timestamp(&self) -> Option<gst::ClockTime> {
        self.0.iter().filter_map(|entry| entry.timestamp).next_back()
    }

    /// A picture has come: what waited before it, given up, and what is known of it. None if it is of nothing under way.
    pub(super) fn arrived(&mut self, timestamp: Option<gst::ClockTime>) -> Option<(Vec<GivenUp<K>>, K)> {
        let place =
            self.0.iter().position(|entry| entry.timestamp.is_some() && entry.timestamp == timestamp)?;
        let before = self.0.drain(..place).map(Entry::given_up).collect();
        Some((before, self.0.pop_front()?.known))
    }

    /// The next in turn, if no picture of it will come or `is_late` says that it was waited for long enough.
    pub(super) fn give_up(&mut self, is_late: impl FnOnce(&K) -> bool) -> Option<GivenUp<K>> {
        let first = self.0.pop_front_if(|first| first.problem.is_some() || is_late(&first.known))?;
        Some(first.given_up())
    }
}

impl<K> Entry<K> {
    fn given_up(self) -> GivenUp<K> {
        let problem = self.problem.unwrap_or_else(|| "the pipeline kept the picture".into());
        GivenUp { known: self.known, timestamp: self.timestamp, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Timestamps, by their number.
    const AT: [Option<gst::ClockTime>; 5] = [
        Some(gst::ClockTime::from_nseconds(0)),
        Some(gst::ClockTime::from_nseconds(1)),
        Some(gst::ClockTime::from_nseconds(2)),
        Some(gst::ClockTime::from_nseconds(3)),
        Some(gst::ClockTime::from_nseconds(4)),
    ];

    #[test]
    fn a_picture_gives_up_what_waits_before_it_and_nothing_behind() {
        let mut under_way = UnderWay::new();
        under_way.push('a', AT[1]);
        under_way.push_without('b', "torn".into());
        under_way.push('c', AT[3]);
        under_way.push('d', AT[4]);
        assert!(under_way.arrived(AT[0]).is_none() && under_way.arrived(None).is_none());
        let (before, known) = under_way.arrived(AT[3]).unwrap();
        let before: Vec<_> = before.into_iter().map(|it| (it.known, it.problem)).collect();
        assert_eq!(before, [('a', "the pipeline kept the picture".into()), ('b', "torn".into())]);
        assert_eq!((known, under_way.len(), under_way.last_timestamp()), ('c', 1, AT[4]));
        assert!(under_way.arrived(AT[1]).is_none(), "it was given up");
    }

    #[test]
    fn the_first_is_given_up_when_it_is_late_or_has_no_picture() {
        let mut under_way = UnderWay::new();
        under_way.push('a', AT[1]);
        under_way.push_without('b', "torn".into());
        under_way.push('c', AT[3]);
        assert!(under_way.give_up(|_| false).is_none());
        assert_eq!(under_way.give_up(|&known| known == 'a').unwrap().timestamp, AT[1]);
        assert_eq!(under_way.give_up(|_| false).unwrap().known, 'b');
        assert!(under_way.give_up(|_| false).is_none() && !under_way.is_empty());
    }
}
