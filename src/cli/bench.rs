//! `csflowd bench`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::architecture::Changes;
use super::{exit, print, print_json};
use crate::appearance;
use crate::bench::stream::{self, Account, Stream};
use crate::bench::{self, Figures, Load, Times};
use crate::calibrate::evidence::Evidence;
use crate::calibrate::{Calibration, Shortfall, Target, calibrate};
use crate::clock::{Clock, SystemClock};
use crate::config::engine::{Device, FRAME_QUEUE, Precision};
use crate::engine::{self, Engine, EngineError, How};
use crate::frame::Size;
use crate::inference::Inspector;
use crate::inference::rules::{Limits, Rules};
use crate::model::bundle::Bundle;
use crate::model::bundle::roi::CalibratedRoi;
use crate::model::preset::Preset;
use crate::model::score::area::Grids;
use crate::model::score::scoring::ScoreKind;
use crate::progress::say;
use crate::verdict::regions::RegionRule;
use crate::verdict::{Judge, Recipe, Threshold};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Measure this bundle
    #[arg(long, value_name = "FILE.csflow", conflicts_with_all = ["preset", "ablation"])]
    bundle: Option<PathBuf>,
    /// Measure an untrained network of this size
    #[arg(long, default_value = "lite", value_parser = super::preset())]
    preset: Preset,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// auto as a station has it, f32, tf32, bf16 or f16; tf32 and f16 are for GPUs
    #[arg(long, default_value = "auto")]
    precision: Precision,
    /// On a GPU, call by call instead of as CUDA graphs
    #[arg(long)]
    no_graphs: bool,
    /// CPU threads [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=256))]
    threads: Option<i32>,
    /// Size of the camera's frame
    #[arg(long, default_value = "1280x1024", value_name = "WxH", value_parser = size)]
    frame: Size,
    /// Frames judged together
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
    /// Batches measured
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Cameras that send so many frames a second each, judged or not, through the stages of a station
    #[arg(long, value_name = "HZ", value_parser = rate, conflicts_with = "runs")]
    rate: Option<f64>,
    /// How many cameras send
    #[arg(long, default_value_t = 1, requires = "rate", value_parser = clap::value_parser!(u8).range(1..=64))]
    cameras: u8,
    /// How long they send
    #[arg(long, default_value_t = 10, value_name = "S", requires = "rate",
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Milliseconds from capture to verdict
    #[arg(long, default_value_t = 500, value_name = "MS", requires = "rate",
        value_parser = clap::value_parser!(u32).range(1..=60_000))]
    deadline: u32,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    json: bool,
    // Last: its heading holds for all that follows.
    #[command(flatten)]
    changes: Changes,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<T> {
    #[serde(flatten)]
    about: About,
    /// Largest resident memory of the process so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_mb: Option<f64>,
    #[serde(flatten)]
    figures: T,
}

/// What was measured, and where.
#[derive(Debug, Serialize)]
struct About {
    software: &'static str,
    network: String,
    device: String,
    engine: &'static str,
    precision: &'static str,
    threads: i32,
    load_s: f64,
}

/// What is measured.
struct Subject {
    network: String,
    engine: Engine,
    calibration: Calibration,
    calibrated_roi: CalibratedRoi,
    judge: Judge,
    regions: RegionRule,
}

impl Arguments {
    /// How many pictures together are to be recorded on a GPU.
    fn together(&self) -> usize {
        if self.no_graphs { 0 } else { self.batch.into() }
    }
}

impl Subject {
    fn bundle(file: &Path, arguments: &Arguments) -> anyhow::Result<Self> {
        let bundle = Bundle::read(file)?;
        let calibrated_roi = CalibratedRoi::of(&bundle.manifest);
        let judge = bundle.manifest.calibration.judge();
        let (device, precision, threads) = (arguments.device, arguments.precision, engine::threads::count());
        let engine =
            Engine::load(&bundle, How { device, precision, threads, together: arguments.together(), judge })?;
        let calibration = bundle.manifest.calibration;
        let regions = RegionRule { map_threshold: calibration.map_threshold, min_area_px: 0.0 };
        let network = file.display().to_string();
        Ok(Self { network, engine, calibration, calibrated_roi, judge, regions })
    }

    fn untrained(arguments: &Arguments) -> anyhow::Result<Self> {
        let architecture = arguments.changes.apply(arguments.preset)?;
        let Arguments { device, precision, .. } = *arguments;
        let engine = Engine::untrained(&architecture, device, precision, arguments.together())?;
        // Nothing was calibrated: what is measured does not ask for it, but its rules have a place for it.
        let evidence = Evidence::ungrouped(&[0.5, 1.0], &[0.5, 1.0]);
        let calibration = calibrate(&evidence, Target::default(), Shortfall::Flag)?;
        let grids = Grids::of(&architecture);
        let calibrated_roi = CalibratedRoi::new(None, grids, ScoreKind::Mean);
        let judge = Judge::new(Threshold::new(1.0).expect("finite"), 0.0).expect("no guard band");
        let regions = RegionRule { map_threshold: 2.0, min_area_px: 0.0 };
        Ok(Self { network: architecture.preset, engine, calibration, calibrated_roi, judge, regions })
    }

    fn about(&self, load_s: f64) -> About {
        self.engine.notes().iter().for_each(|note| say(&format!("note: {note}")));
        About {
            software: concat!("csflowd ", env!("CARGO_PKG_VERSION")),
            network: self.network.clone(),
            device: self.engine.device_name().to_owned(),
            engine: self.engine.kind().name(),
            precision: self.engine.precision(),
            threads: engine::threads::count(),
            load_s,
        }
    }

