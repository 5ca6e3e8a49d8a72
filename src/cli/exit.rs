//! Exit codes of sysexits.h, and which error ends with which.

use crate::daemon::DaemonError;
use crate::dataset::DatasetError;
use crate::engine::LoadError;
use crate::engine::cuda::DeviceError;
use crate::image_file::ImageFileError;
use crate::model::bundle::BundleError;
use crate::model::weights::WeightsError;
use crate::synth::SynthError;

pub const OK: u8 = 0;
pub const USAGE: u8 = 64;
pub const NO_INPUT: u8 = 66;
pub const SOFTWARE: u8 = 70;
pub const IO: u8 = 74;
pub const CONFIG: u8 = 78;

/// By the innermost cause that says what kind of trouble it is.
pub fn code_for(error: &anyhow::Error) -> u8 {
    error.chain().filter_map(known).last().unwrap_or(SOFTWARE)
}

fn known(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<BundleError>() {
        return Some(if matches!(error, BundleError::Write { .. }) { IO } else { NO_INPUT });
    }
    if cause.is::<DeviceError>() || matches!(cause.downcast_ref(), Some(LoadError::Device(_))) {
        return Some(CONFIG);
    }
    if cause.is::<DatasetError>() || cause.is::<ImageFileError>() || cause.is::<WeightsError>() {
        return Some(NO_INPUT);
    }
    if let Some(error) = cause.downcast_ref::<SynthError>() {
        return Some(if matches!(error, SynthError::Io { .. } | SynthError::Encode { .. }) {
            IO
        } else {
            USAGE
        });
    }
    // It speaks through this one, which hides it from the chain of causes.
    if matches!(cause.downcast_ref(), Some(DaemonError::Sequence(_))) {
        return Some(IO);
    }
    match cause.downcast_ref() {
        Some(LoadError::Bundle(_)) => Some(NO_INPUT),
        _ => None,
    }
}
