//! `csflowd synth`.

use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;

use super::exit;
use crate::progress::Progress;
use crate::synth::{self, Options};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder to fill, in the layout of MVTec AD
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The same seed draws the same parts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Good parts to train on [default: 160]
    #[arg(long, value_name = "N")]
    train: Option<u32>,
    /// Good parts to test with [default: 120]
    #[arg(long, value_name = "N")]
    good: Option<u32>,
    /// Defective parts to test with [default: 80]
    #[arg(long, value_name = "N")]
    defective: Option<u32>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let defaults = Options::new(arguments.out.clone());
    let options = Options {
        seed: arguments.seed,
        train: arguments.train.unwrap_or(defaults.train),
        good: arguments.good.unwrap_or(defaults.good),
        defective: arguments.defective.unwrap_or(defaults.defective),
        ..defaults
    };
    let parts = [options.train, options.good, options.defective].iter().map(|&n| n as usize).sum();
    let progress = Mutex::new((Progress::start("parts", parts), 0));
    synth::run(&options, &|done, _| {
        let mut progress = progress.lock().expect("nobody panics while drawing progress");
        let (bar, most) = &mut *progress;
        *most = done.max(*most);
        bar.set(*most, "");
    })?;
    let (bar, _) = progress.into_inner().expect("nobody panics while drawing progress");
    bar.finish(&format!("{parts} parts in {}", arguments.out.display()));
    Ok(exit::OK)
}
