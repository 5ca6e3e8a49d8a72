//! A hint for whoever wrote a key that nobody reads.

/// What to say about a key that nobody reads. Its value is not shown: it may be a secret.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    if name == "password" {
        return "is not a key: passwords stand apart, use password_file or password_credential".into();
    }
    let nearest = known.iter().map(|key| (distance(name, key), key)).min();
    match nearest {
        Some((edits, key)) if edits <= key.len() / 2 => {
            format!("is not a key; did you mean \"{key}\"?")
        }
        _ => format!("is not a key; there are {}", known.join(", ")),
    }
}

/// Letters to add, drop or change to get from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_added_dropped_and_changed_letters() {
        for (a, b, edits) in
            [("port", "port", 0), ("prot", "port", 2), ("thread", "threads", 1), ("", "id", 2)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn a_key_far_from_all_others_gets_the_list() {
        assert_eq!(unknown("colour", &["id", "format"]), "is not a key; there are id, format");
        assert_eq!(unknown("fromat", &["id", "format"]), "is not a key; did you mean \"format\"?");
    }
}
