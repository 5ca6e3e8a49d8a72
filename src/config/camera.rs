//! `[[camera]]`: a view, the pipeline that brings it, and what its pictures must look like.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::genicam::{self, Genicam};
use super::raw::{self, Key};
use super::section::Section;
use crate::frame::{CameraId, PixelFormat, Size};

const STALL: Duration = Duration::from_secs(5);
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// From a command to its frame.
const WINDOW: Duration = Duration::from_millis(200);
/// A pulse that fires a camera overtakes the command by about so much.
const PULSE_EARLY: Duration = Duration::from_millis(50);
const RATE_HZ: f64 = 1.0;
/// A sensor never gives the same picture twice.
const FROZEN_AFTER: u32 = 1;
/// Widest and highest frame.
const LONGEST_SIDE: i64 = 16_384;

/// One camera, ready to be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    pub id: CameraId,
    pub source: Source,
    /// GStreamer text, parameters filled in. Ends in `appsink name=frames`; it begins with `appsrc name=camera` where
    /// csflowd brings the pictures itself.
    pub pipeline: String,
    pub format: PixelFormat,
    /// What each frame must measure. None takes frames of any size, each as it is.
    pub size: Option<Size>,
    pub trigger: TriggerMode,
    /// No frame for this long counts as loss, if this camera is never silent for long.
    pub stall: Duration,
    /// First and longest pause between tries to rebuild a lost pipeline.
    pub retry: (Duration, Duration),
    /// The same picture, to the bit, so many times again is a frozen camera; 0 is none. Files may repeat.
    pub frozen_after: u32,
}

impl Camera {
    /// Whether csflowd fires it.
    pub fn is_fired(&self) -> bool {
        matches!(&self.source, Source::Genicam(genicam) if genicam.is_fired())
    }

    /// Whether it gives a last frame, as a folder of files does.
    pub fn ends(&self) -> bool {
        matches!(&self.source, Source::Files(files) if !files.repeat)
    }
}

/// What says that a part is in view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerMode {
    /// Each frame of a camera that runs by itself.
    Free,
    /// Each frame of a camera that a sensor fires. It may be silent for hours.
    Hardware,
    /// A command over MQTT. Frames are held against it.
    Command(Matching),
}

impl TriggerMode {
    /// Whether a camera that sends nothing may be as it should.
    pub fn allows_silence(self) -> bool {
        match self {
            Self::Hardware | Self::Command(Matching { frames: Frames::Pulse, .. }) => true,
            Self::Free | Self::Command(Matching { frames: Frames::Stream, .. }) => false,
        }
    }
}

/// Which frame answers a trigger command: `intake::matching` states the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matching {
    pub frames: Frames,
    /// A frame may be so much older than its command: messages take longer than pulses.
    pub early: Duration,
    /// A frame may be so much younger.
    pub window: Duration,
}

impl Matching {
    /// Whether a frame captured at `captured` may answer a command that came at `came`.
    pub fn fits(self, came: Duration, captured: Duration) -> bool {
        captured + self.early >= came && captured <= came + self.window
    }
}

/// How the frames of a commanded camera come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// All the time, whatever the commands are: most of them show no part.
    Stream,
    /// One for each part, by a pulse that fires the camera when the command is sent, or by csflowd when it comes.
    Pulse,
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The pipeline has its own source element.
    Pipeline,
    /// Image files, decoded by csflowd and pushed into the pipeline.
    Files(Files),
    /// A GigE Vision or USB3 Vision camera, run by csflowd, whose frames are pushed into the pipeline.
    Genicam(Genicam),
}

/// Replay of a folder of images. The file's name becomes the part id.
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    /// Searched with its sub-folders.
    pub folder: PathBuf,
    pub rate_hz: f64,
    /// Start again after the last file; otherwise the camera ends there.
    pub repeat: bool,
    pub order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By path.
    Sorted,
    /// In an order drawn from this seed, a new one for each pass.
    Shuffled { seed: u64 },
}

/// From pipeline text and parameters to the text of one camera.
pub type Fill<'a> = dyn Fn(&str, &BTreeMap<String, String>) -> Result<String, String> + 'a;

