//! A loaded bundle as something that judges pictures.
//!
//! [`model`](crate::model) says what is computed; this room says on which device, and keeps what goes wrong there
//! from looking like an answer.

pub mod detector;
pub mod extractor;
pub mod fused;
mod graphs;
pub mod guard;
pub mod precision;
mod resize;
pub mod room;
pub mod runner;
mod self_test;
pub mod threads;
mod triangle;
mod upload;

use std::path::PathBuf;

use tch::TchError;

use crate::clock::Clock;
use crate::config::engine::{Device, Precision};
use crate::cuda::stream::Stream;
use crate::cuda::{self, DeviceError, Gpu, Target};
use crate::engine::detector::{Batch, Detector};
use crate::engine::precision::{Computed, PrecisionError};
use crate::engine::resize::Resizer;
use crate::engine::runner::{EngineKind, Runner};
use crate::engine::upload::Upload;
use crate::frame::{Picture, Size};
use crate::model::architecture::Architecture;
use crate::model::bundle::roi::RoiError;
use crate::model::bundle::{Bundle, BundleError};
use crate::model::network::Network;
use crate::model::preprocess::Preprocess;
use crate::model::score::area::{Area, Grids};
use crate::model::score::scorer::Scorer;
use crate::model::weights::{self, Weights};
use crate::roi::Roi;
use crate::verdict::Judge;

/// The libtorch that this program is built for and runs with.
pub const LIBTORCH: &str = "2.11.0";

/// The network could not judge.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The device is gone; only a restart brings it back.
    #[error("device {device} lost: {cause}")]
    DeviceLost { device: String, cause: String },
    #[error("network failed: {0}")]
    Failed(String),
    /// The ROI says nothing about it.
    #[error("the picture is {found}, but the product's ROI is drawn on {expected}")]
    WrongSize { found: Size, expected: Size },
}

/// A bundle cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    #[error(transparent)]
    Roi(#[from] RoiError),
    #[error(
        "no room on {device} for a second network: about {needed_mb} MB are needed and {free_mb} are free; \
         engine.swap = \"gap\" unloads the one in use first"
    )]
    NoRoom { device: String, needed_mb: u64, free_mb: u64 },
    #[error("loading onto {device} failed: {cause}")]
    Failed { device: String, cause: String },
    #[error(
        "{file}: self-test on {device} failed: picture {index} scores {found}, expected {expected} within {tolerance}"
    )]
    SelfTest { file: PathBuf, device: String, index: usize, found: f64, expected: f64, tolerance: f64 },
}

/// On what a bundle is put to work, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub device: Device,
    pub precision: Precision,
    /// Of the CPU, for one picture.
    pub threads: i32,
    /// How many pictures at most may come together for what a CUDA device records; 0 records nothing.
    pub together: usize,
    /// What a coarser precision must not make a difference to.
    pub judge: Judge,
}

/// A network on one device.
#[derive(Debug)]
pub struct Engine {
    runner: Runner,
    architecture: Architecture,
    scorer: Scorer,
    device: tch::Device,
    device_name: String,
    resizer: Resizer,
    /// There on a CUDA device.
    cuda: Option<OnCuda>,
    precision: Computed,
    notes: Vec<String>,
    /// What the ROI is drawn on; None takes pictures of any size.
    frame: Option<Size>,
}

/// More pictures go through in parts: each number is recorded by itself, which takes a second and memory.
const MOST_RECORDED: usize = 8;

/// What an engine has on a CUDA device, if csflowd has a way to it.
#[derive(Debug)]
struct OnCuda {
    upload: Upload,
    /// All its work goes there.
    stream: Stream,
    /// How many pictures may come together for what is recorded; 0 records nothing.
    together: usize,
}

