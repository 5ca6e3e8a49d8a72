//! What csflowd computes on a device by itself, where the device's libraries have no call for it or many. `common.cuh` says how
//! the kernels are written, and that the CPU has them too.

pub mod flow;
pub mod resize;
pub mod trunk;

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

use tch::{Device, Kind, TchError, Tensor};

use crate::cuda::{Gpu, Target, compiler};
use crate::cxx::{make, run};

/// Of a block: `THREADS`, `LANES` and `WARPS` of `common.cuh`.
const THREADS: i64 = 256;
const LANES: i64 = 32;
const WARPS: i64 = THREADS / LANES;

const COMMON: &str = include_str!("kernels/common.cuh");

/// One of the texts.
#[derive(Clone, Copy, Debug)]
enum Text {
    Resize,
    Trunk,
    Flow,
}

/// The kernels of one text, for maps of one kind.
#[derive(Debug)]
struct Kernels {
    text: Text,
    element: Kind,
    device: Device,
    /// None on the CPU.
    loaded: Option<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    made: NonNull<c_void>,
    gpu: Gpu,
}

type OnCpu = unsafe extern "C" fn(*const c_char, i32, i32, i32, *const c_void) -> bool;

#[expect(unsafe_code, reason = "the kernels for the CPU are C++")]
unsafe extern "C" {
    fn csflowd_resize_f32(name: *const c_char, x: i32, y: i32, z: i32, arguments: *const c_void) -> bool;
    fn csflowd_trunk_f32(name: *const c_char, x: i32, y: i32, z: i32, arguments: *const c_void) -> bool;
    fn csflowd_trunk_f16(name: *const c_char, x: i32, y: i32, z: i32, arguments: *const c_void) -> bool;
    fn csflowd_trunk_bf16(name: *const c_char, x: i32, y: i32, z: i32, arguments: *const c_void) -> bool;
    fn csflowd_flow_f32(name: *const c_char, x: i32, y: i32, z: i32, arguments: *const c_void) -> bool;
    fn csflowd_flow_f16(name: *const c_char, x: i32, y: i32, z: i32, arguments: *const c_void) -> bool;
    fn csflowd_flow_bf16(name: *const c_char, x: i32, y: i32, z: i32, arguments: *const c_void) -> bool;
}

// SAFETY: nothing in it hangs on the thread that made it.
#[expect(unsafe_code, reason = "a pointer into C++ goes to the thread that uses it")]
unsafe impl Send for Loaded {}

impl Kernels {
    /// Compiles them if `target` is a GPU. `element` is f32, f16 or bf16.
    #[expect(unsafe_code, reason = "a call into C++")]
    fn new(text: Text, element: Kind, options: &[String], target: &Target) -> Result<Self, TchError> {
        let device = target.device();
        let element_option = format!("-DELEMENT={}", number(element)?);
        let loaded = match target {
            Target::Cpu => None,
            Target::Gpu(gpu) => {
                let whole = format!("{COMMON}{}", text.own());
                let options = [&[element_option], options].concat();
                let code = compiler::compile(&whole, gpu.capability()?, &options)?;
                // SAFETY: it is what the compiler has made, whole; exceptions are caught.
                let made = make(|error| unsafe { (gpu.functions.kernels)(code.as_ptr().cast(), error) })?;
                Some(Loaded { made, gpu: gpu.clone() })
            }
        };
        Ok(Self { text, element, device, loaded })
    }

    /// Runs a kernel in the thread's stream, in so many blocks.
    ///
    /// # Safety
    /// `arguments` are those that the text declares for this kernel, and what they point to lies on this device, as large as the
    /// kernel takes it to be, until the stream has come so far.
    #[expect(unsafe_code, reason = "a call into C++")]
    unsafe fn launch<A>(&self, name: &CStr, grid: [i64; 3], arguments: &A) -> Result<(), TchError> {
        let arguments: *const c_void = std::ptr::from_ref(arguments).cast();
        let [x, y, z] = [int(grid[0])?, int(grid[1])?, int(grid[2])?];
        if let Some(Loaded { made, gpu }) = &self.loaded {
            let (grid, threads) = ([x, y, z], int(THREADS)?);
            // SAFETY: the library and the name live; the rest is for the caller to see to.
            return run(|error| unsafe {
                (gpu.functions.launch)(
                    made.as_ptr(),
                    name.as_ptr(),
                    grid.as_ptr(),
                    threads,
                    arguments,
                    gpu.index,
                    error,
                )
            });
        }
        // SAFETY: the name ends with a zero; the rest is for the caller to see to.
        let is_known = unsafe { (self.text.on_cpu(self.element)?)(name.as_ptr(), x, y, z, arguments) };
        if is_known {
            Ok(())
        } else {
            Err(TchError::Torch(format!("there is no kernel {}", name.to_string_lossy())))
        }
    }

    /// Where a tensor lies that is of this kind and size, in one piece, on the device of these kernels.
    fn place<T>(&self, tensor: &Tensor, kind: Kind, size: &[i64]) -> Result<*mut T, TchError> {
        let is_it = tensor.f_kind()? == kind
            && tensor.size() == size
            && tensor.device() == self.device
            && tensor.is_contiguous();
        if !is_it {
            return Err(TchError::Shape(format!(
                "a kernel wants {kind:?} {size:?} in one piece on {:?}, and got {:?} {:?} on {:?}",
                self.device,
                tensor.f_kind()?,
                tensor.size(),
                tensor.device()
            )));
        }
        Ok(tensor.data_ptr().cast())
    }

    /// A tensor that is yet to be written.
    fn empty(&self, size: &[i64], kind: Kind) -> Result<Tensor, TchError> {
        Tensor::f_empty(size, (kind, self.device))
    }
}

impl Text {
    fn own(self) -> &'static str {
        match self {
            Self::Resize => include_str!("kernels/resize.cu"),
            Self::Trunk => include_str!("kernels/trunk.cu"),
            Self::Flow => include_str!("kernels/flow.cu"),
        }
    }

    fn on_cpu(self, element: Kind) -> Result<OnCpu, TchError> {
        Ok(match (self, number(element)?) {
            (Self::Resize, _) => csflowd_resize_f32,
            (Self::Trunk, 0) => csflowd_trunk_f32,
            (Self::Trunk, 1) => csflowd_trunk_f16,
            (Self::Trunk, _) => csflowd_trunk_bf16,
            (Self::Flow, 0) => csflowd_flow_f32,
            (Self::Flow, 1) => csflowd_flow_f16,
            (Self::Flow, _) => csflowd_flow_bf16,
        })
    }
}

impl Drop for Loaded {
    #[expect(unsafe_code, reason = "a call into C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart, and is freed once.
        unsafe { (self.gpu.functions.kernels_free)(self.made.as_ptr()) }
    }
}

/// As `common.cuh` counts kinds.
fn number(element: Kind) -> Result<i32, TchError> {
    match element {
        Kind::Float => Ok(0),
        Kind::Half => Ok(1),
        Kind::BFloat16 => Ok(2),
        other => Err(TchError::Kind(format!("no kernel is of {other:?}"))),
    }
}

/// As the kernels count.
fn int(n: i64) -> Result<i32, TchError> {
    i32::try_from(n).map_err(|_| TchError::Shape(format!("{n} is more than a kernel counts")))
}

/// Blocks for so many threads.
fn blocks(threads: i64) -> i64 {
    (threads + THREADS - 1) / THREADS
}

#[cfg(test)]
mod tests;