/// What becomes of pipeline text is for `capture` to know: the loader, which knows no GStreamer, is lent it.
pub struct Pipelines<'a> {
    /// Searched after `pipelines/` beside the station file.
    pub shared_dir: &'a Path,
    /// Puts parameters into pipeline text.
    pub fill: &'a Fill<'a>,
    /// Says what keeps a camera's pipeline from being built.
    pub check: &'a dyn Fn(&Camera) -> Result<(), String>,
}

impl std::fmt::Debug for Pipelines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipelines").field("shared_dir", &self.shared_dir).finish_non_exhaustive()
    }
}

pub(super) fn read(raw: raw::Camera, section: &mut Section<'_>, pipelines: &Pipelines<'_>) -> Option<Camera> {
    let id = section.required("id", raw.id).and_then(|id| {
        let checked = CameraId::new(&id);
        checked.map_err(|why| section.wrong("id", why.to_string())).ok()
    });
    let format = match section.get("format", raw.format) {
        Some(raw::Format::Bgr8) => PixelFormat::Bgr8,
        Some(raw::Format::Gray8) => PixelFormat::Gray8,
        Some(raw::Format::Rgb8) | None => PixelFormat::Rgb8,
    };
    let size = size(raw.width, raw.height, section);
    let stall = section.seconds("stall_s", raw.stall_s, 0.1).unwrap_or(STALL);
    let retry = section.retry(raw.retry_first_s, raw.retry_max_s, RETRY);
    let parameters = parameters(raw.parameters, section);
    let pipeline = pipeline(raw.pipeline, &parameters, section, pipelines);
    let source = match section.get("source", raw.source) {
        Some(raw) => source(raw, &mut section.inner("source")),
        None => Some(Source::Pipeline),
    };
    let fired = matches!(&source, Some(Source::Genicam(genicam)) if genicam.is_fired());
    let trigger = trigger(raw.trigger, (raw.frames, raw.early_ms, raw.window_ms), fired, section);
    if let Some(Source::Genicam(genicam)) = &source {
        genicam::check_trigger(genicam, trigger, section);
    }
    let frozen_after = frozen_after(raw.frozen_after, source.as_ref(), section);
    let camera = Camera {
        id: id?,
        source: source?,
        pipeline: pipeline?,
        format,
        size,
        trigger,
        stall,
        retry,
        frozen_after,
    };
    match (pipelines.check)(&camera) {
        Ok(()) => Some(camera),
        Err(why) => {
            section.wrong("pipeline", why);
            None
        }
    }
}

fn frozen_after(raw: Key<i64>, source: Option<&Source>, section: &mut Section<'_>) -> u32 {
    let is_given = !raw.is_absent();
    let given = section.whole("frozen_after", raw, 0..=1_000_000);
    match source {
        Some(Source::Files(_)) if is_given => {
            section
                .wrong("frozen_after", "does not go with kind = \"files\": files may show the same picture");
            0
        }
        Some(Source::Files(_)) => 0,
        Some(Source::Pipeline | Source::Genicam(_)) | None => given.unwrap_or(FROZEN_AFTER),
    }
}

fn size(width: Key<i64>, height: Key<i64>, section: &mut Section<'_>) -> Option<Size> {
    match (&width, &height) {
        (Key::Absent, Key::Absent) => return None,
        (Key::Absent, _) => section.wrong("width", "is missing: give width and height, or neither"),
        (_, Key::Absent) => section.wrong("height", "is missing: give width and height, or neither"),
        _ => {}
    }
    let width = section.whole("width", width, 16..=LONGEST_SIDE);
    let height = section.whole("height", height, 16..=LONGEST_SIDE);
    Some(Size { width: width?, height: height? })
}

