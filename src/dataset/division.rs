//! How good images are divided by use, at random but never through a group, and the same for the same seed.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use crate::dataset::groups::Groups;

/// Share of the parts held out for calibration, and how many there are at least; never more than half.
///
/// Parts are taken and not images: the calibration counts parts, and takes them as drawn like production's, whatever
/// their number of images. Were they chosen to make up a number of images, the parts with many would seldom be among
/// them.
const HELD_OUT: f64 = 0.2;
const MIN_HELD_OUT: usize = 4;

/// Share of the other parts that picks the best epoch. Where these are fewer than this, one or two would decide by
/// chance what cannot be spared: then none is watched.
const WATCHED: f64 = 0.1;
const MIN_TO_WATCH: usize = 20;

/// Good images by their use, each list ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    pub trained_on: Vec<usize>,
    pub watched: Vec<usize>,
    pub held_out: Vec<usize>,
}

impl Division {
    /// Divides all images of `groups`. Those for which `is_seen` holds are trained on, never watched or held out, and
    /// so is the rest of their groups: an image that the network knows tells neither when to stop nor what new parts
    /// score. Of the unseen parts at least half are left to learn from.
    pub fn of(groups: &Groups, images: usize, is_seen: &dyn Fn(usize) -> bool, seed: u64) -> Self {
        let all: Vec<usize> = (0..images).collect();
        let (seen, unseen): (Vec<_>, Vec<_>) =
            groups.divide(&all).into_iter().partition(|group| group.iter().any(|&image| is_seen(image)));
        let wanted = share(groups.count(), HELD_OUT).max(MIN_HELD_OUT).min(unseen.len() / 2);
        let (held_out, rest) = take(unseen, wanted, seed);
        let (trained_on, watched) = watch(groups, &sorted(&rest), seed.wrapping_add(1));
        let trained_on = sorted(&[vec![trained_on], seen].concat());
        Self { trained_on, watched, held_out: sorted(&held_out) }
    }
}

/// Divides `images` into those to train on and those to watch.
pub fn watch(groups: &Groups, images: &[usize], seed: u64) -> (Vec<usize>, Vec<usize>) {
    let parts = groups.divide(images);
    if parts.len() < MIN_TO_WATCH {
        return (images.to_vec(), Vec::new());
    }
    let wanted = share(parts.len(), WATCHED);
    let (watched, rest) = take(parts, wanted, seed);
    (sorted(&rest), sorted(&watched))
}

/// Divides all images into `k` parts of nearly the same size; fewer if there are not so many groups.
pub fn folds(groups: &Groups, images: usize, k: usize, seed: u64) -> Vec<Vec<usize>> {
    let all: Vec<usize> = (0..images).collect();
    let mut members = shuffled(groups.divide(&all), seed);
    // Large groups first, each into the fold that is smallest by then.
    members.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut folds = vec![Vec::new(); k.min(members.len())];
    for group in members {
        if let Some(smallest) = folds.iter_mut().min_by_key(|fold: &&mut Vec<usize>| fold.len()) {
            smallest.extend(group);
        }
    }
    folds.into_iter().map(|fold| sorted(&[fold])).collect()
}

/// `wanted` random groups, or all if there are fewer; and the others.
fn take(groups: Vec<Vec<usize>>, wanted: usize, seed: u64) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
    let mut taken = shuffled(groups, seed);
    let left = taken.split_off(wanted.min(taken.len()));
    (taken, left)
}

fn shuffled(mut groups: Vec<Vec<usize>>, seed: u64) -> Vec<Vec<usize>> {
    groups.shuffle(&mut Pcg64::seed_from_u64(seed));
    groups
}

