//! `[roi]` of a product, as it is accepted and as it is refused.

use image::{GrayImage, Luma};
use insta::assert_snapshot;

use super::{CAMERA, Etc, MQTT, PRODUCT, STATION};

/// A station whose product has this ROI. Beside it lies a mask of 40x20 whose left half is white.
fn etc(roi: &str) -> Etc {
    let etc = Etc::new();
    etc.write("products/tile.toml", &format!("{PRODUCT}[roi]\n{roi}"));
    let mask = GrayImage::from_fn(40, 20, |x, _| Luma([if x < 20 { 200 } else { 90 }]));
    mask.save(etc.dir.path().join("products/mask.png")).unwrap();
    etc.write("products/text.png", "no picture");
    etc
}

fn refused(roi: &str) -> String {
    etc(roi).refused()
}

#[test]
fn polygons_and_mask_that_leave_the_same_pixels_are_the_same_roi() {
    let of = |roi: &str| etc(roi).load().unwrap().product.roi.unwrap();
    let drawn = of("width = 40\nheight = 20\ninclude = [[[0, 0], [20, 0], [20.0, 20], [0, 20]]]\n");
    assert_eq!((drawn.size().to_string().as_str(), drawn.share()), ("40x20", 0.5));
    assert_eq!(of("mask = \"mask.png\"\n"), drawn);
    assert_eq!(of("width = 40\nheight = 20\nexclude = [[[20, 0], [40, 0], [40, 20], [20, 20]]]\n"), drawn);
    let part = of("mask = \"mask.png\"\nexclude = [[[0, 0], [10, 0], [10, 20], [0, 20]]]\n");
    assert_eq!(part.share(), 0.25);
    assert_ne!(part.sha256(), drawn.sha256());
}

#[test]
fn another_mask_in_the_same_file_makes_other_settings() {
    let etc = etc("mask = \"mask.png\"\n");
    let before = etc.load().unwrap();
    GrayImage::from_pixel(40, 20, Luma([255])).save(etc.dir.path().join("products/mask.png")).unwrap();
    let after = etc.load().unwrap();
    assert_ne!(before.sha256, after.sha256);
    assert_ne!(before.product, after.product);
}

#[test]
fn an_roi_outside_the_frame_or_without_area_is_told_with_its_key() {
    let roi = "width = 100\nheight = 50\ninclude = [[[0, 0], [101, 0], [50, 50]], [[1, 1], [9, 9]]]\n\
        exclude = [[[0, 0], [50, 0], [99, 0]], [[1, nan], [2, 2], [3, -1]]]\n";
    assert_snapshot!(refused(roi), @"
    ETC/products/tile.toml: roi.include[0][1]: [101, 0] lies outside the frame of 100x50
    ETC/products/tile.toml: roi.include[1]: a polygon needs at least 3 points, it has 2
    ETC/products/tile.toml: roi.exclude[0]: the polygon encloses no pixel
    ETC/products/tile.toml: roi.exclude[1][0]: [1, NaN] lies outside the frame of 100x50
    ETC/products/tile.toml: roi.exclude[1][2]: [3, -1] lies outside the frame of 100x50
    ");
    assert_snapshot!(refused("mask = \"mask.png\"\ninclude = [[[30, 0], [40, 0], [40, 20]]]\n"), @"ETC/products/tile.toml: roi: no pixel of the frame is left to inspect");
}

#[test]
fn an_roi_of_a_wrong_shape_is_told_what_it_needs() {
    assert_snapshot!(refused("mask = \"mask.png\"\nexclude = []\n"), @"ETC/products/tile.toml: roi.exclude: is empty: add a polygon, or leave it out");
    assert_snapshot!(refused(""), @"ETC/products/tile.toml: roi: says nothing: give include, exclude or mask");
    assert_snapshot!(refused("include = [[[0, 0], [9, 0], [9, 9]]]\n"), @"ETC/products/tile.toml: roi.width: is missing: width and height of the frame that the polygons are drawn on");
    assert_snapshot!(refused("width = 40\nmask = \"mask.png\"\n"), @"ETC/products/tile.toml: roi.height: is missing: give width and height, or neither");
    assert_snapshot!(refused("width = 40\nheight = 20\npolygon = []\ninclude = [[[0, 0], [9], \"a\"], 5]\nexclude = 1\n"), @r#"
    ETC/products/tile.toml: roi.polygon: is not a key; there are width, height, include, exclude, mask
    ETC/products/tile.toml: roi.include[0][1]: must be 2 numbers, has 1
    ETC/products/tile.toml: roi.include[0][2]: must be 2 numbers in brackets, is "a"
    ETC/products/tile.toml: roi.include[1]: must be a list, is 5
    ETC/products/tile.toml: roi.exclude: must be a list, is 1
    "#);
    assert_snapshot!(refused("width = 0\nheight = 99999\ninclude = [[0, 0], [9, 0], [9, 9]]\n"), @"
    ETC/products/tile.toml: roi.width: must be 16 to 16384, is 0
    ETC/products/tile.toml: roi.height: must be 16 to 16384, is 99999
    ETC/products/tile.toml: roi.include[0][0]: must be 2 numbers in brackets, is 0
    ETC/products/tile.toml: roi.include[0][1]: must be 2 numbers in brackets, is 0
    ETC/products/tile.toml: roi.include[1][0]: must be 2 numbers in brackets, is 9
    ETC/products/tile.toml: roi.include[1][1]: must be 2 numbers in brackets, is 0
    ETC/products/tile.toml: roi.include[2][0]: must be 2 numbers in brackets, is 9
    ETC/products/tile.toml: roi.include[2][1]: must be 2 numbers in brackets, is 9
    ");
}

#[test]
fn a_mask_that_does_not_fit_is_named() {
    assert_snapshot!(refused("mask = \"absent.png\"\n"), @"ETC/products/tile.toml: roi.mask: ETC/products/absent.png: no such file or directory");
    assert_snapshot!(refused("mask = \"text.png\"\n"), @"ETC/products/tile.toml: roi.mask: image ETC/products/text.png: is not a PNG, JPEG, BMP or TIFF file");
    assert_snapshot!(refused("mask = \"mask.png\"\nwidth = 40\nheight = 30\n"), @"ETC/products/tile.toml: roi.mask: ETC/products/mask.png is 40x20, but width and height say 40x30");
}

#[test]
fn a_camera_of_another_size_is_told_before_it_is_opened() {
    let etc = etc("mask = \"mask.png\"\n");
    let camera = format!("{CAMERA}width = 640\nheight = 480\n");
    etc.write("csflowd.toml", &[STATION, MQTT, &camera].concat());
    assert_snapshot!(etc.refused(), @"ETC/products/tile.toml: roi: is drawn on frames of 40x20, but camera top gives 640x480");
}
