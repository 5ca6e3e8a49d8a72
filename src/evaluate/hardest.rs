//! The images that were hardest to judge: the only ones whose maps are kept, to be shown.

use std::collections::BTreeMap;

use crate::dataset::Labelled;

/// So many are kept of the good images and of each class of defects.
const EACH: usize = 4;

/// Good images by falling score, those of each defect class by rising score: the least safely judged first.
#[derive(Debug, Default)]
pub(super) struct Hardest {
    /// Score and index of those kept, for good images and for each class of defects.
    kept: BTreeMap<(bool, String), Vec<(f64, usize)>>,
}

impl Hardest {
    /// Takes in image `index`, and says which image need not be kept, if one need not: this one or one before it.
    /// Images without a finite score have nothing to show.
    pub(super) fn add(&mut self, index: usize, label: &Labelled, score: f64) -> Option<usize> {
        if !score.is_finite() {
            return Some(index);
        }
        let class = if label.is_good { String::new() } else { label.class.clone() };
        let kept = self.kept.entry((label.is_good, class)).or_default();
        let is_harder = |other: f64| if label.is_good { score > other } else { score < other };
        let place = kept.partition_point(|&(other, _)| !is_harder(other));
        kept.insert(place, (score, index));
        if kept.len() > EACH { kept.pop().map(|(_, index)| index) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The indices that are left after these scores.
    fn left(is_good: bool, scores: &[f64]) -> Vec<usize> {
        let label = Labelled { path: "a.png".into(), class: "pit".into(), is_good, mask: None };
        let mut hardest = Hardest::default();
        let mut left = Vec::new();
        for (index, &score) in scores.iter().enumerate() {
            left.push(index);
            let dropped = hardest.add(index, &label, score);
            left.retain(|&one| Some(one) != dropped);
        }
        left
    }

    #[test]
    fn good_images_are_hard_when_they_score_high_and_defective_ones_when_they_score_low() {
        let scores = [3.0, f64::INFINITY, 1.0, 9.0, 4.0, 2.0, f64::NAN, 8.0];
        assert_eq!(left(true, &scores), [0, 3, 4, 7]);
        assert_eq!(left(false, &scores), [0, 2, 4, 5]);
        assert_eq!(left(true, &[5.0; 9]), [0, 1, 2, 3]);
    }

    #[test]
    fn each_class_of_defects_has_its_own_and_good_images_have_theirs() {
        let mut hardest = Hardest::default();
        for (class, is_good) in [("pit", false), ("crack", false), ("good", true)] {
            let label = Labelled { path: "a.png".into(), class: class.into(), is_good, mask: None };
            let dropped: Vec<_> = (0..5).map(|index| hardest.add(index, &label, 1.0)).collect();
            assert_eq!(dropped, [None, None, None, None, Some(4)], "{class}");
        }
    }
}
