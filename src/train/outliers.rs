//! Good images that look unlike the others: somebody always leaves a bad part among them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use image::RgbImage;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::engine::detector::Detector;
use crate::inspect::overlay::{self, Names};
use crate::model::score::scorer::Scorer;
use crate::progress::say;
use crate::roi::Roi;
use crate::train::BATCH;
use crate::train::extract::Features;
use crate::train::held_out;
use crate::train::images::read_all;
use crate::verdict::regions::{self, RegionRule};

/// Further from the middle of its like than so many standard deviations is an outlier. A normal law puts one image in
/// three millions there; real scores have longer tails.
const FAR: f64 = 5.0;

/// Fewer images than this have no middle worth the name.
const ENOUGH: usize = 8;

/// So many are listed, and shown, at most.
const SHOWN: usize = 20;

/// What is written: `outlier_01_`, then a name from [`Names`].
const PREFIX: &str = "outlier_";

/// What can be said of two scores, in the words of measurement theory (Stevens, 1946).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// One is so many times the other; none is below 0. Their logarithms are compared: such scores have a long tail
    /// to one side.
    Ratio,
    /// One is so much more than the other: scores in deviations lie anywhere around 0.
    Interval,
}

/// A good image and how far out it lies, in standard deviations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    pub image: usize,
    pub far: f64,
}

impl Scale {
    pub fn of(scorer: &Scorer) -> Self {
        if scorer.unit() > 0.0 { Self::Interval } else { Self::Ratio }
    }
}

/// Outliers among images that were all used alike, by their scores, which are compared with their median and median
/// absolute deviation: outliers do not move these.
pub fn find(scores: &[(usize, f64)], scale: Scale) -> Vec<Outlier> {
    if scores.len() < ENOUGH {
        return Vec::new();
    }
    let compared = |&(_, score): &(usize, f64)| match scale {
        Scale::Ratio => score.max(f64::MIN_POSITIVE).ln(),
        Scale::Interval => score,
    };
    let values: Vec<f64> = scores.iter().map(compared).collect();
    let middle = median(values.clone());
    let deviation = median(values.iter().map(|value| (value - middle).abs()).collect());
    // Of a normal law.
    let sigma = 1.4826 * deviation;
    if sigma <= 0.0 {
        return Vec::new();
    }
    let far = scores.iter().zip(&values).map(|(&(image, _), value)| (image, (value - middle) / sigma));
    far.filter(|&(_, far)| far > FAR).map(|(image, far)| Outlier { image, far }).collect()
}

/// Scores of images that the network was trained on or watched, from their features, by the rules of the bundle.
pub fn known_scores(
    engine: &Engine,
    features: &Features,
    images: &[usize],
) -> anyhow::Result<Vec<(usize, f64)>> {
    let _guard = tch::no_grad_guard();
    let network = held_out::network(engine);
    let mut scores = Vec::with_capacity(images.len());
    for chunk in images.chunks(BATCH) {
        let maps = features.store.batch(&features.themselves(chunk), network.device())?;
        let (latent, _) = network.latent(&maps);
        let scores_of_chunk = network.scorer.read(&latent).scores;
        let values = Vec::<f32>::try_from(&scores_of_chunk.to_device(tch::Device::Cpu))?;
        scores.extend(chunk.iter().zip(values).map(|(&image, score)| (image, f64::from(score))));
    }
    Ok(scores)
}