fn sorted(groups: &[Vec<usize>]) -> Vec<usize> {
    let mut images = groups.concat();
    images.sort_unstable();
    images
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a number of parts"
)]
fn share(n: usize, share: f64) -> usize {
    (n as f64 * share).round() as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn alone(n: usize) -> Groups {
        Groups::new(n, [])
    }

    fn divide(n: usize) -> Division {
        Division::of(&alone(n), n, &|_| false, 7)
    }

    #[test]
    fn the_shares_are_kept_and_few_images_are_not_spent_on_watching() {
        for (n, expected) in [
            (8, [4, 0, 4]),
            (12, [8, 0, 4]),
            (24, [19, 0, 5]),
            (25, [18, 2, 5]),
            (100, [72, 8, 20]),
            (761, [548, 61, 152]),
        ] {
            let Division { trained_on, watched, held_out } = divide(n);
            assert_eq!([trained_on.len(), watched.len(), held_out.len()], expected, "{n} images");
        }
        assert_eq!(divide(100), divide(100));
        assert_ne!(divide(100), Division::of(&alone(100), 100, &|_| false, 8));
    }

    #[test]
    fn images_that_were_seen_before_are_not_held_out_nor_is_their_group() {
        let groups = Groups::new(40, [(0, 39)]);
        let division = Division::of(&groups, 40, &|image| image < 30, 3);
        assert!(division.held_out.iter().all(|image| (30..39).contains(image)), "{division:?}");
        // Half of the nine that are left.
        assert_eq!(division.held_out.len(), 4);
        let all_seen = Division::of(&groups, 40, &|_| true, 3);
        assert!(all_seen.held_out.is_empty());
    }

    #[test]
    fn of_images_that_join_old_ones_half_are_learnt_from_and_none_of_the_old_are_watched() {
        // 500 old images, then new ones.
        for (new, expected) in [(24, [512, 0, 12]), (100, [545, 5, 50]), (1000, [1130, 70, 300])] {
            let Division { trained_on, watched, held_out } =
                Division::of(&alone(500 + new), 500 + new, &|image| image < 500, 3);
            assert_eq!([trained_on.len(), watched.len(), held_out.len()], expected, "{new} new images");
            assert!(watched.iter().chain(&held_out).all(|&image| image >= 500));
        }
    }

    #[test]
    fn one_large_group_is_not_divided() {
        let one = Groups::new(10, (1..10).map(|image| (0, image)));
        assert!(Division::of(&one, 10, &|_| false, 1).held_out.is_empty());
        assert_eq!(folds(&one, 10, 5, 1).len(), 1);
    }

    #[test]
    fn a_fifth_of_the_parts_is_held_out_and_large_ones_as_often_as_others() {
        // 100 parts, the first of 101 images, the others of one each.
        let groups = Groups::new(200, (1..=100).map(|image| (0, image)));
        let parts = |images: &[usize]| groups.divide(images).len();
        let mut large = 0;
        for seed in 0..200 {
            let Division { trained_on, watched, held_out } = Division::of(&groups, 200, &|_| false, seed);
            assert_eq!([&trained_on, &watched, &held_out].map(|images| parts(images)), [72, 8, 20]);
            large += usize::from(held_out.contains(&0));
        }
        // 40 of 200 are expected, give or take 5.7.
        assert!((20..=60).contains(&large), "{large}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_group_stands_on_two_sides(
            n in 8_usize..80,
            pairs in prop::collection::vec((0_usize..80, 0_usize..80), 0..40),
            k in 2_usize..7,
            seed: u64,
        ) {
            let groups = Groups::new(n, pairs.into_iter().map(|(a, b)| (a % n, b % n)));
            let Division { trained_on, watched, held_out } = Division::of(&groups, n, &|_| false, seed);
            for parts in [vec![trained_on, watched, held_out], folds(&groups, n, k, seed)] {
                let mut all = parts.concat();
                all.sort_unstable();
                prop_assert!(all.into_iter().eq(0..n));
                let groups_of = |part: &Vec<usize>| part.iter().map(|&i| groups.of(i)).collect::<HashSet<_>>();
                let of: Vec<HashSet<usize>> = parts.iter().map(groups_of).collect();
                prop_assert_eq!(of.iter().map(HashSet::len).sum::<usize>(), groups.count());
            }
        }
    }

    #[test]
    fn folds_are_nearly_of_one_size() {
        let sizes: Vec<usize> = folds(&alone(23), 23, 5, 4).iter().map(Vec::len).collect();
        assert_eq!(sizes, [5, 5, 5, 4, 4]);
        assert_eq!(folds(&alone(23), 23, 5, 4), folds(&alone(23), 23, 5, 4));
        assert_eq!(folds(&alone(3), 3, 5, 4).len(), 3);
    }
}
