//! What the bundle's calibration says of good parts, and whether the good images of a test agree.
//!
//! The calibration speaks of parts: a part is rejected when one of its images is, so the more images a part has, the
//! more often it is. A test can confirm or contradict that only with parts like those of the calibration.

use serde::Serialize;

use crate::calibrate::evidence::Obtained;
use crate::calibrate::rate::{Limits, Rate};
use crate::calibrate::{Calibration, Guarantee};
use crate::dataset::groups::Groups;

/// Numbers of images of a part that differ by no more than this share are taken for the same: parts differ by chance.
const SAME_NUMBER: f64 = 0.1;

/// What is promised, and the answer of a test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Promise {
    /// With this confidence, at most this share of good parts is judged not OK.
    pub overkill_max: f64,
    pub confidence: f64,
    /// Good parts it was calibrated with, and how many images they have.
    pub parts: usize,
    pub images: usize,
    pub obtained: Obtained,
    /// What was asked for, and on what it rests.
    pub target_overkill: f64,
    pub guarantee: Guarantee,
    /// Good images of this test that the network was trained on, or that the threshold rests on.
    pub known: usize,
    /// Absent where each good image of this test is taken for a part of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_part: Option<ByPart>,
    pub answer: Answer,
}

/// The good images of a test by the parts that they show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ByPart {
    /// Good parts of which an image was judged not OK.
    pub overkill: Rate,
    /// Good images of a part on average.
    pub images_per_part: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The whole interval of the overkill lies within the bound.
    Confirmed,
    /// The bound lies in the interval: these images are too few to tell.
    Consistent,
    /// It looks confirmed but parts have fewer images here than in the calibration, or contradicted but they have more.
    OtherUnit,
    /// Within the bound, but some of the good images made the bundle what it is: no test of it.
    Known,
    /// The whole interval lies beyond the bound.
    Contradicted,
    NoGoodImages,
    /// The product has a threshold of its own, of which the calibration says nothing.
    OtherThreshold,
}

/// The good images of a test as they were judged.
#[derive(Clone, Copy, Debug)]
pub struct Good {
    /// Images judged not OK.
    pub overkill: Rate,
    /// None where each image is taken for a part.
    pub by_part: Option<ByPart>,
    /// How many of them the bundle knows.
    pub known: usize,
}

impl Promise {
    /// What `calibration` promises, held against the good images of a test; `holds` unless they were judged by another
    /// threshold or in another ROI.
    ///
    /// What is broken is broken even with images that the bundle knows: these score too low if anything.
    pub fn new(calibration: &Calibration, holds: bool, good: Good) -> Self {
        let Good { overkill, by_part, known } = good;
        let overkill_max = calibration.attained_overkill_bound;
        let calibrated = per_part(calibration.n_images(), calibration.n);
        let (parts, each) = by_part.map_or((overkill, 1.0), |by| (by.overkill, by.images_per_part));
        let leeway = if by_part.is_some() { SAME_NUMBER } else { 0.0 };
        let fewer = each < calibrated * (1.0 - leeway);
        let more = each > calibrated * (1.0 + leeway);
        let answer = match parts.limits {
            _ if !holds => Answer::OtherThreshold,
            None => Answer::NoGoodImages,
            Some(Limits { low, .. }) if low > overkill_max => {
                if more {
                    Answer::OtherUnit
                } else {
                    Answer::Contradicted
                }
            }
            Some(_) if known > 0 => Answer::Known,
            Some(_) if fewer => Answer::OtherUnit,
            Some(Limits { high, .. }) if high <= overkill_max => Answer::Confirmed,
            Some(_) => Answer::Consistent,
        };
        Self {
            overkill_max,
            confidence: calibration.confidence,
            parts: calibration.n,
            images: calibration.n_images(),
            obtained: calibration.obtained,
            target_overkill: calibration.target_overkill,
            known,
            by_part,
            guarantee: calibration.guarantee,
            answer,
        }
    }

    /// Images of a part of the calibration on average.
    pub fn calibrated_images_per_part(&self) -> f64 {
        per_part(self.images, self.parts)
    }
}

