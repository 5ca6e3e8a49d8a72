//! A scripted detector on images whose truth is known.

use image::GrayImage;

use super::samples::{Scripted, Stopped, calibration, evaluate, part, record, rules};
use super::*;
use crate::calibrate::Guarantee;
use crate::calibrate::evidence::Obtained;
use crate::calibrate::rate::Rate;
use crate::evaluate::compare::Comparison;
use crate::evaluate::delong::Interval;
use crate::evaluate::evaluation::Percentiles;
use crate::evaluate::promise::{Answer, ByPart, Good, Promise};
use crate::frame::Size;
use crate::roi::Shapes;

#[test]
fn every_image_is_counted_once_and_under_its_own_class() {
    let folder = tempfile::tempdir().unwrap();
    let images = [
        ("crack", 80),
        ("crack", 120),
        ("crack", 250),
        ("good", 10),
        ("good", 20),
        ("good", 95),
        ("good", 110),
        ("pit", 200),
    ]
    .map(|(class, grey)| part(folder.path(), class, grey));
    let mut told = Vec::new();
    let (found, judged) =
        run(&mut Scripted, rules(&calibration()), &images, &mut |done, of| told.push((done, of)), &Stopped)
            .unwrap();

    assert_eq!(told, (1..=8).map(|done| (done, 8)).collect::<Vec<_>>());
    assert_eq!((found.good, found.defective), (4, 4));
    assert_eq!((found.overkill.count, found.overkill.of), (1, 4));
    assert_eq!((found.escape.count, found.escape.of), (1, 4));
    assert_eq!((found.not_decidable, found.not_inspected), (1, 1));
    // Of the 16 pairs, only crack 80 scores below good 95 and 110.
    assert_eq!(found.auroc, Some(14.0 / 16.0));
    assert_eq!((found.fpr_at_tpr_100, found.fpr_at_tpr_95), (Some(0.5), Some(0.5)));
    let classes: Vec<_> = found.classes.iter().map(|c| (c.class.as_str(), c.images, c.auroc)).collect();
    assert_eq!(classes, [("crack", 3, Some(10.0 / 12.0)), ("good", 4, None), ("pit", 1, Some(1.0))]);
    let Interval { low, high } = found.classes[2].auroc_interval.unwrap();
    assert!((low - 0.025).abs() < 1e-9 && high == 1.0, "one image won its one pair: {low} to {high}");
    let wrong: Vec<_> = found.classes.iter().map(|c| (c.wrong.count, c.wrong.of)).collect();
    assert_eq!(wrong, [(1, 3), (1, 4), (0, 1)]);
    let evaluations: Vec<u8> = found.images.iter().map(|image| image.evaluation).collect();
    assert_eq!(evaluations, [1, 2, 0, 1, 1, 3, 2, 2]);
    assert_eq!(found.images[2].score, None);
    assert_eq!(judged.iter().map(|one| one.regions.total).collect::<Vec<_>>(), [0, 1, 1, 0, 0, 0, 1, 1]);
    let pixel = found.pixel.unwrap();
    assert!(pixel.images == 8 && pixel.auroc > 0.8 && pixel.auroc < 1.0, "{pixel:?}");
    let hits = found.defects.unwrap();
    assert_eq!((hits.all.count, hits.all.of), (3, 4));
    assert_eq!((found.false_regions.regions, found.false_regions.images.count), (1, 1));
}

#[test]
fn figures_that_the_images_cannot_give_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (found, _) = evaluate(&[part(folder.path(), "good", 10)]).unwrap();
    let json = serde_json::to_value(&found).unwrap();
    for key in ["auroc", "auroc_interval", "average_precision", "fpr_at_tpr_100", "pixel", "defects"] {
        assert!(json.get(key).is_none(), "{key}");
    }
    assert_eq!(json["overkill"]["count"], 0);
    assert_eq!(json["images"][0]["evaluation"], 1);
    assert!(!json.to_string().contains("null"));
    assert!(found.to_string().contains("  escape           none to count"));
    let (found, _) = evaluate(&[part(folder.path(), "pit", 10)]).unwrap();
    assert_eq!(found.promise.answer, Answer::NoGoodImages);
}

