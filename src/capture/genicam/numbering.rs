//! Frame numbers of a camera: which frame follows which, and what is missing between two.
//!
//! Pure. GigE Vision counts from 1 to 65535 and on from 1; with extended numbers, and in USB3 Vision, it goes up for ever.

use std::ops::Range;

/// A longer gap is a counter that was set anew, not loss.
const LONGEST_GAP: u64 = 1000;

/// The last number of a counter of 16 bits.
const LAST_SHORT: u64 = 0xFFFF;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many are missing before this one.
    Forward { missing: u64 },
    /// This number has been before.
    Again,
    /// Nothing to compare with: the first one, or the counter was set anew.
    Fresh,
}

#[derive(Debug, Default)]
pub(super) struct Numbering {
    last: Option<u64>,
    /// Lost frames, since the camera was opened.
    lost: u64,
}

impl Numbering {
    pub(super) fn next(&mut self, number: u64) -> Step {
        let step = self.last.map_or(Step::Fresh, |last| step(last, number));
        if step != Step::Again {
            self.last = Some(number);
        }
        if let Step::Forward { missing } = step {
            self.lost += missing;
        }
        step
    }

    /// The numbers that are missing before the one that `step` led to.
    pub(super) fn lost(&self, step: Step) -> impl Iterator<Item = u64> + use<> {
        let (last, missing) = match (self.last, step) {
            (Some(last), Step::Forward { missing }) => (last, missing),
            _ => (0, 0),
        };
        let range: Range<u64> = 1..missing + 1;
        range.rev().map(move |back| before(last, back))
    }

    pub(super) fn total_lost(&self) -> u64 {
        self.lost
    }
}

fn step(last: u64, number: u64) -> Step {
    let forward = if number > last {
        number - last
    } else if last - number <= LONGEST_GAP {
        return Step::Again;
    } else if last <= LAST_SHORT && number > 0 {
        // From 65535 on to 1.
        number + LAST_SHORT - last
    } else {
        return Step::Fresh;
    };
    if forward > LONGEST_GAP { Step::Fresh } else { Step::Forward { missing: forward - 1 } }
}

/// The number that stands `back` places before `number`, which came by going forward.
fn before(number: u64, back: u64) -> u64 {
    if number > back { number - back } else { number + LAST_SHORT - back }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(numbers: &[u64], lost: &[u64]) {
        let mut numbering = Numbering::default();
        let mut found = Vec::new();
        for &number in numbers {
            let step = numbering.next(number);
            found.extend(numbering.lost(step));
        }
        assert_eq!(found, lost);
        assert_eq!(numbering.total_lost(), lost.len() as u64);
    }

    #[test]
    fn what_is_missing_is_named() {
        check(&[7, 8, 9], &[]);
        check(&[7, 9, 12], &[8, 10, 11]);
        check(&[65_533, 65_534, 65_535, 1, 2], &[]);
        check(&[65_533, 2], &[65_534, 65_535, 1]);
        check(&[65_535, 65_536, 65_538], &[65_537]);
        check(&[u64::MAX - 1, u64::MAX], &[]);
    }

    #[test]
    fn a_counter_that_is_set_anew_is_no_loss() {
        check(&[40_000, 1, 2], &[]);
        check(&[1_000_000, 1, 2], &[]);
        check(&[5, 5000, 5001], &[]);
        check(&[70_000, 0, 1], &[]);
    }

    #[test]
    fn a_number_that_comes_again_is_known() {
        let mut numbering = Numbering::default();
        assert_eq!(
            [3, 3, 4, 2, 5].map(|number| numbering.next(number)),
            [
                Step::Fresh,
                Step::Again,
                Step::Forward { missing: 0 },
                Step::Again,
                Step::Forward { missing: 0 },
            ]
        );
    }
}
