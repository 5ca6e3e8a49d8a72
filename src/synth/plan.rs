//! Which pictures there are, where each goes, and which seed draws it.

use std::path::PathBuf;

use super::defects::Kind;
use super::{MAX_PICTURES, Options, SynthError};

/// One picture to draw.
#[derive(Debug)]
pub(super) struct Job {
    /// Below the data folder.
    pub(super) picture: PathBuf,
    pub(super) seed: u64,
    pub(super) defect: Option<Flaw>,
}

#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) kind: Kind,
    pub(super) severity: f32,
    pub(super) mask: PathBuf,
}

pub(super) fn jobs(options: &Options) -> Result<Vec<Job>, SynthError> {
    for count in [options.train, options.good, options.defective] {
        if count > MAX_PICTURES {
            return Err(SynthError::TooMany { count });
        }
    }
    // Each folder has seeds of its own.
    let seed = |folder: u64, number: u32| {
        let name = (folder << 32 | u64::from(number)) + 1;
        options.seed ^ name.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    let mut jobs = Vec::new();
    for (index, name, count) in [(0, "train/good", options.train), (1, "test/good", options.good)] {
        jobs.extend((0..count).map(|number| Job {
            picture: PathBuf::from(name).join(format!("{number:03}.png")),
            seed: seed(index, number),
            defect: None,
        }));
    }
    for (index, kind) in (0..).zip(Kind::ALL) {
        let count = (options.defective + 4 - index) / 5;
        jobs.extend((0..count).map(|number| Job {
            picture: PathBuf::from("test").join(kind.name()).join(format!("{number:03}.png")),
            seed: seed(2 + u64::from(index), number),
            defect: Some(Flaw {
                kind,
                severity: severity(number, count),
                mask: PathBuf::from("ground_truth").join(kind.name()).join(format!("{number:03}_mask.png")),
            }),
        }));
    }
    Ok(jobs)
}

/// From small to large, evenly.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn severity(number: u32, count: u32) -> f32 {
    (number as f32 + 0.5) / count as f32
}
