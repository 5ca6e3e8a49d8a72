//! An error and what caused it, on one line.

use std::error::Error;
use std::iter::successors;

/// The texts of `error` and its causes, joined by colons. Some libraries repeat a cause in the text of what it
/// caused; it is said once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    successors(error.source(), |&cause| cause.source()).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn linked(texts: &[&'static str]) -> Option<Box<Link>> {
        let (&text, rest) = texts.split_first()?;
        Some(Box::new(Link { text, source: linked(rest) }))
    }

    #[test]
    fn each_cause_is_said_once() {
        for (texts, expected) in [
            (vec!["cannot open a.png"], "cannot open a.png"),
            (vec!["cannot open a.png", "damaged", "no end"], "cannot open a.png: damaged: no end"),
            (vec!["cannot open a.png", "damaged: no end", "no end"], "cannot open a.png: damaged: no end"),
        ] {
            assert_eq!(chain(&*linked(&texts).unwrap()), expected);
        }
    }
}
