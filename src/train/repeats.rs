//! Pictures that come more than once: copies, and parts of which there are several images.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::dataset::groups::{self, Groups};
use crate::dataset::likeness;
use crate::progress::say;
use crate::train::images::Looks;

/// Images that look alike are taken for one part only if no more than a quarter of all, or ten, would be one: parts of
/// some products look the same, and nothing could be held out.
const LARGEST_GROUP: usize = 4;
const ALWAYS_ALLOWED: usize = 10;

/// Groups good images by name, if there is a separator, by equal pixels, and by looks, and tells about the last two.
pub fn group(files: &[PathBuf], good: &Looks, separator: Option<&str>) -> Groups {
    let n = files.len();
    let same = groups::named_alike(&good.fingerprints);
    let mut alike = likeness::near_duplicates(&good.thumbnails);
    alike.retain(|&(one, other)| good.fingerprints[one] != good.fingerprints[other]);
    let mut certain = same.clone();
    if let Some(separator) = separator {
        let names: Vec<String> = files.iter().map(|file| groups::part_name(file, separator)).collect();
        certain.extend(groups::named_alike(&names));
    }
    let example = |&(one, other): &(usize, usize)| {
        format!("for example {} and {}", files[one].display(), files[other].display())
    };
    if let Some(pair) = same.first() {
        say(&format!("note: exact copies among the good images: {}, {}", same.len(), example(pair)));
    }
    let is_telling = Groups::new(n, alike.clone()).largest() <= ALWAYS_ALLOWED.max(n / LARGEST_GROUP);
    if let (Some(pair), true) = (alike.first(), is_telling) {
        say(&format!(
            "note: pairs of good images that look like one part: {}, {}",
            alike.len(),
            example(pair)
        ));
        certain.append(&mut alike);
    } else if !is_telling {
        say(
            "note: the good images are too much alike to tell by looks which show one part; if some do, let their file \
             names say so (--group-by)",
        );
    }
    let groups = Groups::new(n, certain);
    if groups.count() < n {
        say(&format!(
            "note: the {n} good images count as {} parts; images of one part stay on one side of every division",
            groups.count()
        ));
    }
    groups
}

/// Pairs with equal fingerprints.
pub fn copies(good: &[String], test: &[String]) -> Vec<(usize, usize)> {
    let positions: HashMap<&String, usize> = good.iter().enumerate().map(|(i, one)| (one, i)).collect();
    test.iter().enumerate().filter_map(|(i, one)| Some((*positions.get(one)?, i))).collect()
}

/// Tells which images to test with are known from training. Each pair is a good image and one to test with: copies,
/// and those that look like one part, copies among them.
pub fn tell_tests(copies: &[(&Path, &Path)], alike: &[(&Path, &Path)]) {
    if !copies.is_empty() {
        let shown = copies.iter().take(3);
        let names: Vec<String> =
            shown.map(|(good, test)| format!("{} is {}", test.display(), good.display())).collect();
        let more = copies.len() - names.len();
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        say(&format!(
            "warning: test images that are good images of this training too, and no test of it: {} ({}{more})",
            copies.len(),
            names.join(", ")
        ));
    }
    let tests: BTreeSet<&Path> = alike.iter().map(|pair| pair.1).collect();
    let copied: BTreeSet<&Path> = copies.iter().map(|pair| pair.1).collect();
    let only_alike = tests.difference(&copied).count();
    if let Some((good, test)) = alike.iter().find(|pair| !copied.contains(pair.1)) {
        say(&format!(
            "note: test images that look like parts of this training, whose scores therefore flatter: {only_alike}, for \
             example {} like {}",
            test.display(),
            good.display()
        ));
    }
}
