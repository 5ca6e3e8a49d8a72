//! Training for a product with an ROI, and judging with what comes out.

use std::fs;
use std::path::Path;

use super::{TRAIN, backbone_weights, taken_apart};
use crate::cli::{assert_refused, draw, run};

const PRODUCT: &str = "bundle = \"part.csflow\"\n[roi]\nwidth = 160\nheight = 160\n\
    include = [[[0, 0], [80, 0], [80, 160], [0, 160]]]\n";

#[test]
fn the_bundle_belongs_to_the_products_roi_and_scores_what_lies_in_it() {
    if backbone_weights().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    draw(&place.join("parts"), 30, 160);
    fs::write(place.join("part.toml"), PRODUCT).unwrap();
    let scoring = ["--product", "part.toml", "--score", "top:10%", "--fusion", "normalised"];
    let output = run(place, &[&TRAIN[..], &scoring].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (manifest, _) = taken_apart(&place.join("part.csflow"));
    let found = &manifest["scoring"];
    assert_eq!(found["score"]["top_k"]["share"], 0.1);
    assert_eq!(found["fusion"]["normalised"].as_array().unwrap().len(), 3);
    assert_eq!(found["roi_sha256"].as_str().unwrap().len(), 64);

    // What lies outside does not count, but the backbone sees across the border: the far edge is painted.
    let good = place.join("parts/test/good/000.png");
    let mut painted = image::open(&good).unwrap().into_rgb8();
    for (x, _, pixel) in painted.enumerate_pixels_mut() {
        if x > 150 {
            *pixel = image::Rgb([255, 0, 255]);
        }
    }
    painted.save(place.join("painted.png")).unwrap();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = run(place, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let inspect = ["inspect", "--bundle", "part.csflow", "--product", "part.toml", "--json", "painted.png"];
    let found = json(&inspect);
    for region in found["images"][0]["regions"].as_array().unwrap() {
        assert!(region["x"].as_f64().unwrap() + region["w"].as_f64().unwrap() <= 80.0, "{region}");
    }
    let evaluate =
        ["evaluate", "--bundle", "part.csflow", "--product", "part.toml", "--data", "parts", "--json"];
    assert!(json(&evaluate)["auroc"].is_number());

    a_station_runs_with_it(place);

    fs::create_dir_all(place.join("odd/test/good")).unwrap();
    image::RgbImage::new(90, 70).save(place.join("odd/test/good/0.png")).unwrap();
    let odd = ["evaluate", "--bundle", "part.csflow", "--product", "part.toml", "--data", "odd"];
    let expected = "odd/test/good/0.png: cannot be evaluated: the picture is 90x70, but the product's ROI is drawn on \
        160x160";
    assert_refused(place, &odd, 66, expected);

    let alone = ["inspect", "--bundle", "part.csflow", "painted.png"];
    assert_refused(place, &alone, 78, "give the product's file by --product");
    fs::write(place.join("other.toml"), PRODUCT.replace("[80, 160]", "[90, 160]")).unwrap();
    let other = ["evaluate", "--bundle", "part.csflow", "--product", "other.toml", "--data", "parts"];
    assert_refused(
        place,
        &other,
        78,
        "other.toml: roi: is not the one that the bundle's threshold was calibrated with",
    );
}

/// Two triggers of a station whose product is the one trained for, without a broker.
fn a_station_runs_with_it(place: &Path) {
    let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/files.launch");
    for folder in ["products", "pipelines", "state"] {
        fs::create_dir_all(place.join(folder)).unwrap();
    }
    fs::copy(pipeline, place.join("pipelines/files.launch")).unwrap();
    fs::copy(place.join("part.csflow"), place.join("products/part.csflow")).unwrap();
    fs::copy(place.join("part.toml"), place.join("products/part.toml")).unwrap();
    let settings = "[station]\nname = \"cell\"\nproduct = \"part\"\nstate_dir = \"state\"\n\
        [mqtt]\nport = 1\nprefix = \"plant\"\n[engine]\ndevice = \"cpu\"\nthreads = 1\n\
        [[camera]]\nid = \"top\"\npipeline = \"files.launch\"\n\
        [camera.source]\nkind = \"files\"\nfolder = \"parts/test/good\"\n";
    fs::write(place.join("csflowd.toml"), settings).unwrap();
    let output = run(place, &["run", "--config", "csflowd.toml", "--frames", "2"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("MODEL_READY"), "{told}");
}

#[test]
fn what_does_not_fit_is_told_before_anything_takes_long() {
    if backbone_weights().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    draw(&place.join("parts"), 8, 128);
    fs::write(place.join("part.toml"), PRODUCT).unwrap();
    let train = |more: &[&'static str]| [&TRAIN[..], more].concat();
    let expected = "000.png: is 128x128, but the product's ROI is drawn on 160x160";
    assert_refused(place, &train(&["--product", "part.toml"]), 66, expected);
    fs::write(place.join("tiny.toml"), PRODUCT.replace("80", "4")).unwrap();
    assert_refused(
        place,
        &train(&["--product", "tiny.toml"]),
        78,
        "the product's ROI leaves no cell to inspect",
    );
    let expected = "absent.toml: no such file or directory";
    assert_refused(place, &train(&["--product", "absent.toml"]), 78, expected);
    assert_refused(place, &train(&["--positions", "on"]), 66, "and 8 are needed at least");
    assert!(!place.join("part.csflow").exists());
}
