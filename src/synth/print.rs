//! What is printed on the part: a mark and a code, as an industrial ink jet puts them down, dot by dot.

use super::plane::{Point, coverage, upright_box};

/// Where the code stands, and how far apart its dots are.
const CODE: &str = "CF20-B 0417";
const CODE_CENTRE: Point = Point::new(0.0, 0.625);
const PITCH: f32 = 0.0135;
const COLUMNS_PER_LETTER: u8 = 6;
const ROWS: u8 = 7;

const MARK_CENTRE: Point = Point::new(0.0, -0.625);
const MARK_RADIUS: f32 = 0.098;

/// A piece of the print that may be missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Missing {
    /// Letters `first` to `last` of the code, counted from 0.
    Letters {
        first: u8,
        last: u8,
    },
    Mark,
}

/// Letters in the code.
pub fn letters() -> u8 {
    u8::try_from(CODE.len()).expect("the code is short")
}

/// How much ink lies at `p`, 0 to 1, when a pixel is `pixel` wide.
pub fn ink(p: Point, pixel: f32, missing: Option<Missing>) -> f32 {
    let mark = if missing == Some(Missing::Mark) { 0.0 } else { mark(p, pixel) };
    mark.max(code(p, pixel, missing))
}

/// A ring with three slanted bars in it.
fn mark(p: Point, pixel: f32) -> f32 {
    let p = p - MARK_CENTRE;
    let from_centre = p.length();
    if from_centre > MARK_RADIUS + pixel {
        return 0.0;
    }
    let ring = (from_centre - MARK_RADIUS + 0.011).abs() - 0.011;
    let slanted = Point::new(p.x + 0.45 * p.y, p.y);
    let bar = |x, half_height| upright_box(slanted, Point::new(x, 0.0), Point::new(0.0105, half_height));
    let bars = bar(-0.036, 0.034).min(bar(0.0, 0.05)).min(bar(0.036, 0.034));
    coverage(ring.min(bars), pixel)
}

fn code(p: Point, pixel: f32, missing: Option<Missing>) -> f32 {
    let columns = f32::from(letters()) * f32::from(COLUMNS_PER_LETTER) - 1.0;
    let p = p - CODE_CENTRE;
    // In dots: whole numbers are the centres.
    let x = p.x / PITCH + 0.5 * (columns - 1.0);
    let y = p.y / PITCH + 0.5 * (f32::from(ROWS) - 1.0);
    if x < -1.0 || y < -1.0 || x > columns || y > f32::from(ROWS) {
        return 0.0;
    }
    // A dot reaches into the cells beside its own.
    let (left, top) = (x.floor(), y.floor());
    let near = [(left, top), (left + 1.0, top), (left, top + 1.0), (left + 1.0, top + 1.0)];
    let distance = near
        .into_iter()
        .filter(|&(column, row)| is_dot(column, row, missing))
        .map(|(column, row)| (Point::new(column, row) - Point::new(x, y)).length() - 0.56)
        .fold(f32::INFINITY, f32::min);
    coverage(distance * PITCH, pixel)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers below 70")]
fn is_dot(column: f32, row: f32, missing: Option<Missing>) -> bool {
    if column < 0.0 || row < 0.0 || row >= f32::from(ROWS) {
        return false;
    }
    let (column, row) = (column as u8, row as u8);
    let letter = column / COLUMNS_PER_LETTER;
    let gone = matches!(missing, Some(Missing::Letters { first, last }) if (first..=last).contains(&letter));
    let Some(&character) = CODE.as_bytes().get(usize::from(letter)) else { return false };
    let bits = glyph(character)[usize::from(row)];
    let within = column % COLUMNS_PER_LETTER;
    !gone && within < 5 && bits >> (4 - within) & 1 == 1
}

/// Seven rows of five dots, the leftmost dot in the highest bit.
fn glyph(character: u8) -> [u8; 7] {
    match character {
        b'B' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110],
        b'C' => [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110],
        b'F' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000],
        b'0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        b'1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        b'2' => [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111],
        b'4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        b'7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        b'-' => [0b00000, 0b00000, 0b00000, 0b01110, 0b00000, 0b00000, 0b00000],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_of_the_code_has_a_shape() {
        for character in CODE.bytes().filter(|&character| character != b' ') {
            assert_ne!(glyph(character), [0; 7], "{}", char::from(character));
        }
    }

    #[test]
    fn missing_letters_take_their_ink_and_no_other() {
        let missing = Some(Missing::Letters { first: 0, last: 1 });
        for column in 0..60_u8 {
            for row in 0..ROWS {
                let (x, y) = (f32::from(column), f32::from(row));
                assert_eq!(is_dot(x, y, missing), column >= 12 && is_dot(x, y, None), "dot {column}, {row}");
            }
        }
    }
}
