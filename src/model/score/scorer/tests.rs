//! Each kind of score, with and without statistics and ROI.

use tch::Kind;

use super::*;
use crate::frame::Size;
use crate::model::score::area::Grids;
use crate::model::score::fit::Fit;
use crate::model::score::method::{FusionMethod, Method, PositionsMethod};
use crate::model::score::scoring::{Level, Positions};
use crate::model::score::tests::latent;
use crate::roi::{Roi, Shapes};

const KINDS: [ScoreKind; 4] =
    [ScoreKind::Mean, ScoreKind::TopK { share: 0.05 }, ScoreKind::Max, ScoreKind::Spread];
const STEPS: i64 = 8;

fn scorer(score: ScoreKind) -> Scorer {
    Scorer::new(Scoring { score, ..Scoring::plain() }, None, STEPS)
}

fn grids() -> Grids {
    Grids { cells: vec![[8, 8], [4, 4], [2, 2]], steps: STEPS }
}

/// An ROI of whole pixels in a frame of 64x64: one cell of the finest scale is 8x8.
fn area(x: f64, y: f64, w: f64, h: f64) -> Area {
    let polygon = vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h]];
    let shapes = Shapes { include: vec![polygon], ..Shapes::default() };
    let roi = Roi::new(Size { width: 64, height: 64 }, &shapes).unwrap();
    Area::new(&roi, &grids(), ScoreKind::Mean, Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn the_plain_scorer_gives_the_mean_and_the_mean_of_the_enlarged_maps_bit_for_bit() {
    let z = latent(1);
    let reading = Scorer::plain(STEPS).read(&z);
    assert_eq!(bits(&reading.scores), bits(&mean_score(&z)));
    let enlarged: Vec<Tensor> = cell_maps(&z)
        .iter()
        .map(|map| map.unsqueeze(1).upsample_bilinear2d([64, 64], false, None, None))
        .collect();
    let expected = Tensor::cat(&enlarged, 1).mean_dim([1].as_slice(), false, None);
    assert_eq!(bits(&reading.maps), bits(&expected));
}

#[test]
fn kinds_of_score_by_hand() {
    let cells = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0, 10.0]).view([1, 5]);
    let of = |kind| of_cells(kind, &cells).double_value(&[0]);
    assert_eq!(of(ScoreKind::Mean), 4.0);
    assert_eq!(of(ScoreKind::TopK { share: 0.4 }), 7.0);
    assert!((of(ScoreKind::TopK { share: 0.41 }) - 17.0 / 3.0).abs() < 1e-6);
    assert_eq!(of(ScoreKind::TopK { share: 1e-6 }), 10.0);
    assert_eq!(of(ScoreKind::TopK { share: 1.0 }), 4.0);
    assert_eq!(of(ScoreKind::Max), 10.0);
    // Variance (9 + 4 + 1 + 0 + 36) / 5.
    assert!((of(ScoreKind::Spread) - 10.0_f64.sqrt()).abs() < 1e-6);
}

#[test]
fn one_cell_moves_the_maximum_and_the_top_more_than_the_mean() {
    let before = latent(2);
    let mut after: Vec<Tensor> = before.iter().map(Tensor::copy).collect();
    drop(after[0].get(0).select(1, 3).select(1, 4).fill_(6.0));
    after[0] = after[0].copy();
    let growth = |kind| {
        let of = |z: &[Tensor]| scorer(kind).read(z).scores.double_value(&[0]);
        of(&after) / of(&before)
    };
    let [mean, top, max, spread] = KINDS.map(growth);
    assert!(mean > 1.0 && top > 1.5 * mean && max > top && spread > top, "{mean} {top} {max} {spread}");
}

#[test]
fn a_value_that_is_not_finite_leaves_no_score_of_any_kind() {
    for bad in [f64::NAN, f64::INFINITY] {
        let z = latent(3);
        drop(z[0].get(1).get(0).get(7).get(0).fill_(bad));
        for kind in KINDS {
            let scores = scorer(kind).read(&z).scores;
            assert!(scores.double_value(&[0]).is_finite(), "{kind}: the other picture");
            assert!(!scores.double_value(&[1]).is_finite(), "{kind} of {bad} is {scores:?}");
        }
    }
}

