//! Images that belong together, because they show one part.

use std::path::Path;

/// The part that a file's name names: what stands before the last `separator`, or all of it if there is none.
pub fn part_name(path: &Path, separator: &str) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.rsplit_once(separator).map_or(&*stem, |(part, _)| part).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
