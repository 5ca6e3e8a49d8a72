//! What is out of range and what is not, on drawn parts.

use super::*;
use crate::frame::{Picture, PixelFormat, Size};

const SIZE: Size = Size { width: 320, height: 240 };

/// A bright part with a coarse print on a dark ground, at `x`; each a little different.
fn part(number: u32, x: u32) -> Vec<u8> {
    let value = |i: u32| {
        let (px, py) = (i % SIZE.width, i / SIZE.width);
        let inside = px.wrapping_sub(x) < 120 && (60..180).contains(&py);
        let print = if (px.wrapping_sub(x) / 15 + py / 15).is_multiple_of(2) { 30 } else { 0 };
        let grain = (i.wrapping_mul(2_654_435_761) ^ number) >> 7 & 7;
        u8::try_from(if inside { 150 + print } else { 50 } + grain + number % 5).unwrap()
    };
    (0..SIZE.width * SIZE.height).map(value).collect()
}

fn look(pixels: &[u8]) -> Look {
    Look::at(Picture { size: SIZE, format: PixelFormat::Gray8, pixels })
}

fn usual() -> Usual {
    let looks: Vec<_> = (0..60).map(|number| look(&part(number, 98 + number % 5))).collect();
    Usual::of(&looks).unwrap()
}

fn oddity(pixels: &[u8]) -> Option<String> {
    Limits::new(Some(&usual()), Own::default()).oddity(&look(pixels)).map(|oddity| oddity.to_string())
}

fn changed(change: impl Fn(f64) -> f64) -> Vec<u8> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
    let grey = |&value: &u8| change(value.into()).clamp(0.0, 255.0) as u8;
    part(50, 100).iter().map(grey).collect()
}

#[test]
fn a_part_like_the_others_is_judged_and_so_is_one_with_a_defect() {
    usual().check().unwrap();
    assert_eq!(oddity(&part(50, 100)), None);
    assert_eq!(oddity(&part(51, 106)), None, "two per cent to the right");
    assert_eq!(oddity(&changed(|value| value * 1.08)), None);
    let mut scratched = part(52, 100);
    for i in 0..5000 {
        scratched[100 * 320 + 110 + i / 100 * 320 + i % 100] = if i % 2 == 0 { 0 } else { 255 };
    }
    assert_eq!(oddity(&scratched), None);
}

#[test]
fn what_the_network_knows_nothing_about_is_said_to_be_so() {
    let expect = |pixels: &[u8], words: &str| {
        let found = oddity(pixels).unwrap_or_else(|| panic!("nothing instead of {words}"));
        assert!(found.contains(words), "{found} instead of {words}");
    };
    expect(&vec![0; SIZE.pixels()], "too dark: mean brightness 0, at least");
    expect(&changed(|value| value * 0.6), "too dark");
    expect(&changed(|value| value * 1.5), "too bright");
    expect(&changed(|value| if value > 120.0 { 255.0 } else { 40.0 }), " % of it is white");
    expect(&changed(|value| if value < 52.0 { 0.0 } else { value * 1.1 }), " % of it is black");
    expect(&part(50, 140), "shifted by 12 % of a side, at most");
    let sharp = part(50, 100);
    let blurred: Vec<u8> = (0..sharp.len())
        .map(|i| {
            let around = (0..169).map(|k| u32::from(sharp[(i + k % 13 + k / 13 * 320) % sharp.len()]));
            u8::try_from(around.sum::<u32>() / 169).unwrap()
        })
        .collect();
    expect(&blurred, "out of focus");
}

#[test]
fn a_product_sets_limits_of_its_own_and_without_any_everything_is_judged() {
    let dark = look(&changed(|value| value * 0.6));
    let oddity = |usual: Option<&Usual>, own| Limits::new(usual, own).oddity(&dark);
    assert_eq!(oddity(None, Own::default()), None);
    let usual = usual();
    assert!(matches!(oddity(Some(&usual), Own::default()), Some(Oddity::TooDark { .. })));
    assert_eq!(oddity(Some(&usual), Own { check: false, ..Own::default() }), None);
    let own = Own { brightness_min: Some(1.0), sharpness_min: Some(0.0), ..Own::default() };
    assert_eq!(oddity(Some(&usual), own), None);
    assert!(oddity(None, Own { brightness_max: Some(10.0), ..own }).is_some());
    let odd = Usual { brightness: (90.0, f64::NAN), ..usual };
    assert!(odd.check().is_err());
}
