//! Pictures to test with that are known from training.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::progress::say;

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
