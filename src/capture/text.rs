//! Pipeline text with its parameters filled in.
//!
//! Pure. A `.launch` file is GStreamer text with `#` comment lines and parameters, `${name}` or
//! `${name:-default}`. GStreamer text is code: what comes from a parameter must stay a value.

use std::collections::{BTreeMap, BTreeSet};

/// A template and parameters that do not fit together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TextError {
    #[error("parameter \"{name}\" is not in the pipeline, which has {known}")]
    Unknown { name: String, known: String },
    #[error("parameter \"{name}\" has no default and must be given")]
    Missing { name: String },
    #[error("\"${{{name}\" lacks its closing brace")]
    Unclosed { name: String },
    #[error("\"${{{name}}}\" is not a parameter: a name is made of a-z, A-Z, 0-9 and _")]
    BadName { name: String },
    #[error("parameter \"{name}\" is empty")]
    EmptyValue { name: String },
    // The value may hold a camera's password, so it is not shown.
    #[error("parameter \"{name}\" has {character:?} in its value; allowed are letters, digits and {SAFE}")]
    BadValue { name: String, character: char },
}

/// Beside ASCII letters and digits. No blank, quote or backslash: with one of them a value could end early and
/// the rest of it be read as further elements. `!` and brackets have no business in a value either.
const SAFE: &str = "._-/:=@%+,~?&#";

/// `template` without its comment lines, on one line, each parameter replaced by its value.
pub fn fill(template: &str, parameters: &BTreeMap<String, String>) -> Result<String, TextError> {
    for (name, value) in parameters {
        check_value(name, value)?;
    }
    let lines = template.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.collect::<Vec<_>>().join(" ");

    let mut filled = String::with_capacity(line.len());
    let mut known = BTreeSet::new();
    let mut rest = line.as_str();
    while let Some((before, after)) = rest.split_once("${") {
        let unclosed = || TextError::Unclosed { name: after.chars().take(32).collect() };
        let (parameter, behind) = after.split_once('}').ok_or_else(unclosed)?;
        let (name, default) = match parameter.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (parameter, None),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            // A missing brace makes the next parameter's brace the end of this one.
            return Err(if parameter.contains("${") {
                unclosed()
            } else {
                TextError::BadName { name: parameter.into() }
            });
        }
        let given = parameters.get(name).map(String::as_str);
        let value = given.or(default).ok_or_else(|| TextError::Missing { name: name.into() })?;
        known.insert(name);
        filled.push_str(before);
        filled.push_str(value);
        rest = behind;
    }
    filled.push_str(rest);

    match parameters.keys().find(|name| !known.contains(name.as_str())) {
        Some(name) => Err(TextError::Unknown { name: name.clone(), known: list(&known) }),
        None => Ok(filled),
    }
}

fn check_value(name: &str, value: &str) -> Result<(), TextError> {
    // After `key=` with nothing behind it GStreamer takes the next word for the value.
    if value.is_empty() {
        return Err(TextError::EmptyValue { name: name.into() });
    }
    match value.chars().find(|&c| !c.is_ascii_alphanumeric() && !SAFE.contains(c)) {
        Some(character) => Err(TextError::BadValue { name: name.into(), character }),
        None => Ok(()),
    }
}

fn list(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return "no parameters".into();
    }
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, parameters: &[(&str, &str)], expected: Result<&str, &str>) {
        let parameters = parameters.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let filled = fill(template, &parameters).map_err(|error| error.to_string());
        assert_eq!(filled.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn comments_go_lines_join_and_parameters_are_replaced() {
        let template = "# A camera.\n  # ${ignored}\n\nsrc a=${a} b=${b:-7}\n  ! sink c=${a}/${c:-}\n";
        check(template, &[("a", "1")], Ok("src a=1 b=7 ! sink c=1/"));
        check(template, &[("a", "1"), ("b", "2"), ("c", "x")], Ok("src a=1 b=2 ! sink c=1/x"));
        check("costs $5 {a} $", &[], Ok("costs $5 {a} $"));
        check("${a:-caps=\"video/x-raw;image/jpeg\"}", &[], Ok("caps=\"video/x-raw;image/jpeg\""));
    }

    #[test]
    fn a_parameter_that_does_not_fit_is_named() {
        check("src a=${a}", &[], Err("parameter \"a\" has no default and must be given"));
        let unknown = Err("parameter \"hight\" is not in the pipeline, which has height, width");
        check("${width:-1} ${height:-1}", &[("hight", "2")], unknown);
        let none = Err("parameter \"a\" is not in the pipeline, which has no parameters");
        check("src", &[("a", "2")], none);
    }

    #[test]
    fn a_broken_parameter_in_the_text_is_named() {
        check("src a=${a ! sink", &[("a", "1")], Err("\"${a ! sink\" lacks its closing brace"));
        check("a=${a b=${b}", &[("a", "1")], Err("\"${a b=${b}\" lacks its closing brace"));
        check("a=${}", &[], Err("\"${}\" is not a parameter: a name is made of a-z, A-Z, 0-9 and _"));
        check("a=${a b}", &[], Err("\"${a b}\" is not a parameter: a name is made of a-z, A-Z, 0-9 and _"));
    }

    #[test]
    fn a_value_cannot_bring_pipeline_syntax() {
        for value in ["x ! filesink", "a b", "a\"", "a'", "a\\", "a!b", "a\tb", "(a)", "${b}", "ä", "a;b"] {
            let parameters = BTreeMap::from([("a".to_owned(), value.to_owned())]);
            let error = fill("src a=${a}", &parameters).unwrap_err();
            assert!(matches!(error, TextError::BadValue { .. }), "{value}: {error}");
        }
        let hidden = "parameter \"a\" has '!' in its value; allowed are letters, digits and ._-/:=@%+,~?&#";
        check("src a=${a}", &[("a", "rtsp://user:secret!@host")], Err(hidden));
        check("src a=${a} b=1", &[("a", "")], Err("parameter \"a\" is empty"));
        let url = "rtsp://user:p%40ss@10.0.0.7:554/live?channel=1&subtype=0#a";
        check("src location=${a}", &[("a", url)], Ok(&format!("src location={url}")));
    }
}