#[test]
fn a_bad_file_ends_the_evaluation_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let text = |part: Labelled| format!("{:#}", evaluate(&[part]).unwrap_err());

    let mut cut = part(folder.path(), "good", 1);
    std::fs::write(&cut.path, b"\x89PNG\r\n\x1a\n").unwrap();
    assert!(text(cut.clone()).contains("good_1.png: is cut short"), "{}", text(cut));
    cut = part(folder.path(), "good", 2);
    std::fs::remove_file(&cut.path).unwrap();
    assert!(text(cut).contains("good_2.png: there is no such file"));

    let wrong_mask = part(folder.path(), "pit", 3);
    GrayImage::new(3, 3).save(wrong_mask.mask.as_ref().unwrap()).unwrap();
    assert!(text(wrong_mask).contains("pit_3_mask.png: is 3x3, but its image is 8x4"));

    let failing = part(folder.path(), "pit", 251);
    assert!(text(failing).ends_with("pit_251.png: cannot be evaluated: network failed: out of memory"));
    assert!(evaluate(&[]).is_err());
}

#[test]
fn files_that_cannot_be_used_are_found_before_the_network_runs() {
    let folder = tempfile::tempdir().unwrap();
    let good = [part(folder.path(), "good", 1), part(folder.path(), "good", 2)];
    assert_eq!(check::images(&good).unwrap().notes, [check::Note::NoDefective]);
    let mut images = good.to_vec();
    images.extend([part(folder.path(), "pit", 3), part(folder.path(), "pit", 4)]);
    let looked = check::images(&images).unwrap();
    assert_eq!((looked.notes, looked.fingerprints.len()), (Vec::new(), 4));
    GrayImage::new(3, 3).save(images[2].mask.as_ref().unwrap()).unwrap();
    let text = || format!("{:#}", check::images(&images).unwrap_err());
    assert!(text().ends_with("pit_3_mask.png: is 3x3, but its image is 8x4"), "{}", text());
    std::fs::write(images[3].mask.as_ref().unwrap(), "white").unwrap();
    std::fs::write(&images[0].path, "grey").unwrap();
    assert!(text().starts_with("3 images cannot be used, first: image "), "{}", text());
    assert!(text().ends_with("good_1.png: is not a PNG, JPEG, BMP or TIFF file"), "{}", text());
}

#[test]
fn what_the_images_cannot_tell_is_said_before_the_network_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut images = [part(folder.path(), "crack", 1), part(folder.path(), "pit", 2)];
    images[0].mask = None;
    GrayImage::new(30, 40).save(&images[0].path).unwrap();
    let notes = check::images(&images).unwrap().notes;
    let texts: Vec<String> = notes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    there are no good images (test/good): no overkill, no AUROC and no false positive rate
    1 of 2 defective images have no mask: figures about pixels and the hit rate do without them
    classes crack, pit have one image: the figures for it say next to nothing
    the images have 2 sizes, from 8x4 to 30x40; each is stretched to the network's square
    ");
    images[1].mask = None;
    assert!(check::images(&images).unwrap().notes.contains(&check::Note::NoMasks));
}

#[test]
fn percentiles_are_times_that_were_measured() {
    let of = |times| summary::percentiles(times);
    assert_eq!(
        of((1..=200).rev().map(Duration::from_millis).collect()),
        Percentiles { p50: 100.0, p99: 198.0 }
    );
    assert_eq!(of(vec![Duration::from_millis(7)]), Percentiles { p50: 7.0, p99: 7.0 });
}

fn promise(calibration: &Calibration, known: usize, by_part: Option<ByPart>) -> Promise {
    Promise::new(calibration, true, Good { overkill: Rate::new(0, 9), by_part, known })
}

