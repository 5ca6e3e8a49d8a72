//! Which good images show one part, as far as names, equal pixels and looks tell.

use std::path::Path;

use crate::dataset::groups::{self, Groups};
use crate::dataset::likeness::{self, Thumbnail};

/// What was found, and what a person should be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub groups: Groups,
    /// Pairs of images that only look like one part.
    pub alike: usize,
    pub notes: Vec<String>,
}

/// Groups `files` by name, if there is a separator, by equal pixels, and by looks.
pub fn group(
    files: &[&Path],
    fingerprints: &[String],
    thumbnails: &[Thumbnail],
    separator: Option<&str>,
) -> Parts {
    let n = files.len();
    let mut notes = Vec::new();
    let example = |&(one, other): &(usize, usize)| {
        format!("for example {} and {}", files[one].display(), files[other].display())
    };
    let same = groups::named_alike(fingerprints);
    if let Some(pair) = same.first() {
        notes.push(format!("note: exact copies among the good images: {}, {}", same.len(), example(pair)));
    }
    let mut links = same;
    if let Some(separator) = separator {
        let names: Vec<String> = files.iter().map(|file| groups::part_name(file, separator)).collect();
        links.extend(groups::named_alike(&names));
    }
    let is_same = |one: usize, other: usize| fingerprints[one] == fingerprints[other];
    let alike = likeness::near_duplicates(thumbnails, &is_same);
    match &alike {
        None => notes.push(
            "note: the good images are too much alike to tell by looks which show one part; if some do, let their file \
             names say so (--group-by)"
                .into(),
        ),
        Some(alike) => {
            if let Some(pair) = alike.links.first() {
                notes.push(format!(
                    "note: pairs of good images that look like one part: {}, {}",
                    alike.pairs,
                    example(pair)
                ));
            }
            links.extend(&alike.links);
        }
    }
    Parts { groups: Groups::new(n, links), alike: alike.map_or(0, |alike| alike.pairs), notes }
}