impl ByPart {
    /// Of good images in `groups`, of which each was judged not OK or was not. None if there are none.
    pub fn new(groups: &Groups, is_not_ok: &[bool]) -> Option<Self> {
        let all: Vec<usize> = (0..is_not_ok.len()).collect();
        let parts = groups.divide(&all);
        let rejected = parts.iter().filter(|part| part.iter().any(|&image| is_not_ok[image])).count();
        (!parts.is_empty()).then(|| Self {
            overkill: Rate::new(rejected, parts.len()),
            images_per_part: per_part(is_not_ok.len(), parts.len()),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of images")]
fn per_part(images: usize, parts: usize) -> f64 {
    images as f64 / parts as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::samples::calibration;

    /// Calibrated with parts of one image each, and a bound of 5 %.
    fn calibrated() -> Calibration {
        Calibration { attained_overkill_bound: 0.05, ..calibration() }
    }

    fn images(count: usize, of: usize, known: usize) -> Good {
        Good { overkill: Rate::new(count, of), by_part: None, known }
    }

    /// Parts of two images each.
    fn pairs(count: usize, of: usize) -> Good {
        let by_part = ByPart { overkill: Rate::new(count, of), images_per_part: 2.0 };
        Good { overkill: Rate::new(count, 2 * of), by_part: Some(by_part), known: 0 }
    }

    #[test]
    fn a_promise_is_confirmed_or_broken_only_where_the_images_can_tell() {
        let calibration = calibrated();
        let answer = |count, of| Promise::new(&calibration, true, images(count, of, 0)).answer;
        assert_eq!(answer(0, 0), Answer::NoGoodImages);
        assert_eq!(answer(0, 20), Answer::Consistent);
        assert_eq!(answer(0, 100), Answer::Confirmed);
        assert_eq!(answer(5, 20), Answer::Contradicted);
        assert_eq!(answer(2, 20), Answer::Consistent);
        let other = Promise::new(&calibration, false, images(0, 100, 0));
        assert_eq!(other.answer, Answer::OtherThreshold);
    }

    #[test]
    fn images_that_the_bundle_knows_or_that_are_not_whole_parts_confirm_nothing() {
        let mut calibration = calibrated();
        let answer = |calibration: &_, good| Promise::new(calibration, true, good).answer;
        assert_eq!(answer(&calibration, images(0, 100, 1)), Answer::Known);
        assert_eq!(answer(&calibration, images(2, 20, 1)), Answer::Known);
        assert_eq!(answer(&calibration, images(5, 20, 1)), Answer::Contradicted);
        calibration.parts[0].images.push("image-9".into());
        assert_eq!(answer(&calibration, images(0, 100, 0)), Answer::OtherUnit);
        assert_eq!(answer(&calibration, images(5, 20, 0)), Answer::Contradicted);
    }

    #[test]
    fn parts_are_held_against_parts_of_as_many_images() {
        let mut calibration = calibrated();
        let answer = |calibration: &_, good| Promise::new(calibration, true, good).answer;
        // Two images here, one there: a part is rejected more often here.
        assert_eq!(answer(&calibration, pairs(0, 100)), Answer::Confirmed);
        assert_eq!(answer(&calibration, pairs(5, 20)), Answer::OtherUnit);
        // Two and two.
        for part in &mut calibration.parts {
            part.images.push(format!("again {}", part.part));
        }
        assert_eq!(answer(&calibration, pairs(0, 100)), Answer::Confirmed);
        assert_eq!(answer(&calibration, pairs(5, 20)), Answer::Contradicted);
        // Two here, three there.
        for part in &mut calibration.parts {
            part.images.push(format!("and again {}", part.part));
        }
        assert_eq!(answer(&calibration, pairs(0, 100)), Answer::OtherUnit);
        assert_eq!(answer(&calibration, pairs(5, 20)), Answer::Contradicted);
    }

    #[test]
    fn a_part_is_rejected_with_any_of_its_images() {
        let groups = Groups::new(5, [(0, 1), (1, 2)]);
        let by_part = ByPart::new(&groups, &[false, true, true, false, false]).unwrap();
        assert_eq!((by_part.overkill.count, by_part.overkill.of), (1, 3));
        assert!((by_part.images_per_part - 5.0 / 3.0).abs() < 1e-12);
        assert_eq!(ByPart::new(&Groups::new(0, []), &[]), None);
    }
}
