//! All that goes into a training, and what is written down of it: what tells it from another one, and where its bundle
//! came from.

use std::collections::{BTreeMap, HashSet};

use crate::calibrate::evidence::{Evidence, MadeOn, Obtained, Sample};
use crate::dataset::division::Division;
use crate::engine::LIBTORCH;
use crate::model::bundle::provenance::{Fingerprints, Provenance};
use crate::model::preset::Schedule;
use crate::train::Options;
use crate::train::held_out::Judged;
use crate::train::images::GoodImages;
use crate::train::optimise::Outcome;
use crate::train::saved::Settings;
use crate::train::start::Start;
use crate::train::use_of::Use;

/// All that goes into a training.
#[derive(Debug)]
pub struct Input<'a> {
    pub options: &'a Options,
    pub start: &'a Start,
    pub good: &'a GoodImages,
    pub division: &'a Use,
    pub data_sha256: &'a str,
}

impl Input<'_> {
    /// All that makes a training another training.
    pub fn settings(&self) -> Settings {
        let Self { options, start, data_sha256, .. } = self;
        let Options { seed, group_by, folds, augment, copies, .. } = *options;
        let schedule = options.schedule();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".into());
        BTreeMap::from(
            [
                ("the data", (*data_sha256).to_owned()),
                ("the network", format!("{:?}", start.architecture)),
                ("--epochs", schedule.epochs.to_string()),
                ("the schedule", format!("{:?}", Schedule { epochs: 0, ..schedule })),
                ("--seed", seed.to_string()),
                ("--score", format!("{:?}", options.method)),
                ("the ROI", or_none(options.roi.as_ref().map(|roi| roi.sha256().to_owned()))),
                ("--group-by", or_none(group_by.clone())),
                ("--folds", or_none(folds.map(|folds| folds.to_string()))),
                ("--augment", augment.to_string()),
                ("--copies", copies.to_string()),
                ("--from", or_none(start.base.as_ref().map(|base| base.sha256.clone()))),
                ("the backbone's weights", start.backbone_sha256.clone()),
                ("the kind of device", if start.device.is_cuda() { "cuda" } else { "cpu" }.into()),
                ("csflowd", env!("CARGO_PKG_VERSION").into()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        )
    }

    /// What the threshold is found from.
    pub fn evidence(&self, judged: &[Judged]) -> Evidence {
        let Self { good, division, .. } = self;
        let sample = |(image, judged): (usize, &Judged)| Sample {
            score: judged.score,
            map_max: judged.map_max,
            part: good.part(image).to_owned(),
            image: good.fingerprints[image].clone(),
        };
        let obtained = match division {
            Use::HoldOut(_) => Obtained::HeldOut,
            Use::Folds(folds) => Obtained::Folds { k: folds.len() },
        };
        Evidence { samples: division.calibrating().into_iter().zip(judged).map(sample).collect(), obtained }
    }

    /// Where the bundle came from; `created` is now, in RFC 3339.
    pub fn provenance(&self, outcome: &Outcome, made_on: MadeOn, created: String) -> Provenance {
        let Self { options, start, good, division, data_sha256 } = *self;
        let all: Vec<usize> = (0..good.files.len()).collect();
        let (trained_on, watched, held_out, folds) = match division {
            Use::HoldOut(Division { trained_on, watched, held_out }) => {
                (&trained_on[..], &watched[..], &held_out[..], 0)
            }
            Use::Folds(folds) => (&all[..], &[][..], &[][..], folds.len()),
        };
        let inherited = start.base.as_ref().map(|base| {
            let Fingerprints { trained_on, watched, inherited, .. } = &base.provenance.fingerprints;
            let own: HashSet<&String> = good.fingerprints.iter().collect();
            let all = trained_on.iter().chain(watched).chain(inherited);
            all.filter(|one| !own.contains(one)).cloned().collect()
        });
        Provenance {
            data_sha256: data_sha256.to_owned(),
            images: good.files.len(),
            parts: good.groups.count(),
            trained_on: trained_on.len(),
            watched: watched.len(),
            held_out: held_out.len(),
            folds,
            seed: options.seed,
            epochs_asked: options.schedule().epochs,
            epoch_kept: outcome.epoch_kept,
            watched_loss: outcome.watched_loss,
            augmentation: options.augmentation(),
            warm_start: start.base.as_ref().map(|base| base.sha256.clone()),
            backbone_sha256: start.backbone_sha256.clone(),
            command: options.command.clone(),
            software: concat!("csflowd ", env!("CARGO_PKG_VERSION")).to_owned(),
            libtorch: LIBTORCH.to_owned(),
            made_on: Some(made_on),
            created,
            fingerprints: Fingerprints {
                trained_on: good.fingerprints(trained_on),
                watched: good.fingerprints(watched),
                held_out: good.fingerprints(held_out),
                inherited: inherited.unwrap_or_default(),
            },
        }
    }
}