fn trigger(
    mode: Key<raw::TriggerMode>,
    (frames, early_ms, window_ms): (Key<raw::Frames>, Key<i64>, Key<i64>),
    is_fired: bool,
    section: &mut Section<'_>,
) -> TriggerMode {
    let mode = section.get("trigger", mode).unwrap_or(raw::TriggerMode::Free);
    if mode != raw::TriggerMode::Command {
        let given = [
            ("frames", !frames.is_absent()),
            ("early_ms", !early_ms.is_absent()),
            ("window_ms", !window_ms.is_absent()),
        ];
        for (key, _) in given.iter().filter(|(_, given)| *given) {
            section.wrong(key, "goes with trigger = \"command\" only");
        }
        return if mode == raw::TriggerMode::Free { TriggerMode::Free } else { TriggerMode::Hardware };
    }
    let (frames, usual_early) = match section.get("frames", frames) {
        // A picture that csflowd asked for cannot be older than the command that made it ask.
        Some(raw::Frames::Pulse) | None if is_fired => (Frames::Pulse, Duration::ZERO),
        Some(raw::Frames::Pulse) => (Frames::Pulse, PULSE_EARLY),
        Some(raw::Frames::Stream) | None => (Frames::Stream, Duration::ZERO),
    };
    let early = section.whole("early_ms", early_ms, 0..=10_000).map_or(usual_early, Duration::from_millis);
    let window = section.whole("window_ms", window_ms, 1..=60_000).map_or(WINDOW, Duration::from_millis);
    TriggerMode::Command(Matching { frames, early, window })
}

fn parameters(
    raw: Key<BTreeMap<String, Key<raw::Parameter>>>,
    section: &mut Section<'_>,
) -> BTreeMap<String, String> {
    let given = section.get("parameters", raw).unwrap_or_default();
    let mut section = section.inner("parameters");
    let text = |value| match value {
        raw::Parameter::Whole(whole) => whole.to_string(),
        raw::Parameter::Number(number) => number.to_string(),
        raw::Parameter::Flag(flag) => flag.to_string(),
        raw::Parameter::Text(text) => text,
    };
    given
        .into_iter()
        .filter_map(|(name, value)| section.get(&name, value).map(|value| (name, text(value))))
        .collect()
}

/// The text of the pipeline's file, filled in.
fn pipeline(
    name: Key<String>,
    parameters: &BTreeMap<String, String>,
    section: &mut Section<'_>,
    pipelines: &Pipelines<'_>,
) -> Option<String> {
    let folders = [section.folder().join("pipelines"), pipelines.shared_dir.into()];
    let file = section.required_file("pipeline", name, &folders)?;
    let text = section.contents("pipeline", &file)?;
    let filled = (pipelines.fill)(&text, parameters);
    filled.map_err(|why| section.wrong("pipeline", format!("{}: {why}", file.display()))).ok()
}

fn source(mut raw: raw::Source, section: &mut Section<'_>) -> Option<Source> {
    let kind = section.required("kind", std::mem::take(&mut raw.kind))?;
    if kind != raw::SourceKind::Files {
        let given = [
            ("folder", !raw.folder.is_absent()),
            ("rate_hz", !raw.rate_hz.is_absent()),
            ("repeat", !raw.repeat.is_absent()),
            ("order", !raw.order.is_absent()),
            ("seed", !raw.seed.is_absent()),
        ];
        for (key, _) in given.iter().filter(|(_, given)| *given) {
            section.wrong(key, "goes with kind = \"files\" only");
        }
    }
    if kind != raw::SourceKind::Genicam {
        for key in genicam::given(&raw) {
            section.wrong(key, "goes with kind = \"genicam\" only");
        }
    }
    match kind {
        raw::SourceKind::Pipeline => Some(Source::Pipeline),
        raw::SourceKind::Files => files(raw, section).map(Source::Files),
        raw::SourceKind::Genicam => genicam::read(raw, section).map(Source::Genicam),
    }
}

fn files(raw: raw::Source, section: &mut Section<'_>) -> Option<Files> {
    if raw.folder.is_absent() {
        section.wrong("folder", "is missing: the folder of images");
    }
    let folder = section.directory("folder", raw.folder);
    let rate_hz = section.number("rate_hz", raw.rate_hz, 0.001..=1000.0).unwrap_or(RATE_HZ);
    let repeat = section.get("repeat", raw.repeat).unwrap_or(false);
    let shuffled = section.get("order", raw.order) == Some(raw::Order::Shuffled);
    if !shuffled && !raw.seed.is_absent() {
        section.wrong("seed", "goes with order = \"shuffled\" only");
    }
    let seed = section.whole("seed", raw.seed, 0..=i64::MAX).unwrap_or(0);
    let order = if shuffled { Order::Shuffled { seed } } else { Order::Sorted };
    Some(Files { folder: folder?, rate_hz, repeat, order })
}