#[test]
fn what_lies_outside_the_roi_changes_no_bit() {
    // Columns 0 to 3 count, at every scale; the defect is in columns 4 to 7.
    let clean = latent(4);
    let planted: Vec<Tensor> = clean.iter().map(Tensor::copy).collect();
    for z in &planted {
        let half = z.size()[3] / 2;
        drop(z.narrow(3, half, half).fill_(f64::NAN));
    }
    for kind in KINDS {
        let mut scorer = scorer(kind);
        scorer.set_area(Some(area(0.0, 0.0, 32.0, 64.0)));
        let (a, b) = (scorer.read(&clean), scorer.read(&planted));
        assert_eq!(bits(&a.scores), bits(&b.scores), "{kind}");
        assert_eq!(bits(&a.maps), bits(&b.maps), "{kind}");
        assert_eq!(a.maps.narrow(2, 32, 32).abs().max().double_value(&[]), 0.0, "nothing is shown outside");
        assert!(a.maps.narrow(2, 0, 32).min().double_value(&[]) > 0.0);
        assert!(!scorer.read_whole(&planted).scores.double_value(&[0]).is_finite());
    }
}

#[test]
fn an_roi_of_everything_is_no_roi() {
    let z = latent(5);
    for kind in KINDS {
        let mut scorer = scorer(kind);
        let whole = scorer.read(&z);
        scorer.set_area(Some(area(0.0, 0.0, 64.0, 64.0)));
        let all = scorer.read(&z);
        assert!((&whole.scores / &all.scores - 1.0).abs().max().double_value(&[]) < 1e-6, "{kind}");
        assert!((&whole.maps / &all.maps - 1.0).abs().max().double_value(&[]) < 1e-5, "{kind}");
    }
}

#[test]
fn an_roi_by_hand_and_one_too_small_for_the_coarser_scales() {
    // One cell of the finest scale and a bit of others: at (2, 5).
    let z = latent(6);
    let mut scorer = scorer(ScoreKind::Mean);
    scorer.set_area(Some(area(40.0, 16.0, 11.0, 8.0)));
    let cell = z[0].select(2, 2).select(2, 5).square().mean_dim([1].as_slice(), false, None) * 0.5;
    assert_eq!(bits(&scorer.read(&z).scores), bits(&cell));
    let polygon = vec![[0.0, 0.0], [7.0, 0.0], [0.0, 7.0]];
    let shapes = Shapes { include: vec![polygon], ..Shapes::default() };
    let roi = Roi::new(Size { width: 64, height: 64 }, &shapes).unwrap();
    let error = Area::new(&roi, &grids(), ScoreKind::Mean, Device::Cpu).unwrap_err().to_string();
    assert!(
        error.starts_with("leaves no cell to inspect: the network's finest grid has 8x8 cells"),
        "{error}"
    );
}

#[test]
fn what_is_fitted_in_a_tiny_roi_serves_the_whole_picture_too() {
    let method = Method::new(ScoreKind::Max, FusionMethod::Normalised, PositionsMethod::On);
    let mut fit = Fit::new(method, STEPS);
    (0..8).for_each(|seed| fit.add(&latent(10 * seed)));
    let scorer = fit.finish(Some(&area(40.0, 16.0, 11.0, 8.0)), None).unwrap();
    let whole = scorer.read_whole(&latent(99)).scores;
    assert!(whole.abs().max().double_value(&[]) < 50.0, "{whole:?}");
}

