//! Images that belong together, because they show one part: they must never stand on both sides of a division.

use std::collections::HashMap;
use std::path::Path;

/// Each image's group. Groups are numbered from 0 in the order of their first images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    of_image: Vec<usize>,
    count: usize,
}

/// Groups while pairs are still found.
#[derive(Debug)]
pub struct Growing {
    parent: Vec<usize>,
    /// Images of the group that each root leads.
    size: Vec<usize>,
}

impl Growing {
    pub fn new(n: usize) -> Self {
        Self { parent: (0..n).collect(), size: vec![1; n] }
    }

    /// Joins the groups of two images: the size of the new one, or none if they were one already.
    pub fn join(&mut self, one: usize, other: usize) -> Option<usize> {
        let (one, other) = (root(&mut self.parent, one), root(&mut self.parent, other));
        if one == other {
            return None;
        }
        // The first image leads its group.
        let (first, second) = (one.min(other), one.max(other));
        self.parent[second] = first;
        self.size[first] += self.size[second];
        Some(self.size[first])
    }
}

impl Groups {
    /// Groups of `n` images, of which those of each pair, and of each chain of pairs, belong together.
    pub fn new(n: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut growing = Growing::new(n);
        for (one, other) in pairs {
            growing.join(one, other);
        }
        let mut numbers = HashMap::new();
        let of_image: Vec<usize> = (0..n)
            .map(|image| {
                let next = numbers.len();
                *numbers.entry(root(&mut growing.parent, image)).or_insert(next)
            })
            .collect();
        Self { of_image, count: numbers.len() }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn of(&self, image: usize) -> usize {
        self.of_image[image]
    }

    /// Those of `images` that are in each group; no list is empty.
    pub fn divide(&self, images: &[usize]) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.count];
        for &image in images {
            members[self.of_image[image]].push(image);
        }
        members.retain(|group| !group.is_empty());
        members
    }

    /// Images in the largest group.
    pub fn largest(&self) -> usize {
        let all: Vec<usize> = (0..self.of_image.len()).collect();
        self.divide(&all).iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// Pairs that link images whose files name one part: `names` are those of [`part_name`].
pub fn named_alike(names: &[String]) -> Vec<(usize, usize)> {
    let mut first = HashMap::new();
    names
        .iter()
        .enumerate()
        .filter_map(|(i, name)| {
            let &mut first = first.entry(name).or_insert(i);
            (first != i).then_some((first, i))
        })
        .collect()
}

/// The part that a file's name names: what stands before the last `separator`, or all of it if there is none.
pub fn part_name(path: &Path, separator: &str) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.rsplit_once(separator).map_or(&*stem, |(part, _)| part).to_owned()
}

fn root(parent: &mut [usize], mut image: usize) -> usize {
    while parent[image] != image {
        parent[image] = parent[parent[image]];
        image = parent[image];
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_pairs_are_one_group_and_groups_are_numbered_in_order() {
        let groups = Groups::new(7, [(5, 2), (3, 5), (0, 6)]);
        let of: Vec<usize> = (0..7).map(|image| groups.of(image)).collect();
        assert_eq!(of, [0, 1, 2, 2, 3, 2, 0]);
        assert_eq!((groups.count(), groups.largest()), (4, 3));
        assert_eq!(groups.divide(&[6, 5, 1, 3]), [vec![6], vec![1], vec![5, 3]]);
        assert_eq!(Groups::new(0, []).largest(), 0);
        let mut growing = Growing::new(4);
        assert_eq!(
            [(2, 0), (3, 1), (0, 2), (3, 2)].map(|(a, b)| growing.join(a, b)),
            [Some(2), Some(2), None, Some(4)]
        );
    }

    #[test]
    fn a_file_names_its_part_before_the_last_separator() {
        for (file, separator, expected) in [
            ("a/part7_2.png", "_", "part7"),
            ("a_b_c.png", "_", "a_b"),
            ("a/whole.png", "_", "whole"),
            ("x--1.tar.png", "--", "x"),
            ("_1.png", "_", ""),
        ] {
            assert_eq!(part_name(Path::new(file), separator), expected, "{file}");
        }
        let names = ["a", "b", "a", "c", "a", "b"].map(str::to_owned);
        assert_eq!(named_alike(&names), [(0, 2), (0, 4), (1, 5)]);
    }
}
