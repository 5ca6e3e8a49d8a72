//! Good images that look unlike the others: somebody always leaves a bad part among them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use image::RgbImage;

use crate::clock::Clock;
use crate::engine::{Detector, Engine};
use crate::inspect::overlay::{self, Names};
use crate::model::score;
use crate::progress::say;
use crate::train::BATCH;
use crate::train::extract::Features;
use crate::train::images::read_all;
use crate::verdict::regions::{self, RegionRule};

/// Further from the middle of its like than so many standard deviations is an outlier. A normal law puts one image in
/// three millions there; real scores have longer tails.
const FAR: f64 = 5.0;

/// Fewer images than this have no middle worth the name.
const ENOUGH: usize = 8;

/// So many are listed, and shown, at most.
const SHOWN: usize = 20;

/// A good image and how far out it lies, in standard deviations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    pub image: usize,
    pub far: f64,
}

/// Outliers among images that were all used alike, by their scores. Logarithms of scores are compared, with their
/// median and median absolute deviation, which outliers do not move.
pub fn find(scores: &[(usize, f64)]) -> Vec<Outlier> {
    if scores.len() < ENOUGH {
        return Vec::new();
    }
    let logarithms: Vec<f64> = scores.iter().map(|(_, score)| score.max(f64::MIN_POSITIVE).ln()).collect();
    let middle = median(logarithms.clone());
    let deviation = median(logarithms.iter().map(|value| (value - middle).abs()).collect());
    // Of a normal law.
    let sigma = 1.4826 * deviation;
    if sigma <= 0.0 {
        return Vec::new();
    }
    let far = scores.iter().zip(&logarithms).map(|(&(image, _), value)| (image, (value - middle) / sigma));
    far.filter(|&(_, far)| far > FAR).map(|(image, far)| Outlier { image, far }).collect()
}

/// Scores of images that the network was trained on or watched, from their features.
pub fn known_scores(
    engine: &Engine,
    features: &Features,
    images: &[usize],
) -> anyhow::Result<Vec<(usize, f64)>> {
    let _guard = tch::no_grad_guard();
    let network = engine.network();
    let mut scores = Vec::with_capacity(images.len());
    for chunk in images.chunks(BATCH) {
        let maps = features.store.batch(&features.themselves(chunk), network.device())?;
        let (latent, _) = network.latent(&maps);
        let values = Vec::<f32>::try_from(&score::mean_score(&latent).to_device(tch::Device::Cpu))?;
        scores.extend(chunk.iter().zip(values).map(|(&image, score)| (image, f64::from(score))));
    }
    Ok(scores)
}

/// Lists `outliers`, and writes their pictures with the anomaly map over them into `folder`, which is made if there
/// are any.
pub fn show(
    engine: &mut Engine,
    mut outliers: Vec<Outlier>,
    files: &[PathBuf],
    folder: &Path,
    map_threshold: f64,
    clock: &dyn Clock,
) -> anyhow::Result<Vec<Outlier>> {
    if outliers.is_empty() {
        return Ok(outliers);
    }
    outliers.sort_by(|one, other| other.far.total_cmp(&one.far));
    fs::create_dir_all(folder).with_context(|| format!("folder {}: cannot be made", folder.display()))?;
    let n = outliers.len();
    let (look, them) = if n == 1 { ("image looks", "it") } else { ("images look", "them") };
    say(&format!(
        "{n} good {look} unlike the others: look at {them} in {} before you trust the threshold",
        folder.display()
    ));
    let mut names = Names::new(files);
    for outlier in outliers.iter().take(SHOWN) {
        let file = &files[outlier.image];
        say(&format!("  {:.0} deviations out: {}", outlier.far, file.display()));
        let picture = read_all(std::slice::from_ref(file))?.remove(0);
        let measured = engine.measure_one(picture.view(), clock)?;
        let rule = RegionRule { map_threshold, min_area_px: 0.0 };
        let regions = regions::find(&measured.map, picture.size, rule);
        let size = picture.size;
        let mut drawn = RgbImage::from_raw(size.width, size.height, picture.pixels).expect("rows are packed");
        overlay::draw(&mut drawn, &measured.map, map_threshold, &regions.worst);
        let to = folder.join(names.next(file));
        drawn.save(&to).with_context(|| format!("picture {}: cannot be written", to.display()))?;
    }
    if n > SHOWN {
        say(&format!("  and {} more", n - SHOWN));
    }
    Ok(outliers)
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
        assert_eq!(find(&numbered(&good)), []);
        let mut scores = good.to_vec();
        scores.splice(3..3, [4.0, 5.0]);
        let images: Vec<usize> = find(&numbered(&scores)).iter().map(|outlier| outlier.image).collect();
        assert_eq!(images, [3, 4]);
        // Unusually good is no reason to look.
        assert_eq!(find(&numbered(&[&good[..], &[0.1]].concat())), []);
    }

    #[test]
    fn few_images_and_equal_scores_have_no_outliers() {
        assert_eq!(find(&numbered(&[1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 100.0])), []);
        assert_eq!(find(&numbered(&[&[1.0; 9][..], &[9.0]].concat())), []);
        assert_eq!(find(&[]), []);
    }
}