#[test]
fn a_promise_says_on_what_it_rests() {
    let mut calibration = calibration();
    let mut texts = vec![promise(&calibration, 0, None).to_string()];
    calibration.obtained = Obtained::Folds { k: 5 };
    texts.push(promise(&calibration, 9, None).to_string());
    calibration.guarantee = Guarantee::CrossConformal;
    calibration.parts[0].images.push("image-9".into());
    texts.push(promise(&calibration, 0, None).to_string());
    for (rejected, images_per_part) in [(0, 1.5), (0, 1.0), (3, 4.0)] {
        calibration.attained_overkill_bound = if rejected > 0 { 0.05 } else { 0.777 };
        let by_part = ByPart { overkill: Rate::new(rejected, 4), images_per_part };
        texts.push(promise(&calibration, 0, Some(by_part)).to_string());
    }
    insta::assert_snapshot!(texts.join("\n"), @r"
    at most 77.7 % with 95 % confidence, from 2 parts (the 1 % asked for is not guaranteed): confirmed by these images
    at most 77.7 % with 95 % confidence, from 2 parts in folds, if the network scores new parts as the folds' networks do (the 1 % asked for is not guaranteed): not tested, the network was trained on 9 of the good images or the threshold rests on them
    at most 77.7 % with 95 % confidence, from 2 parts of 3 images in folds, if the network scores new parts as the folds' networks do: these images agree, but parts are promised and images were counted: no confirmation
    at most 77.7 % with 95 % confidence, from 2 parts of 3 images in folds, if the network scores new parts as the folds' networks do: confirmed by these images
    at most 77.7 % with 95 % confidence, from 2 parts of 3 images in folds, if the network scores new parts as the folds' networks do: these parts agree, but have 1.0 images each and those of the calibration 1.5: no confirmation
    at most 5 % with 95 % confidence, from 2 parts of 3 images in folds, if the network scores new parts as the folds' networks do: these parts do not agree, but have 4.0 images each and those of the calibration 1.5: no contradiction
    ");
}

#[test]
fn only_the_maps_of_the_hardest_images_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let images: Vec<Labelled> = [("good", 10), ("good", 20), ("good", 30), ("good", 40), ("good", 50)]
        .into_iter()
        .chain([("pit", 200), ("pit", 201), ("pit", 202), ("pit", 203), ("pit", 204), ("pit", 250)])
        .map(|(class, grey)| part(folder.path(), class, grey))
        .collect();
    let (found, judged) = evaluate(&images).unwrap();
    let kept: Vec<usize> = (0..images.len()).filter(|&i| judged[i].map.is_some()).collect();
    assert_eq!(kept, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(found.pixel.unwrap().images, images.len(), "all are counted");
}

#[test]
fn images_that_the_roi_is_not_drawn_on_are_told_before_the_network_runs() {
    let images = ["a.png", "b.png", "c.png"].map(|name| Labelled {
        path: name.into(),
        class: "good".into(),
        is_good: true,
        mask: None,
    });
    let size = |width| Size { width, height: 4 };
    let roi = Roi::new(size(8), &Shapes::default()).unwrap();
    let text = |widths: [u32; 3]| {
        check::sizes(&images, &widths.map(size), &roi).err().map(|error| error.to_string())
    };
    assert_eq!(text([8, 8, 8]), None);
    let one = "image b.png: is 9x4, but the product's ROI is drawn on 8x4";
    assert_eq!(text([8, 9, 8]).unwrap(), one);
    assert_eq!(text([8, 9, 7]).unwrap(), format!("{one}; one other image has a wrong size too"));
    assert!(text([7, 9, 7]).unwrap().ends_with("; 2 other images have wrong sizes too"));
}

#[test]
fn the_table_reads_well() {
    let folder = tempfile::tempdir().unwrap();
    let images = [("crack", 80), ("crack", 120), ("good", 10), ("good", 110)]
        .map(|(class, grey)| part(folder.path(), class, grey));
    let (mut found, _) = evaluate(&images).unwrap();
    found.time_ms.total = Percentiles { p50: 12.34, p99: 56.0 };
    insta::assert_snapshot!(found.to_string(), @r"
    class       images   AUROC  95 % interval         OK  not OK  undecided  not inspected
    crack            2  0.7500  0.0126 to 1.0000      1       1          0              0
    good             2       -  -                     1       1          0              0

    image AUROC        0.7500 (95 %: 0.0126 to 1.0000)
    average precision  0.8333
    largest F1         0.8000
    FPR at 100 % TPR   50 %
    FPR at 99 % TPR    50 %
    FPR at 95 % TPR    50 %
    pixel AUROC        0.9062 +- 2.8e-2, over 4 images
    pixel precision    0.7354 on average
    pixel largest F1   0.8000
    AUPRO to FPR 0.3   0.6875
    one cell           4x2 px of the frame
    defects hit        1 of 2 = 50 % (95 %: 1.26 % to 98.7 %)
      below 0.25 cells none to count
      0.25 to 1 cells  none to count
      1 to 4 cells     1 of 2 = 50 % (95 %: 1.26 % to 98.7 %)
      4 cells and more none to count
    false regions      1, on good images 1 of 2 = 50 % (95 %: 1.26 % to 98.7 %)
    a region           map above 100.000000, at least 0 px
    at threshold       100.000000, guard band 10, 0 not decidable
      overkill         1 of 2 = 50 % (95 %: 1.26 % to 98.7 %)
      escape           1 of 2 = 50 % (95 %: 1.26 % to 98.7 %)
      promise          at most 77.7 % with 95 % confidence, from 2 parts (the 1 % asked for is not guaranteed): these images agree but are too few to confirm it
    time per image     p50 12.3 ms, p99 56.0 ms
      pre-processing   p50 0.0 ms, p99 0.0 ms
      network          p50 0.0 ms, p99 0.0 ms
      regions          p50 0.0 ms, p99 0.0 ms
    reading a file     p50 0.0 ms, p99 0.0 ms
    ");
}

#[test]
fn bundles_are_compared_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let images = [("crack", 80), ("crack", 120), ("good", 10), ("good", 95), ("good", 110)]
        .map(|(class, grey)| part(folder.path(), class, grey));
    let (first, _) = evaluate(&images).unwrap();
    let mut second = first.clone();
    // The crack that was missed is found.
    second.images[0].score = Some(115.0);
    second.auroc = Some(1.0);
    let records =
        [("a.csflow", first), ("b.csflow", second)].map(|(name, it)| record(folder.path(), name, it));
    let comparison = Comparison::new(records.to_vec()).unwrap();
    insta::assert_snapshot!(comparison.to_string(), @r"
    A  a.csflow (3f9a1c2e)
    B  b.csflow (3f9a1c2e)

                                        A                  B
    image AUROC                    0.6667             1.0000
      95 %               0.0126 to 1.0000   0.0126 to 1.0000
      less that of A                    -            +0.3333
      95 %                              -                  -
      p                                 -                  -
    average precision              0.7500             0.7500
    largest F1                     0.6667             0.6667
    FPR at 100 % TPR               66.7 %             66.7 %
    FPR at 99 % TPR                66.7 %             66.7 %
    FPR at 95 % TPR                66.7 %             66.7 %
    pixel AUROC                    0.8672             0.8672
    AUPRO to FPR 0.3               0.5573             0.5573
    defects hit                      50 %               50 %
    overkill                       33.3 %             33.3 %
      95 %                   0.84 to 90.6       0.84 to 90.6
    escape                           50 %               50 %
      95 %                   1.26 to 98.7       1.26 to 98.7
    not decidable                       1                  1
    not inspected                       0                  0
    time p50                       0.0 ms             0.0 ms
    time p99                       0.0 ms             0.0 ms
    ");
    let json = serde_json::to_value(&comparison).unwrap();
    assert!(!json.to_string().contains("null"));
    assert_eq!(json["differences"].as_array().unwrap().len(), 1);

    let (other, _) = evaluate(&images[1..]).unwrap();
    let [first, _] = records;
    assert_eq!(Comparison::new(vec![first, record(folder.path(), "c.csflow", other)]), None);
}
