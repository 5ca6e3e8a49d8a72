//! `csflowd bench`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::architecture::Changes;
use super::{exit, print, print_json};
use crate::bench::{self, Figures, Load};
use crate::clock::{Clock, SystemClock};
use crate::config::engine::{Device, Precision};
use crate::engine::{self, Engine, How};
use crate::frame::Size;
use crate::model::bundle::Bundle;
use crate::model::preset::Preset;
use crate::progress::say;
use crate::verdict::regions::RegionRule;
use crate::verdict::{Judge, Threshold};

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
    /// auto as a station has it, f32 or bf16
    #[arg(long, default_value = "auto")]
    precision: Precision,
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
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    json: bool,
    // Last: its heading holds for all that follows.
    #[command(flatten)]
    changes: Changes,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    software: &'static str,
    network: String,
    device: String,
    engine: &'static str,
    precision: &'static str,
    threads: i32,
    load_s: f64,
    /// Largest resident memory of the process so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_mb: Option<f64>,
    #[serde(flatten)]
    figures: Figures,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if let Some(threads) = arguments.threads {
        engine::threads::set(threads);
    }
    let clock = SystemClock::start();
    let start = clock.now();
    let (network, mut engine, judge, rule) = if let Some(file) = &arguments.bundle {
        let bundle = Bundle::read(file)?;
        let calibration = &bundle.manifest.calibration;
        let (device, precision) = (arguments.device, arguments.precision);
        let engine = Engine::load(
            &bundle,
            How { device, precision, threads: engine::threads::count(), judge: calibration.judge() },
        )?;
        let rule = RegionRule { map_threshold: calibration.map_threshold, min_area_px: 0.0 };
        (file.display().to_string(), engine, calibration.judge(), rule)
    } else {
        let architecture = arguments.changes.apply(arguments.preset)?;
        let engine = Engine::untrained(&architecture, arguments.device, arguments.precision)?;
        let threshold = Threshold::new(1.0).expect("finite");
        let judge = Judge::new(threshold, 0.0).expect("no guard band");
        let rule = RegionRule { map_threshold: 2.0, min_area_px: 0.0 };
        (architecture.preset, engine, judge, rule)
    };
    let load_s = clock.now().since(start).as_secs_f64();
    let load = Load { frame: arguments.frame, batch: arguments.batch.into(), runs: arguments.runs as usize };
    let figures = bench::run(&mut engine, &judge, rule, load, &clock)?;
    let report = Report {
        software: concat!("csflowd ", env!("CARGO_PKG_VERSION")),
        network,
        device: engine.device_name().to_owned(),
        engine: engine.kind().name(),
        precision: engine.precision(),
        threads: engine::threads::count(),
        load_s,
        peak_memory_mb: peak_memory_mb(),
        figures,
    };
    engine.notes().iter().for_each(|note| say(&format!("note: {note}")));
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&table(&report))?;
    }
    Ok(exit::OK)
}

fn table(report: &Report) -> String {
    let Report { network, device, engine, precision, threads, load_s, figures, .. } = report;
    let Figures { frame_width, frame_height, batch, runs, latency_ms, stages_ms, frames_per_s } = figures;
    let mut lines = vec![
        format!(
            "{network} on {device}, engine {engine} in {precision}, {threads} threads, loaded in {load_s:.2} s"
        ),
        format!(
            "frames of {frame_width}x{frame_height}, {batch} together, {runs} runs: {frames_per_s:.1} frames/s"
        ),
        format!("{:<12} {:>9} {:>9} {:>9} {:>9}   ms", "", "p50", "p90", "p99", "max"),
    ];
    let rows = stages_ms.iter().map(|(stage, times)| (*stage, times)).chain([("all", latency_ms)]);
    for (stage, times) in rows {
        let bench::Times { p50, p90, p99, max } = times;
        lines.push(format!("{stage:<12} {p50:>9.3} {p90:>9.3} {p99:>9.3} {max:>9.3}"));
    }
    if let Some(peak) = report.peak_memory_mb {
        lines.push(format!("peak memory {peak:.0} MB"));
    }
    lines.join("\n")
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
