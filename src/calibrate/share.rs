//! Shares of a whole, as people write and read them.

use std::fmt;
use std::str::FromStr;

/// A share above 0 and below 1. Written `0.5%`, `0.005` or `5000ppm`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" must be a share above 0 and below 1, such as 0.5% or 0.005 or 5000ppm")]
pub struct BadShare {
    given: String,
}

/// Prints a share in percent with three significant digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

/// Prints an upper bound in percent with three significant digits, rounded up: it may not read lower than it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound(pub f64);

impl Share {
    /// None unless `value` lies between 0 and 1, both excluded.
    pub fn new(value: f64) -> Option<Self> {
        (value > 0.0 && value < 1.0).then_some(Self(value))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Self, BadShare> {
        let (number, unit) = if let Some(number) = text.strip_suffix('%') {
            (number, 100.0)
        } else if let Some(number) = text.strip_suffix("ppm") {
            (number, 1e6)
        } else {
            (text, 1.0)
        };
        let value = number.trim().parse::<f64>().ok().and_then(|value| Self::new(value / unit));
        value.ok_or_else(|| BadShare { given: text.into() })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.0;
        let decimals = match percent.abs() {
            0.0 => 0,
            p if p >= 99.95 => 0,
            p if p >= 9.995 => 1,
            p if p >= 0.9995 => 2,
            p if p >= 0.09995 => 3,
            p if p >= 0.009_995 => 4,
            _ => 6,
        };
        let text = format!("{percent:.decimals$}");
        let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        write!(f, "{short} %")
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !(self.0 > 0.0 && self.0 < 1.0) {
            return Percent(self.0).fmt(f);
        }
        let step = 10_f64.powf(self.0.log10().floor() - 2.0);
        // What is a whole number of steps but for the last bit is not rounded up.
        let steps = (self.0 / step - 1e-9).ceil();
        Percent((steps * step).min(1.0)).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_in_the_units_people_use() {
        for text in ["0.5%", "0.5 %", "0.005", "5e-3", "5000ppm"] {
            assert_eq!(text.parse::<Share>().unwrap().get(), 0.005, "{text}");
        }
        for text in ["", "0", "0%", "1", "100%", "-1%", "nan", "inf", "half"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_keep_three_digits() {
        let printed =
            [1.0, 0.95, 0.5, 0.0295, 0.029_513, 0.001, 0.000_998, 1e-5, 0.0].map(|s| Percent(s).to_string());
        assert_eq!(
            printed,
            ["100 %", "95 %", "50 %", "2.95 %", "2.95 %", "0.1 %", "0.0998 %", "0.001 %", "0 %"]
        );
    }

    #[test]
    fn a_bound_never_reads_lower_than_it_is() {
        let printed = [0.010_003, 0.01, 0.029_513, 0.000_998_1, 0.5271, 0.9999, 1.0, 0.0, 0.3]
            .map(|s| Bound(s).to_string());
        assert_eq!(
            printed,
            ["1.01 %", "1 %", "2.96 %", "0.0999 %", "52.8 %", "100 %", "100 %", "0 %", "30 %"]
        );
    }
}
