//! Which pixels a polygon encloses: those whose centre it does, by the even-odd rule (Foley, van Dam, Feiner,
//! Hughes, "Computer Graphics", section 3.6), so that polygons with a common edge share no pixel and leave none.

use std::ops::Range;

use crate::frame::Size;
use crate::roi::Point;

/// Calls `fill` with the positions, in a frame of `size` row by row, of each run of pixels inside `polygon`.
pub(super) fn polygon(polygon: &[Point], size: Size, mut fill: impl FnMut(Range<usize>)) {
    let width = size.width as usize;
    let (top, bottom) =
        polygon.iter().fold((f64::MAX, f64::MIN), |(low, high), &[_, y]| (low.min(y), high.max(y)));
    for row in first_centre(top, size.height)..first_centre(bottom, size.height) {
        let crossings = crossings(polygon, f64::from(row) + 0.5);
        for pair in crossings.chunks_exact(2) {
            let span = first_centre(pair[0], size.width)..first_centre(pair[1], size.width);
            let line = row as usize * width;
            fill(line + span.start as usize..line + span.end as usize);
        }
    }
}

/// Whether it encloses the centre of a pixel.
pub(super) fn is_visible(points: &[Point], size: Size) -> bool {
    let mut is_visible = false;
    polygon(points, size, |span| is_visible |= !span.is_empty());
    is_visible
}

/// Where the horizontal line at `y` crosses the edges, from left to right. Always an even number: an edge has its
/// upper end and not its lower one.
fn crossings(polygon: &[Point], y: f64) -> Vec<f64> {
    let next = polygon.iter().cycle().skip(1);
    let mut crossings: Vec<f64> = polygon
        .iter()
        .zip(next)
        .filter(|([_, y1], [_, y2])| (*y1 <= y) != (*y2 <= y))
        .map(|([x1, y1], [x2, y2])| x1 + (y - y1) / (y2 - y1) * (x2 - x1))
        .collect();
    crossings.sort_by(f64::total_cmp);
    crossings
}

/// The first pixel whose centre lies at `position` or beyond; `end` if none does.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a side of a frame")]
fn first_centre(position: f64, end: u32) -> u32 {
    (position - 0.5).ceil().clamp(0.0, f64::from(end)) as u32
}
