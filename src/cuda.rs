//! What a CUDA device does that tch has no call for: streams, graphs, memory that it reads by itself, kernels of our own; and
//! finding it.
//!
//! One binary serves machines with and without CUDA. Nothing in it names `libtorch_cuda`, so the linker leaves that out, and it
//! is opened when a CUDA device is wanted; then the library of this room, which the program carries with it.

mod compiler;
pub mod graph;
pub mod kernels;
mod library;
pub mod pinned;
pub mod stream;

use std::sync::Arc;

use tch::{Cuda, Device as TorchDevice, TchError};

use crate::config::engine::Device;
use crate::cuda::library::Functions;
use crate::cxx;

/// A CUDA device, and the way to what csflowd has for it.
#[derive(Clone, Debug)]
pub struct Gpu {
    functions: Arc<Functions>,
    /// As C++ counts devices.
    index: i32,
}

/// Where something runs.
#[derive(Clone, Debug)]
pub enum Target {
    Cpu,
    Gpu(Gpu),
}

/// The configuration or the command line asks for a device that is not there.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("device \"cuda:{index}\" is asked for, but libtorch's CUDA part cannot be opened: {cause}")]
    NoCudaLibrary { index: usize, cause: String },
    #[error(
        "device \"cuda:{index}\" is asked for, but this machine has {found} CUDA devices that libtorch can use"
    )]
    NoSuchDevice { index: usize, found: i64 },
}

/// The device and its name, `cpu` or `cuda:N`.
pub fn open(device: Device) -> Result<(TorchDevice, String), DeviceError> {
    match device {
        Device::Cpu => Ok(cpu()),
        Device::Auto => match library::open_torch() {
            Ok(()) if Cuda::device_count() > 0 => Ok(cuda(0)),
            Ok(()) | Err(_) => Ok(cpu()),
        },
        Device::Cuda(index) => {
            library::open_torch().map_err(|cause| DeviceError::NoCudaLibrary { index, cause })?;
            let found = Cuda::device_count();
            if i64::try_from(index).is_ok_and(|index| index < found) {
                Ok(cuda(index))
            } else {
                Err(DeviceError::NoSuchDevice { index, found })
            }
        }
    }
}

impl Gpu {
    /// A device that [`open`] has found.
    pub fn open(index: usize) -> Result<Self, TchError> {
        let index = i32::try_from(index).map_err(|_| TchError::Torch(format!("device {index} is none")))?;
        Ok(Self { functions: Arc::new(Functions::open()?), index })
    }

    /// Its compute capability: ten times the major number and the minor one.
    #[expect(unsafe_code, reason = "a call into C++")]
    fn capability(&self) -> Result<i32, TchError> {
        let mut found = 0;
        // SAFETY: it writes to the error alone, and catches its exceptions.
        cxx::run(|error| {
            found = unsafe { (self.functions.capability)(self.index, error) };
            found > 0
        })?;
        Ok(found)
    }

    /// Gives back what libtorch keeps of memory to use again, once all that is under way on this device is done. Not while
    /// somebody records.
    #[expect(unsafe_code, reason = "a call into C++")]
    pub fn empty_cache(&self) -> Result<(), TchError> {
        // SAFETY: it writes to the error alone, and catches its exceptions.
        cxx::run(|error| unsafe { (self.functions.empty_cache)(self.index, error) })
    }
}

impl Target {
    /// The target that a device of libtorch is.
    pub fn of(device: TorchDevice) -> Result<Self, TchError> {
        match device {
            TorchDevice::Cpu => Ok(Self::Cpu),
            TorchDevice::Cuda(index) => Gpu::open(index).map(Self::Gpu),
            other => Err(TchError::Torch(format!("{other:?} is neither a CPU nor a CUDA device"))),
        }
    }

    pub fn device(&self) -> TorchDevice {
        match self {
            Self::Cpu => TorchDevice::Cpu,
            Self::Gpu(gpu) => TorchDevice::Cuda(usize::try_from(gpu.index).unwrap_or(0)),
        }
    }
}

fn cpu() -> (TorchDevice, String) {
    (TorchDevice::Cpu, "cpu".to_owned())
}

fn cuda(index: usize) -> (TorchDevice, String) {
    (TorchDevice::Cuda(index), format!("cuda:{index}"))
}

/// Whether a CUDA error leaves the device unusable for this process.
pub fn is_fatal(cause: &str) -> bool {
    let lacks_memory = cause.contains("out of memory") || cause.contains("ALLOC_FAILED");
    !lacks_memory && (cause.contains("CUDA error") || cause.contains("cuDNN error"))
}

/// Bytes that are free on a CUDA device; None if it does not say. What libtorch keeps for itself to use again is not
/// among them.
#[expect(unsafe_code, reason = "libtorch has no call for it that tch knows")]
pub fn free_memory(index: usize) -> Option<u64> {
    use libloading::os::unix::{Library, Symbol};
    use std::ffi::c_int;

    let index = c_int::try_from(index).ok()?;
    let process = Library::this();
    let (mut free, mut total) = (0_usize, 0_usize);
    // SAFETY: both functions of the CUDA runtime, which `open` has loaded with libtorch_cuda, have had these types since
    // they exist, and write to the two numbers alone.
    let result = unsafe {
        let set_device: Symbol<unsafe extern "C" fn(c_int) -> c_int> =
            process.get(b"cudaSetDevice\0").ok()?;
        let get_info: Symbol<unsafe extern "C" fn(*mut usize, *mut usize) -> c_int> =
            process.get(b"cudaMemGetInfo\0").ok()?;
        if set_device(index) != 0 {
            return None;
        }
        get_info(&raw mut free, &raw mut total)
    };
    (result == 0).then(|| u64::try_from(free).unwrap_or(u64::MAX))
}

#[cfg(test)]
pub(crate) mod devices {
    //! Where tests run what runs on any device.

    use std::ops::Deref;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// What draws random numbers on a device fails while somebody records there.
    static DEVICE: Mutex<()> = Mutex::new(());

    /// The CPU, and the first CUDA device if there is one; for one test at a time.
    #[derive(Debug)]
    pub(crate) struct Devices {
        found: Vec<TorchDevice>,
        _guard: Option<MutexGuard<'static, ()>>,
    }

    impl Deref for Devices {
        type Target = [TorchDevice];

        fn deref(&self) -> &[TorchDevice] {
            &self.found
        }
    }

    pub(crate) fn devices() -> Devices {
        match open(Device::Cuda(0)) {
            Ok((device, _)) => {
                let guard = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
                Devices { found: vec![TorchDevice::Cpu, device], _guard: Some(guard) }
            }
            Err(error) => {
                println!("skipped: {error}");
                Devices { found: vec![TorchDevice::Cpu], _guard: None }
            }
        }
    }
}
