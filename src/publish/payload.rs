//! What goes over the wire: one file for each kind of message, and `region` and `times` for parts of one.
//!
//! Every payload is ASCII JSON on one line: keys in a fixed order, no spaces between tokens, no null, numbers
//! that are finite. Encoding cannot fail; what would not fit is cut or left out by a written rule.

mod account;
pub mod command;
pub mod counters;
pub mod event;
pub mod heartbeat;
pub mod part;
pub mod region;
pub mod result;
#[cfg(test)]
mod samples;
pub mod status;
pub mod times;
pub mod totals;
pub mod verdict;

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, SystemTime};

use arrayvec::ArrayString;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Published as `v`. Goes up when a key changes its meaning or is taken away.
pub const VERSION: u8 = 1;

/// Strings are at most this long as they stand on the wire, escapes included.
pub const MAX_TEXT: usize = 64;

/// Sentences for people are at most this long on the wire.
const MAX_SENTENCE: usize = 256;

/// A number with all its digits and an exponent takes no more characters.
const NUMBER: usize = 32;

/// What every message of this run says about its origin.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub station: &'a str,
    /// The product in the configuration.
    pub product: &'a str,
    /// Names this run of the daemon.
    pub boot_id: &'a str,
    pub config_sha256: &'a str,
}

fn to_json(payload: &impl Serialize) -> Vec<u8> {
    to_json_of(256, payload)
}

/// One allocation if it takes no more than `expected` bytes.
fn to_json_of(expected: usize, payload: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(expected);
    payload
        .serialize(&mut Serializer::with_formatter(&mut bytes, Ascii))
        .expect("a payload has no maps with odd keys, and a Vec takes every write");
    bytes
}

/// Compact JSON in which everything outside ASCII is written `\uXXXX`.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| !is_plain(*c)) {
            writer.write_all(&text.as_bytes()[plain_from..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain_from = at + c.len_utf8();
        }
        writer.write_all(&text.as_bytes()[plain_from..])
    }
}

/// The serializer escapes quotes, backslashes and control characters below space by itself.
fn is_plain(c: char) -> bool {
    c.is_ascii() && c != '\u{7f}'
}

/// The longest beginning of `text` that takes at most `max` characters on the wire.
fn cut(text: &str, max: usize) -> &str {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            c if c.is_control() || !is_plain(c) => 6 * c.len_utf16(),
            _ => 1,
        };
        if taken > max {
            return &text[..at];
        }
    }
    text
}

fn text(text: &str) -> &str {
    cut(text, MAX_TEXT)
}

/// `value` to so many significant digits; None when it is not finite, so that the key is left out.
fn significant(value: f64, digits: usize) -> Option<f64> {
    let mut text = ArrayString::<NUMBER>::new();
    write!(text, "{value:.*e}", digits - 1).ok()?;
    let rounded = text.parse().ok()?;
    f64::is_finite(rounded).then_some(rounded)
}

/// A length or a duration to so many decimals. Within a thousand million; what is not a number becomes 0.
fn decimals(value: f64, places: i32) -> f64 {
    const LIMIT: f64 = 1e9;
    let scale = 10_f64.powi(places);
    let value = if value.is_nan() { 0.0 } else { value.clamp(-LIMIT, LIMIT) };
    (value * scale).round() / scale
}

fn milliseconds(duration: Duration, places: i32) -> f64 {
    decimals(duration.as_secs_f64() * 1000.0, places)
}

/// Whole seconds since 1970 and the milliseconds beyond them. Before 1970 is 0; the seconds stop at the
/// largest number of a PLC's 32 bits, in 2106.
fn unix_time(time: SystemTime) -> (u32, u16) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
    (seconds, u16::try_from(since.subsec_millis()).expect("less than 1000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_outside_ascii_is_escaped_and_comes_back_the_same() {
        let written = "Kühler „5“ \u{1f600}\u{7f}\u{1}\n\"\\";
        let bytes = to_json(&written);
        assert!(bytes.iter().all(|b| (b' '..=b'~').contains(b)), "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), written);
    }

    #[test]
    fn a_cut_text_fills_its_limit_on_the_wire_and_never_exceeds_it() {
        for (given, kept) in [
            ("plain", "plain"),
            ("äöü", "äö"),
            ("12345678\u{1f600}", "12345678"),
            ("\n\n\n\n\n\n\n", "\n\n\n\n\n\n"),
        ] {
            assert_eq!(cut(given, 12), kept);
            assert!(to_json(&cut(given, 12)).len() <= 12 + 2);
        }
    }

    #[test]
    fn numbers_keep_the_digits_asked_for_and_are_always_finite() {
        assert_eq!(significant(12.345_678_9, 6), Some(12.3457));
        assert_eq!(significant(-0.000_123_456_789, 6), Some(-0.000_123_457));
        assert_eq!(significant(f64::NAN, 6), None);
        assert_eq!(significant(f64::MAX, 3), None, "rounds up to infinity");
        assert_eq!(decimals(300.46, 1), 300.5);
        assert_eq!(decimals(f64::INFINITY, 1), 1e9);
        assert_eq!(decimals(f64::NAN, 1), 0.0);
    }
}
