//! What each good image is used for, decided and told before training.

use crate::calibrate::share::{Percent, Share};
use crate::calibrate::{self, Shortfall, Target};
use crate::dataset::division::{self, Division};
use crate::model::preset::Schedule;
use crate::progress::say;
use crate::train::Options;
use crate::train::error::TrainError;
use crate::train::images::GoodImages;
use crate::train::start::Base;

/// With fewer good images than this, so many folds: each image then counts for the threshold and for the network.
const FOLDS_BELOW: usize = 200;
const FOLDS: usize = 5;

/// How the images are divided.
#[derive(Debug)]
pub enum Use {
    HoldOut(Division),
    /// Each list is judged by a network trained on the others; the network of the bundle is trained on all.
    Folds(Vec<Vec<usize>>),
}

impl Use {
    /// Divides the images; those that `base` has seen are trained on.
    pub fn of(good: &GoodImages, base: Option<&Base>, options: &Options) -> Result<Self, TrainError> {
        let n = good.files.len();
        let is_seen =
            |image: usize| base.is_some_and(|base| base.provenance.was_seen(&good.fingerprints[image]));
        let seen = (0..n).filter(|&image| is_seen(image)).count();
        let default = if n < FOLDS_BELOW && seen == 0 { FOLDS } else { 0 };
        let k = options.folds.unwrap_or(default);
        if k > 0 && seen > 0 {
            let problem =
                format!("--from was trained on {seen} of these {n} images, so folds would not be fair");
            return Err(TrainError::Division { problem, remedy: "give --folds 0, or leave --from out" });
        }
        let division = if k > 0 {
            Self::Folds(division::folds(&good.groups, n, k, options.seed))
        } else {
            Self::HoldOut(Division::of(&good.groups, n, &is_seen, options.seed))
        };
        let (enough, remedy) = match &division {
            Self::Folds(folds) => (folds.len() > 1, "images of more parts are needed"),
            Self::HoldOut(Division { held_out, .. }) if seen > 0 => {
                (good.parts(held_out) > 1, "add images that it has not seen, or leave --from out")
            }
            Self::HoldOut(Division { held_out, trained_on, .. }) => {
                (good.parts(held_out) > 1 && !trained_on.is_empty(), "images of more parts are needed")
            }
        };
        if enough {
            return Ok(division);
        }
        let seen = if seen > 0 { format!(", of which --from was trained on {seen},") } else { String::new() };
        let problem =
            format!("the {n} good images{seen} show too few parts to hold some back for the threshold");
        Err(TrainError::Division { problem, remedy })
    }

    /// Images that calibrate, each list judged by one network.
    pub fn calibrating(&self) -> Vec<usize> {
        match self {
            Self::HoldOut(division) => division.held_out.clone(),
            Self::Folds(folds) => folds.concat(),
        }
    }

    /// How many images are watched, by which the score's own numbers are found. In folds none is left for that.
    pub fn watched(&self) -> usize {
        match self {
            Self::HoldOut(division) => division.watched.len(),
            Self::Folds(_) => 0,
        }
    }

    /// Steps of all trainings together, if none ends early.
    pub fn steps(&self, images: usize, schedule: &Schedule, copies: usize) -> usize {
        let steps = |images: usize| (images * (1 + copies)).div_ceil(schedule.batch) * schedule.epochs;
        match self {
            Self::HoldOut(division) => steps(division.trained_on.len()),
            Self::Folds(folds) => {
                folds.iter().map(|fold| steps(images - fold.len())).sum::<usize>() + steps(images)
            }
        }
    }

    /// What the threshold shall keep, and what if it cannot: a target that was asked for and that the images cannot
    /// carry is refused now, and not after an hour.
    pub fn target(&self, good: &GoodImages, options: &Options) -> anyhow::Result<(Target, Shortfall)> {
        let parts = good.parts(&self.calibrating());
        let confidence = options.confidence;
        match options.target_overkill {
            None => {
                let overkill = calibrate::default_overkill(parts, confidence);
                Ok((Target { overkill, confidence }, Shortfall::Flag))
            }
            Some(overkill) if options.force => Ok((Target { overkill, confidence }, Shortfall::Flag)),
            Some(overkill) => {
                let target = Target { overkill, confidence };
                calibrate::check_carried(parts, target)?;
                Ok((target, Shortfall::Refuse))
            }
        }
    }

    /// Says what will be done with the images, and what they can carry.
    pub fn tell(&self, good: &GoodImages, target: Target, options: &Options) {
        let n = good.files.len();
        let parts = good.parts(&self.calibrating());
        match self {
            Self::HoldOut(Division { trained_on, watched, held_out }) => say(&format!(
                "{n} good images: {} to train on, {} watched, {} held out",
                trained_on.len(),
                watched.len(),
                held_out.len(),
            )),
            Self::Folds(folds) => say(&format!(
                "{n} good images in {} folds: each fold is judged by a network trained on the others; then one is \
                 trained on all",
                folds.len()
            )),
        }
        let bound = Percent(calibrate::attainable(parts, target.confidence));
        let (asked, confidence) = (Percent(target.overkill.get()), Percent(target.confidence.get()));
        let needed = calibrate::n_needed(target);
        let more = if needed > parts as u64 { format!("; {asked} needs {needed}") } else { String::new() };
        say(&format!(
            "{parts} parts to calibrate on carry an overkill of at most {bound} with {confidence}{more}"
        ));
        if matches!(self, Self::HoldOut(_)) && options.folds.is_none() && options.from.is_none() {
            advice(good.groups.count(), target.confidence).inspect(|advice| say(advice));
        }
    }
}

/// What to say of images that are held out by their number, but show few parts: the threshold counts parts.
fn advice(parts: usize, confidence: Share) -> Option<String> {
    let bound = Percent(calibrate::attainable(parts, confidence));
    (parts < FOLDS_BELOW).then(|| {
        format!(
            "note: all images show {parts} parts: --folds {FOLDS} would carry an overkill of at most {bound}, with the \
             assumption that folds rest on"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_images_of_few_parts_are_advised_to_use_folds() {
        let confidence = Target::default().confidence;
        // 1 - 0.05^(1/50).
        let told = advice(50, confidence).unwrap();
        assert!(told.contains("50 parts: --folds 5 would carry an overkill of at most 5.82 %"), "{told}");
        assert_eq!(advice(FOLDS_BELOW, confidence), None);
    }
}