impl OnCuda {
    fn new(index: usize, side: i64) -> Result<Self, String> {
        guard::catch_both(|| {
            let gpu = Gpu::open(index)?;
            let stream = Stream::new(&gpu)?;
            Ok(Self { upload: Upload::new(Target::Gpu(gpu), side)?, stream, together: 0 })
        })
    }
}

impl Engine {
    /// Puts a bundle on a device and finds its self-test's scores again: in f32 as closely as the bundle says, in a coarser
    /// precision so closely that it does not matter to `judge`.
    pub fn load(bundle: &Bundle, how: How) -> Result<Self, LoadError> {
        let (device, device_name) = cuda::open(how.device)?;
        let candidates = precision::candidates(how.precision, device)?;
        let failed = |cause| LoadError::Failed { device: device_name.clone(), cause };
        let network = guard::catch(|| bundle.view(device)).map_err(failed)??;
        let mut engine = Self::around(network, &bundle.manifest.preprocess, device_name.clone());
        engine.record_up_to(how.together);
        for (index, &computed) in candidates.iter().enumerate() {
            let tried =
                engine.turn_to(computed, how.threads).and_then(|()| engine.self_test(bundle, &how.judge));
            match tried {
                Ok(()) => break,
                Err(LoadError::Precision(refused)) if index + 1 < candidates.len() => {
                    engine.notes.push(refused.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        engine.runner.release();
        Ok(engine)
    }

    /// An engine around a network that was just trained, which it keeps. In f32.
    pub fn new(network: Network, preprocess: &Preprocess, device_name: String) -> Self {
        let mut engine = Self::around(network, preprocess, device_name);
        engine.turn_to(Computed::F32, threads::count()).expect("f32 is always to be had");
        engine
    }

    /// An engine whose speed is that of a trained one and whose scores mean nothing. The backbone has its weights
    /// if they are on this machine.
    pub fn untrained(
        architecture: &Architecture,
        device: Device,
        wanted: Precision,
        together: usize,
    ) -> Result<Self, LoadError> {
        let (device, device_name) = cuda::open(device)?;
        let candidates = precision::candidates(wanted, device)?;
        let network = Network::untrained(architecture, device);
        if let Some(file) = weights::find(architecture.backbone) {
            let weights = Weights::read(&file).map_err(BundleError::from)?;
            network.load_backbone(&weights).map_err(BundleError::from)?;
        }
        let mut engine = Self::around(network, &Preprocess::known(), device_name);
        engine.record_up_to(together);
        engine.turn_to(candidates[0], threads::count())?;
        engine.runner.release();
        Ok(engine)
    }

    /// The plain network.
    fn around(network: Network, preprocess: &Preprocess, device_name: String) -> Self {
        let (architecture, device) = (network.architecture.clone(), network.device());
        let mut notes = Vec::new();
        let cuda = match device {
            tch::Device::Cuda(index) => {
                let made = OnCuda::new(index, architecture.input_px);
                let lacking = |error| format!("the GPU runs the plain network, and the CPU resizes: {error}");
                made.map_err(|error| notes.push(lacking(error))).ok()
            }
            _ => None,
        };
        Self {
            scorer: network.scorer.share(),
            runner: Runner::plain(network, preprocess),
            resizer: Resizer::new(architecture.input_px),
            architecture,
            device,
            device_name,
            cuda,
            precision: Computed::F32,
            notes,
            frame: None,
        }
    }

    /// On a CUDA device what is done for up to so many pictures together will be recorded, if it can be.
    fn record_up_to(&mut self, together: usize) {
        if let Some(cuda) = &mut self.cuda {
            cuda.together = together.min(MOST_RECORDED);
        }
    }

    /// The fastest that computes in this precision. In f32 the plain network always does.
    fn turn_to(&mut self, computed: Computed, threads: i32) -> Result<(), LoadError> {
        match (self.runner.fuse(computed, threads), computed) {
            (Ok(()), _) => {}
            (Err(cause), Computed::F32) => self.notes.push(format!("the plain network runs: {cause}")),
            (Err(cause), _) => {
                return Err(PrecisionError::Missing { precision: computed.name(), cause }.into());
            }
        }
        self.precision = computed;
        // Weights are made in another stream than that which reads them: all of it is to be over. A device that cannot say so says
        // why when it is asked to judge.
        if let Some(cuda) = &self.cuda
            && let Err(error) = cuda.stream.gpu().empty_cache()
        {
            self.notes.push(error.to_string());
        }
        self.record();
        Ok(())
    }

    /// On a CUDA device, what is done from now on; where that fails it is done call by call.
    fn record(&mut self) {
        let Some(OnCuda { together: most @ 1.., stream, .. }) = &self.cuda else { return };
        let size = (*most, self.architecture.input_px);
        if let Err(cause) = self.runner.record(stream, &self.scorer, size) {
            let note = format!("no CUDA graphs: {cause}");
            // Each precision is recorded anew.
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// The network that the engine was made around; None if it came from a bundle and is not needed any more.
    pub fn network(&self) -> Option<&Network> {
        self.runner.network()
    }

    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// What computes the scores.
    pub fn kind(&self) -> EngineKind {
        self.runner.kind()
    }

    /// Why it is not faster where that could be expected.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// `cpu` or `cuda:N`.
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    pub fn precision(&self) -> &'static str {
        self.precision.name()
    }

    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, TchError>) -> Result<T, EngineError> {
        guarded(&self.device_name, self.cuda.as_ref().map(|cuda| &cuda.stream), work)
    }
}

/// Does `work` without gradients, in `stream` if there is one. What goes wrong on a CUDA device and leaves it unusable is its
/// loss.
fn guarded<T>(
    device: &str,
    stream: Option<&Stream>,
    work: impl FnOnce() -> Result<T, TchError>,
) -> Result<T, EngineError> {
    let caught = guard::catch_both(|| {
        let _guard = tch::no_grad_guard();
        let _entered = stream.map(Stream::enter).transpose()?;
        work()
    });
    caught.map_err(|cause| {
        if device != "cpu" && cuda::is_fatal(&cause) {
            EngineError::DeviceLost { device: device.to_owned(), cause }
        } else {
            EngineError::Failed(cause)
        }
    })
}

impl Detector for Engine {
    fn set_roi(&mut self, roi: Option<&Roi>) -> Result<(), EngineError> {
        let (grids, device) = (Grids::of(&self.architecture), self.device);
        let score = self.scorer.scoring.score;
        let area = self.guarded(|| Ok(roi.map(|roi| Area::new(roi, &grids, score, device)).transpose()))?;
        let area = area.map_err(|refused| EngineError::Failed(format!("the ROI {refused}")))?;
        self.scorer.set_area(area);
        self.frame = roi.map(Roi::size);
        Ok(())
    }

    fn measure_into(
        &mut self,
        pictures: &[Picture<'_>],
        clock: &dyn Clock,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        if let Some(expected) = self.frame
            && let Some(found) = pictures.iter().map(|picture| picture.size).find(|&size| size != expected)
        {
            return Err(EngineError::WrongSize { found, expected });
        }
        let Self { runner, scorer, architecture, resizer, cuda, device_name, .. } = self;
        let (mut upload, stream) = match cuda {
            Some(OnCuda { upload, stream, .. }) => (Some(upload), Some(&*stream)),
            None => (None, None),
        };
        guarded(device_name, stream, || {
            let start = clock.now();
            let pixels = match &mut upload {
                Some(upload) => upload.pixels(pictures)?,
                None => resizer.pixels(pictures)?,
            };
            let prepared = clock.now();
            let reading = runner.read(&pixels, scorer)?;
            detector::measured(&reading, pictures, architecture.cells(), &mut batch.measured);
            let done = clock.now();
            batch.preprocess = prepared.since(start);
            batch.inference = done.since(prepared);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