/// Lists `outliers`, worst first, and writes their pictures with the ROI, if there is one, and the anomaly map over them
/// into `folder`, which is made if there are any. Pictures of an earlier training go.
pub fn show(
    engine: &mut Engine,
    outliers: &[Outlier],
    files: &[PathBuf],
    folder: &Path,
    (map_threshold, roi): (f64, Option<&Roi>),
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    clear(folder)?;
    if outliers.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder).with_context(|| format!("folder {}: cannot be made", folder.display()))?;
    let n = outliers.len();
    let (look, them) = if n == 1 { ("image looks", "it") } else { ("images look", "them") };
    say(&format!(
        "{n} good {look} unlike the others: look at {them} in {} before you trust the threshold",
        folder.display()
    ));
    let mut names = Names::new(files);
    for (i, outlier) in outliers.iter().take(SHOWN).enumerate() {
        let file = &files[outlier.image];
        say(&format!("  {:.0} deviations out: {}", outlier.far, file.display()));
        let picture = read_all(std::slice::from_ref(file))?.remove(0);
        let measured = engine.measure_one(picture.view(), clock)?;
        let rule = RegionRule { map_threshold, min_area_px: 0.0 };
        let regions = regions::find(&measured.map, picture.size, rule);
        let size = picture.size;
        let mut drawn = RgbImage::from_raw(size.width, size.height, picture.pixels).expect("rows are packed");
        if let Some(roi) = roi {
            overlay::draw_roi(&mut drawn, roi);
        }
        overlay::draw(&mut drawn, &measured.map, map_threshold, &regions.worst);
        let to = folder.join(format!("{PREFIX}{:02}_{}", i + 1, names.next(file)));
        drawn.save(&to).with_context(|| format!("picture {}: cannot be written", to.display()))?;
    }
    if n > SHOWN {
        say(&format!("  and {} more", n - SHOWN));
    }
    Ok(())
}

/// Removes from `folder`, if it is there, the pictures that [`show`] wrote, and nothing else.
fn clear(folder: &Path) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry.with_context(|| format!("folder {}: cannot be read", folder.display()))?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours) && path.is_file() {
            fs::remove_file(&path)
                .with_context(|| format!("picture {}: cannot be removed", path.display()))?;
        }
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
    rest.is_some_and(|(number, name)| {
        let end = name.strip_suffix(".png").and_then(|name| name.rsplit_once("_overlay")).map(|(_, end)| end);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_end = |end: &str| end.is_empty() || end.strip_prefix('-').is_some_and(is_number);
        number.len() == 2 && is_number(number) && end.is_some_and(is_end)
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(scores: &[f64]) -> Vec<(usize, f64)> {
        scores.iter().copied().enumerate().collect()
    }

    #[test]
    fn a_bad_part_among_good_ones_is_found_and_its_like_do_not_hide_it() {
        let good = [1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 0.85, 1.0, 1.02, 0.98];
        let find = |scores: &[(usize, f64)]| find(scores, Scale::Ratio);
        assert_eq!(find(&numbered(&good)), []);
        let mut scores = good.to_vec();
        scores.splice(3..3, [4.0, 5.0]);
        let images: Vec<usize> = find(&numbered(&scores)).iter().map(|outlier| outlier.image).collect();
        assert_eq!(images, [3, 4]);
        // Unusually good is no reason to look.
        assert_eq!(find(&numbered(&[&good[..], &[0.1]].concat())), []);
    }

    #[test]
    fn scores_in_deviations_may_be_negative() {
        let good = [-0.4, 0.1, -0.2, 0.3, -0.1, 0.0, 0.2, -0.3, 0.1, -0.05];
        assert_eq!(find(&numbered(&good), Scale::Interval), []);
        let found = find(&numbered(&[&good[..], &[4.0, -9.0]].concat()), Scale::Interval);
        assert_eq!(found.iter().map(|outlier| outlier.image).collect::<Vec<_>>(), [10]);
    }

    #[test]
    fn pictures_of_an_earlier_training_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, others] = [
            ["outlier_01_a_overlay.png", "outlier_20_b_c_overlay-2.png"].as_slice(),
            &["a_overlay.png", "outlier_01_a.png", "outlier_1_a_overlay.png", "outlier_01_a_overlay-x.png"],
        ];
        for name in ours.iter().chain(others) {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        fs::create_dir(folder.path().join("outlier_02_a_overlay.png")).unwrap();
        clear(folder.path()).unwrap();
        assert!(ours.iter().all(|name| !fs::exists(folder.path().join(name)).unwrap()));
        assert!(others.iter().all(|name| fs::exists(folder.path().join(name)).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), others.len() + 1);
        clear(&folder.path().join("none")).unwrap();
    }

    #[test]
    fn few_images_and_equal_scores_have_no_outliers() {
        let find = |scores: &[(usize, f64)]| find(scores, Scale::Ratio);
        assert_eq!(find(&numbered(&[1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 100.0])), []);
        assert_eq!(find(&numbered(&[&[1.0; 9][..], &[9.0]].concat())), []);
        assert_eq!(find(&[]), []);
    }
}
