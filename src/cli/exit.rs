//! Exit codes of sysexits.h, and which error ends with which.

use std::error::Error;
use std::io::{self, ErrorKind};

use super::OutputError;
use super::architecture::BadChange;
use super::camera::NoSuchCamera;
use crate::calibrate::CalibrateError;
use crate::commission::CommissionError;
use crate::commission::store::StoreError;
use crate::config::problem::Problems;
use crate::cuda::DeviceError;
use crate::daemon::DaemonError;
use crate::dataset::DatasetError;
use crate::engine::{EngineError, LoadError};
use crate::evaluate::check::OddSize;
use crate::evaluate::pixels::MaskError;
use crate::image_file::ImageFileError;
use crate::model::bundle::BundleError;
use crate::model::bundle::destination::DestinationError;
use crate::model::bundle::roi::RoiError;
use crate::model::score::method::MethodError;
use crate::model::weights::WeightsError;
use crate::synth::SynthError;
use crate::telemetry::TelemetryError;
use crate::train::error::TrainError;
use crate::train::scoring::RoiTooSmall;

pub const OK: u8 = 0;
pub const USAGE: u8 = 64;
pub const NO_INPUT: u8 = 66;
pub const SOFTWARE: u8 = 70;
pub const IO: u8 = 74;
pub const CONFIG: u8 = 78;
/// As the shell has it for a process that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// By the outermost cause that says what kind of trouble it is: a bundle that cannot be read is missing input,
/// though an I/O error is why.
pub fn code_for(error: &anyhow::Error) -> u8 {
    error.chain().find_map(known).unwrap_or(SOFTWARE)
}

fn known(cause: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(OutputError(error)) = cause.downcast_ref() {
        return Some(if error.kind() == ErrorKind::BrokenPipe { OK } else { IO });
    }
    if let Some(error) = cause.downcast_ref::<TrainError>() {
        return Some(match error {
            TrainError::NoRoom { .. } | TrainError::KeepState { .. } => IO,
            TrainError::NoWeights { .. }
            | TrainError::RoiSize { .. }
            | TrainError::From { .. }
            | TrainError::Division { .. }
            | TrainError::Contradiction { .. }
            | TrainError::DamagedState { .. } => NO_INPUT,
            TrainError::OtherSettings { .. } => USAGE,
            TrainError::Stopped { .. } | TrainError::Interrupted { .. } => INTERRUPTED,
            TrainError::Diverged { .. } => SOFTWARE,
        });
    }
    if cause.is::<DestinationError>() {
        return Some(IO);
    }
    if let Some(error) = cause.downcast_ref::<CalibrateError>() {
        return Some(match error {
            // More images are wanting, or others.
            CalibrateError::TooFew(_)
            | CalibrateError::NotCarried { .. }
            | CalibrateError::AllEqual { .. } => NO_INPUT,
            CalibrateError::NotFinite { .. } | CalibrateError::Inconsistent { .. } => SOFTWARE,
        });
    }
    if let Some(error) = cause.downcast_ref::<CommissionError>() {
        return Some(of_commission(error));
    }
    if let Some(error) = cause.downcast_ref::<SynthError>() {
        return Some(match error {
            SynthError::Io { .. } | SynthError::Encode { .. } => IO,
            SynthError::Size(_)
            | SynthError::TooMany { .. }
            | SynthError::Foreign(_)
            | SynthError::Stray(_) => USAGE,
        });
    }
    if let Some(error) = cause.downcast_ref::<BundleError>() {
        return Some(if matches!(error, BundleError::Write { .. }) { IO } else { NO_INPUT });
    }
    if let Some(error) = cause.downcast_ref::<LoadError>() {
        return Some(match error {
            LoadError::Bundle(_) => NO_INPUT,
            LoadError::Device(_) | LoadError::Precision(_) | LoadError::Roi(_) => CONFIG,
            LoadError::NoRoom { .. } | LoadError::Failed { .. } | LoadError::SelfTest { .. } => SOFTWARE,
        });
    }
    let is_input = cause.is::<DatasetError>()
        || cause.is::<ImageFileError>()
        || cause.is::<MaskError>()
        || cause.is::<OddSize>()
        || cause.is::<WeightsError>();
    let codes = [
        (is_input, NO_INPUT),
        (cause.is::<BadChange>(), USAGE),
        (cause.is::<NoSuchCamera>(), USAGE),
        (cause.is::<MethodError>(), NO_INPUT),
        (cause.is::<DeviceError>() || cause.is::<RoiError>() || cause.is::<RoiTooSmall>(), CONFIG),
        (cause.is::<Problems>(), CONFIG),
        (matches!(cause.downcast_ref(), Some(EngineError::WrongSize { .. })), NO_INPUT),
        (matches!(cause.downcast_ref(), Some(TelemetryError::Filter { .. })), USAGE),
        (matches!(cause.downcast_ref(), Some(DaemonError::Sequence(_))), IO),
        (cause.is::<io::Error>() || cause.is::<image::ImageError>(), IO),
    ];
    codes.into_iter().find_map(|(is, code)| is.then_some(code))
}

fn of_commission(error: &CommissionError) -> u8 {
    match error {
        CommissionError::Capture { .. } | CommissionError::Silent { .. } | CommissionError::Ended { .. } => {
            NO_INPUT
        }
        CommissionError::Damaged { .. } => CONFIG,
        CommissionError::NoTrigger { .. } | CommissionError::Store(StoreError::Exists(_)) => USAGE,
        CommissionError::Store(_) | CommissionError::Stopped { .. } => IO,
        CommissionError::Thread(_) => SOFTWARE,
    }
}
