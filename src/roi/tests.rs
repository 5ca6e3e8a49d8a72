//! Shapes against areas known by hand.

use super::*;
use proptest::prelude::*;

const FRAME: Size = Size { width: 12, height: 8 };

fn roi(include: &[&[Point]], exclude: &[&[Point]]) -> Roi {
    let lists = |list: &[&[Point]]| list.iter().map(|polygon| polygon.to_vec()).collect();
    Roi::new(FRAME, &Shapes { include: lists(include), exclude: lists(exclude), mask: None }).unwrap()
}

fn rectangle(x: f64, y: f64, w: f64, h: f64) -> [Point; 4] {
    [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]
}

fn refused(shapes: &Shapes) -> Vec<String> {
    Roi::new(FRAME, shapes).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_rectangle_on_pixel_borders_has_its_pixels_and_no_more() {
    let roi = roi(&[&rectangle(2.0, 1.0, 3.0, 4.0)], &[]);
    for (i, &counts) in roi.pixels.iter().enumerate() {
        assert_eq!(counts, (2..5).contains(&(i % 12)) && (1..5).contains(&(i / 12)), "pixel {i}");
    }
    assert_eq!(roi.share(), 12.0 / 96.0);
}

#[test]
fn polygons_with_a_common_edge_share_no_pixel_and_leave_none() {
    let (a, b) = ([[0.0, 0.0], [12.0, 0.0], [0.0, 8.0]], [[12.0, 0.0], [12.0, 8.0], [0.0, 8.0]]);
    let both = roi(&[&a, &b], &[]);
    assert!(both.pixels.iter().all(|&counts| counts));
    let (a, b) = (roi(&[&a], &[]), roi(&[&b], &[]));
    assert!(a.pixels.iter().zip(&b.pixels).all(|(a, b)| a != b));
}

#[test]
fn what_is_excluded_does_not_count_and_overlaps_count_once() {
    let ring = roi(
        &[&rectangle(0.0, 0.0, 12.0, 8.0), &rectangle(3.0, 2.0, 6.0, 4.0)],
        &[&rectangle(4.0, 3.0, 4.0, 2.0)],
    );
    assert_eq!(ring.share(), (96.0 - 8.0) / 96.0);
    let hole = roi(&[], &[&rectangle(0.0, 0.0, 6.0, 8.0)]);
    assert_eq!(hole.share(), 0.5);
}

#[test]
fn a_polygon_that_crosses_itself_follows_the_even_odd_rule() {
    // Two triangles that touch at the centre.
    let bow_tie = roi(&[&[[0.0, 0.0], [12.0, 8.0], [12.0, 0.0], [0.0, 8.0]]], &[]);
    assert!(bow_tie.pixels[4 * 12] && bow_tie.pixels[4 * 12 + 11]);
    assert!(!bow_tie.pixels[6] && !bow_tie.pixels[7 * 12 + 6]);
}

#[test]
fn cells_count_from_half_their_area_on() {
    // Cells of 4x4 pixels; the ROI covers half of the second column's.
    let half = roi(&[&rectangle(0.0, 0.0, 6.0, 8.0)], &[]);
    assert_eq!(half.coverage(3, 2), [1.0, 0.5, 0.0, 1.0, 0.5, 0.0]);
    assert_eq!(half.cells(3, 2), [true, true, false, true, true, false]);
    let less = roi(&[&rectangle(0.0, 0.0, 5.0, 8.0)], &[]);
    assert_eq!(less.cells(3, 2), [true, false, false, true, false, false]);
}

#[test]
fn cells_that_cut_through_pixels_take_their_parts() {
    let left = roi(&[&rectangle(0.0, 0.0, 6.0, 8.0)], &[]);
    // Cells of 2.4 pixels: the third is 1.2 pixels inside.
    let shares = left.coverage(5, 1);
    for (share, expected) in shares.iter().zip([1.0, 1.0, 0.5, 0.0, 0.0]) {
        assert!((share - expected).abs() < 1e-12, "{shares:?}");
    }
    // More cells than pixels.
    let fine = left.coverage(48, 32);
    assert_eq!(fine.iter().filter(|&&share| share > 0.99).count(), 24 * 32);
}

#[test]
fn a_mask_is_cut_by_the_polygons() {
    let mask: Vec<bool> = (0..96).map(|i| i % 12 < 6).collect();
    let shapes = Shapes {
        include: vec![rectangle(4.0, 0.0, 8.0, 8.0).to_vec()],
        exclude: vec![],
        mask: Some(mask.clone()),
    };
    let both = Roi::new(FRAME, &shapes).unwrap();
    assert_eq!(both.share(), 2.0 / 12.0);
    let alone = Roi::new(FRAME, &Shapes { mask: Some(mask), ..Shapes::default() }).unwrap();
    assert_eq!(alone, roi(&[&rectangle(0.0, 0.0, 6.0, 8.0)], &[]), "the same pixels are the same ROI");
}

#[test]
fn another_pixel_or_another_frame_is_another_roi() {
    let one = roi(&[&rectangle(0.0, 0.0, 6.0, 8.0)], &[]);
    let other = roi(&[&rectangle(0.0, 0.0, 6.0, 7.0)], &[]);
    assert_ne!(one.sha256(), other.sha256());
    let turned = Roi::new(Size { width: 8, height: 12 }, &Shapes::default()).unwrap();
    assert_ne!(turned.sha256(), roi(&[], &[]).sha256());
}

#[test]
fn every_shape_that_cannot_be_meant_is_told_by_its_key() {
    let outside = vec![[0.0, 0.0], [12.5, 0.0], [4.0, -1.0]];
    let line = vec![[1.0, 1.0], [4.0, 4.0], [7.0, 7.0]];
    let unknown = vec![[f64::NAN, 1.0], [5.0, 0.0], [1.0, 4.0]];
    let shapes = Shapes { include: vec![vec![], outside], exclude: vec![line, unknown], mask: None };
    assert_eq!(
        refused(&shapes),
        [
            "include[0]: a polygon needs at least 3 points, it has 0",
            "include[1][1]: [12.5, 0] lies outside the frame of 12x8",
            "include[1][2]: [4, -1] lies outside the frame of 12x8",
            "exclude[0]: the polygon encloses no pixel",
            "exclude[1][0]: [NaN, 1] lies outside the frame of 12x8",
        ]
    );
    let nothing = Shapes { exclude: vec![rectangle(0.0, 0.0, 12.0, 8.0).to_vec()], ..Shapes::default() };
    assert_eq!(refused(&nothing), [": no pixel of the frame is left to inspect"]);
}

proptest! {
    #[test]
    fn the_cells_of_any_grid_add_up_to_the_area(
        points in prop::collection::vec([0.0..=12.0_f64, 0.0..=8.0_f64], 3..9),
        columns in 1_usize..30,
        rows in 1_usize..30,
    ) {
        let Ok(roi) = Roi::new(FRAME, &Shapes { include: vec![points], ..Shapes::default() }) else { return Ok(()) };
        let mean = roi.coverage(columns, rows).iter().sum::<f64>() / number(columns * rows);
        prop_assert!((mean - roi.share()).abs() < 1e-9, "{mean} is not {}", roi.share());
    }
}
