//! What all charts share: scales, axes with ticks, and small interval plots for tables. Hand-drawn SVG in user units,
//! styled by the page.

use maud::{Markup, html};

/// From values to a place between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
}

/// A rectangle in the drawing that shows values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) x: Scale,
    pub(super) y: Scale,
}

impl Scale {
    pub(super) fn linear(low: f64, high: f64) -> Self {
        Self { low, high: if high > low { high } else { low + 1.0 }, is_log: false }
    }

    /// Logarithmic where the values are positive and span about a decade or more.
    pub(super) fn fitting(low: f64, high: f64) -> Self {
        if low > 0.0 && high / low > 8.0 { Self { low, high, is_log: true } } else { Self::linear(low, high) }
    }

    pub(super) fn is_log(self) -> bool {
        self.is_log
    }

    /// A value as something that is even along the axis.
    pub(super) fn even(self, value: f64) -> f64 {
        if self.is_log { value.ln() } else { value }
    }

    /// The value of an even one.
    pub(super) fn value(self, even: f64) -> f64 {
        if self.is_log { even.exp() } else { even }
    }

    pub(super) fn share(self, value: f64) -> f64 {
        (self.even(value) - self.even(self.low)) / (self.even(self.high) - self.even(self.low))
    }

    /// Round values within, about five or more.
    pub(super) fn ticks(self) -> Vec<f64> {
        if self.is_log {
            let decades = whole(self.low.log10().floor())..=whole(self.high.log10().ceil());
            let steps = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(decade)));
            let inside: Vec<f64> = steps.filter(|tick| (self.low..=self.high).contains(tick)).collect();
            // Over many decades, those alone.
            let is_decade = |tick: &f64| (tick.log10() - tick.log10().round()).abs() < 1e-9;
            return if inside.len() > 9 { inside.into_iter().filter(is_decade).collect() } else { inside };
        }
        let rough = (self.high - self.low) / 5.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(|&step| step >= rough);
        let step = step.unwrap_or(rough);
        let first = whole((self.low / step - 1e-9).ceil());
        let last = whole((self.high / step + 1e-9).floor());
        (first..=last).map(|i| f64::from(i) * step).collect()
    }
}

impl Plot {
    pub(super) fn at_x(&self, value: f64) -> f64 {
        self.left + self.width * self.x.share(value)
    }

    pub(super) fn at_y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - self.y.share(value))
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    pub(super) fn right(&self) -> f64 {
        self.left + self.width
    }

    /// The line below with its ticks and its name.
    pub(super) fn x_axis(&self, name: &str) -> Markup {
        let y = self.bottom();
        html! {
            line.axis x1=(px(self.left)) x2=(px(self.right())) y1=(px(y)) y2=(px(y)) {}
            @for tick in self.x.ticks() {
                line.axis x1=(px(self.at_x(tick))) x2=(px(self.at_x(tick))) y1=(px(y)) y2=(px(y + 5.0)) {}
                text x=(px(self.at_x(tick))) y=(px(y + 18.0)) text-anchor="middle" { (number(tick)) }
            }
            text x=(px(self.left + self.width / 2.0)) y=(px(y + 36.0)) text-anchor="middle" { (name) }
        }
    }

    /// The line to the left with its ticks and its name, and a faint line across at each tick.
    pub(super) fn y_axis(&self, name: &str) -> Markup {
        let (x, middle) = (self.left, self.top + self.height / 2.0);
        html! {
            @for tick in self.y.ticks() {
                line.grid x1=(px(x)) x2=(px(self.right())) y1=(px(self.at_y(tick))) y2=(px(self.at_y(tick))) {}
                text x=(px(x - 8.0)) y=(px(self.at_y(tick) + 4.0)) text-anchor="end" { (number(tick)) }
            }
            line.axis x1=(px(x)) x2=(px(x)) y1=(px(self.top)) y2=(px(self.bottom())) {}
            (upright(x - 44.0, middle, name))
        }
    }

    /// Straight lines through values. What lies outside is cut off by the clip path `clip`.
    pub(super) fn path(&self, points: &[(f64, f64)]) -> String {
        let corner = |(i, &(x, y)): (usize, &(f64, f64))| {
            let letter = if i == 0 { 'M' } else { 'L' };
            format!("{letter}{} {}", px(self.at_x(x)), px(self.at_y(y)))
        };
        points.iter().enumerate().map(corner).collect()
    }
}

/// A text that reads from bottom to top.
pub(super) fn upright(x: f64, y: f64, text: &str) -> Markup {
    html! {
        text transform={ "translate(" (px(x)) " " (px(y)) ") rotate(-90)" } text-anchor="middle" { (text) }
    }
}

/// A share and its limits on a line from 0 to 1, for a cell of a table that says the same in numbers.
pub(super) fn interval(value: Option<f64>, limits: (f64, f64)) -> Markup {
    let x = |value: f64| px(6.0 + 116.0 * value);
    html! {
        svg viewBox="0 0 128 14" aria-hidden="true" {
            line.grid x1="6" x2="122" y1="7" y2="7" {}
            @for end in [0.0, 1.0] { line.grid x1=(x(end)) x2=(x(end)) y1="2" y2="12" {} }
            line.threshold x1=(x(limits.0)) x2=(x(limits.1)) y1="7" y2="7" {}
            @if let Some(value) = value { circle.mark cx=(x(value)) cy="7" r="3.5" {} }
        }
    }
}

/// A coordinate with as many digits as can be seen.
pub(super) fn px(value: f64) -> String {
    trimmed(format!("{value:.2}"))
}

/// A tick, at most six digits behind the point and no zeros that say nothing.
pub(super) fn number(value: f64) -> String {
    if value != 0.0 && (value.abs() < 1e-4 || value.abs() >= 1e6) {
        return format!("{value:.0e}");
    }
    trimmed(format!("{value:.6}"))
}

fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".into() } else { short.into() }
}

#[expect(clippy::cast_possible_truncation, reason = "a number of ticks or decades")]
fn whole(value: f64) -> i32 {
    value as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let texts = |scale: Scale| scale.ticks().into_iter().map(number).collect::<Vec<_>>();
        assert_eq!(texts(Scale::linear(0.0, 1.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(texts(Scale::linear(0.9, 1.0)), ["0.9", "0.92", "0.94", "0.96", "0.98", "1"]);
        assert_eq!(texts(Scale::fitting(0.3, 42.0)), ["0.5", "1", "2", "5", "10", "20"]);
        assert_eq!(texts(Scale::fitting(1e-5, 1e4)).first().unwrap(), "1e-5");
        assert!(!Scale::fitting(-1.0, 100.0).is_log() && !Scale::fitting(1.0, 2.0).is_log());
    }

    #[test]
    fn a_scale_without_extent_still_has_places() {
        let scale = Scale::linear(3.0, 3.0);
        assert_eq!((scale.share(3.0), scale.ticks().is_empty()), (0.0, false));
    }
}