    fn inspector(self) -> Result<Inspector, EngineError> {
        let Self { engine, calibration, calibrated_roi, judge, regions, .. } = self;
        let recipe = Recipe {
            device: engine.device_name().to_owned(),
            engine: engine.kind().name(),
            precision: engine.precision(),
            threshold: judge.threshold().get(),
            ..Recipe::default()
        };
        let limits = Limits { judge, regions, is_calibrated: false };
        // Noise looks like nothing that a network has learned from, and is judged all the same.
        let rules = Rules {
            limits,
            calibration,
            calibrated_roi,
            usual: None,
            image: appearance::limits::Limits::default(),
            roi: None,
            recipe: Arc::new(recipe),
        };
        Inspector::new(Box::new(engine), rules)
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if let Some(threads) = arguments.threads {
        engine::threads::set(threads);
    }
    let clock = SystemClock::start();
    let start = clock.now();
    let mut subject = match &arguments.bundle {
        Some(file) => Subject::bundle(file, arguments)?,
        None => Subject::untrained(arguments)?,
    };
    let load_s = clock.now().since(start).as_secs_f64();
    let about = subject.about(load_s);
    let Some(rate_hz) = arguments.rate else {
        let load =
            Load { frame: arguments.frame, batch: arguments.batch.into(), runs: arguments.runs as usize };
        let Subject { engine, judge, regions, .. } = &mut subject;
        let figures = bench::run(engine, judge, *regions, load, &clock)?;
        return tell(about, figures, arguments.json, rows);
    };
    let stream = Stream {
        frame: arguments.frame,
        cameras: arguments.cameras.into(),
        rate_hz,
        lasts: Duration::from_secs(arguments.seconds.into()),
        deadline: Duration::from_millis(arguments.deadline.into()),
        batch_max: arguments.batch.into(),
        frame_queue: FRAME_QUEUE,
    };
    let account = stream::run(subject.inspector()?, stream, &clock)?;
    tell(about, account, arguments.json, |account| account_rows(account, stream))
}

fn tell<T: Serialize>(
    about: About,
    figures: T,
    is_json: bool,
    rows: impl FnOnce(&T) -> Vec<String>,
) -> anyhow::Result<u8> {
    let report = Report { about, peak_memory_mb: peak_memory_mb(), figures };
    if is_json {
        print_json(&report)?;
        return Ok(exit::OK);
    }
    let About { network, device, engine, precision, threads, load_s, .. } = &report.about;
    let head = format!(
        "{network} on {device}, engine {engine} in {precision}, {threads} threads, loaded in {load_s:.2} s"
    );
    let peak = report.peak_memory_mb.map(|peak| format!("peak memory {peak:.0} MB"));
    let lines: Vec<String> = [head].into_iter().chain(rows(&report.figures)).chain(peak).collect();
    print(&lines.join("\n"))?;
    Ok(exit::OK)
}

fn rows(figures: &Figures) -> Vec<String> {
    let Figures { frame_width, frame_height, batch, runs, latency_ms, stages_ms, frames_per_s } = figures;
    let mut lines = vec![
        format!(
            "frames of {frame_width}x{frame_height}, {batch} together, {runs} runs: {frames_per_s:.1} frames/s"
        ),
        heading(),
    ];
    let rows = stages_ms.iter().map(|(stage, times)| (*stage, times)).chain([("all", latency_ms)]);
    lines.extend(rows.map(|(stage, times)| row(stage, times)));
    lines
}

fn heading() -> String {
    format!("{:<12} {:>9} {:>9} {:>9} {:>9} {:>9}   ms", "", "p50", "p90", "p99", "p99.9", "max")
}

fn row(name: &str, times: &Times) -> String {
    let Times { p50, p90, p99, p999, max } = times;
    format!("{name:<12} {p50:>9.3} {p90:>9.3} {p99:>9.3} {p999:>9.3} {max:>9.3}")
}

fn account_rows(account: &Account, stream: Stream) -> Vec<String> {
    let Account { cameras, offered_per_s, judged_per_s, triggers, verdicts, .. } = account;
    let Account { judged, dropped, timed_out, otherwise, late, latency_ms, .. } = account;
    let Stream { frame, lasts, deadline, .. } = stream;
    let mut lines = vec![
        format!(
            "{cameras} cameras with {offered_per_s:.1} frames of {frame} a second together for {lasts:?}, deadline {deadline:?}: {judged_per_s:.1} judged a second"
        ),
        format!(
            "triggers {triggers}, verdicts {verdicts} = {judged} judged + {dropped} FRAME_DROPPED + {timed_out} TIMEOUT + {otherwise} otherwise; {late} judged too late"
        ),
    ];
    if let Some(times) = latency_ms {
        lines.push(heading());
        lines.push(row("in time", times));
    }
    lines
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=10_000.0).contains(rate));
    rate.ok_or_else(|| "must be a number of frames a second from 0.01 to 10000".to_owned())
}

fn size(text: &str) -> Result<Size, String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=16_384).contains(side));
    text.split_once('x')
        .and_then(|(width, height)| Some(Size { width: side(width)?, height: side(height)? }))
        .ok_or_else(|| "must be WIDTHxHEIGHT in pixels, such as 1280x1024".to_owned())
}

fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kb: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb / 1024.0)
}