#[test]
fn levels_by_hand_and_the_map_in_deviations_from_them() {
    let z = [Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 2.0]).view([1, 1, 2, 2])];
    let method =
        Method { score: ScoreKind::Max, fusion: FusionMethod::Normalised, positions: PositionsMethod::Off };
    let mut fit = Fit::new(method, STEPS);
    fit.add(&z);
    let scorer = fit.finish(None, None).unwrap();
    // Cells 1, 4, 9, 4: median 4, distances 0, 0, 3, 5.
    let Fusion::Normalised(levels) = &scorer.scoring.fusion else { panic!("{:?}", scorer.scoring) };
    let [Level { centre, spread }] = levels[..] else { panic!("{levels:?}") };
    assert_eq!(centre, 4.0);
    assert!((spread - 1.4826 * 1.5).abs() < 1e-6);
    let reading = scorer.read(&z);
    assert!((reading.scores.double_value(&[0]) - 5.0 / spread).abs() < 1e-6);
    assert_eq!(reading.maps.min().double_value(&[]), 0.0, "below what is usual there is nothing to see");
}

#[test]
fn a_louder_scale_does_not_drown_the_others_once_normalised() {
    // The second scale is a hundred times as loud; the defect is in the first.
    let good = |seed| {
        let mut z = latent(seed);
        z[1] = &z[1] * 10.0;
        z
    };
    let method =
        Method { score: ScoreKind::Max, fusion: FusionMethod::Normalised, positions: PositionsMethod::Off };
    let mut fit = Fit::new(method, STEPS);
    (0..8).for_each(|seed| fit.add(&good(10 * seed)));
    let normalised = fit.finish(None, None).unwrap();
    let defective = good(7);
    drop(defective[0].get(0).select(1, 3).select(1, 4).fill_(5.0));
    let excess = |scorer: &Scorer| {
        let scores = scorer.read(&defective).scores;
        scores.double_value(&[0]) / scores.double_value(&[1])
    };
    let (plain, normalised) = (excess(&scorer(ScoreKind::Max)), excess(&normalised));
    assert!(normalised > 2.0 && plain < 1.5, "{plain} {normalised}");
}

#[test]
fn positions_are_used_where_good_images_show_them_and_not_elsewhere() {
    let fit = |between: f64, images: u64| {
        let method =
            Method { score: ScoreKind::Max, fusion: FusionMethod::Mean, positions: PositionsMethod::Auto };
        let mut fit = Fit::new(method, STEPS);
        for seed in 0..images {
            let mut z = latent(10 * seed);
            // The left half is always louder.
            z[0] = Tensor::cat(&[z[0].narrow(3, 0, 4) * (1.0 + between), z[0].narrow(3, 4, 4)], 3);
            fit.add(&z);
        }
        fit.finish(None, None).unwrap()
    };
    let used = fit(2.0, 8);
    let Positions { used: is_used, images, gain } = used.scoring.positions;
    assert!(is_used && images == 16 && gain > Some(0.05), "{:?}", used.scoring.positions);
    let map = used.read(&latent(77)).maps;
    assert!(map.isfinite().all().int64_value(&[]) == 1 && map.kind() == Kind::Float);
    let not = fit(0.0, 8);
    assert!(!not.scoring.positions.used && not.scoring.positions.gain.is_some() && not.places.is_none());
    let few = fit(2.0, 2).scoring.positions;
    assert_eq!(few, Positions { used: false, images: 4, gain: None });
}

#[test]
fn nothing_is_colder_than_what_lies_outside_the_roi_though_values_are_deviations() {
    let method =
        Method { score: ScoreKind::Max, fusion: FusionMethod::Normalised, positions: PositionsMethod::Off };
    let mut fit = Fit::new(method, STEPS);
    (0..8).for_each(|seed| fit.add(&latent(seed)));
    let mut scorer = fit.finish(None, None).unwrap();
    scorer.set_area(Some(area(0.0, 0.0, 32.0, 64.0)));
    let maps = scorer.read(&latent(77)).maps;
    assert_eq!(maps.narrow(2, 32, 32).abs().max().double_value(&[]), 0.0);
    assert_eq!(maps.min().double_value(&[]), 0.0);
}
