//! The libraries that are opened when a CUDA device is wanted: libtorch's, and that of `graphs.cpp` and `kernels.cpp`, whose bytes
//! are part of the program.

use std::ffi::{c_char, c_void};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};
use tch::TchError;

/// Empty where CUDA's headers were not there to build it.
const OWN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/csflowd_cuda.so"));

type Error = *mut c_char;
type Made = *mut c_void;

/// The functions of `graphs.cpp` and `kernels.cpp`, where each is told about, as long as this lives.
#[derive(Debug)]
pub(super) struct Functions {
    _library: Library,
    pub(super) stream: unsafe extern "C" fn(device: i32, error: Error) -> Made,
    pub(super) stream_free: unsafe extern "C" fn(stream: Made),
    pub(super) stream_enter: unsafe extern "C" fn(stream: Made, error: Error) -> Made,
    pub(super) stream_leave: unsafe extern "C" fn(entered: Made, error: Error) -> bool,
    pub(super) stream_fork: unsafe extern "C" fn(stream: Made, error: Error) -> bool,
    pub(super) stream_join: unsafe extern "C" fn(stream: Made, error: Error) -> bool,
    pub(super) empty_cache: unsafe extern "C" fn(device: i32, error: Error) -> bool,
    pub(super) graph: unsafe extern "C" fn(other: Made, error: Error) -> Made,
    pub(super) graph_free: unsafe extern "C" fn(graph: Made),
    pub(super) graph_begin: unsafe extern "C" fn(graph: Made, error: Error) -> bool,
    pub(super) graph_end: unsafe extern "C" fn(graph: Made, error: Error) -> bool,
    pub(super) graph_replay: unsafe extern "C" fn(graph: Made, error: Error) -> bool,
    pub(super) capability: unsafe extern "C" fn(device: i32, error: Error) -> i32,
    pub(super) kernels: unsafe extern "C" fn(code: *const c_void, error: Error) -> Made,
    pub(super) kernels_free: unsafe extern "C" fn(kernels: Made),
    pub(super) launch: unsafe extern "C" fn(
        kernels: Made,
        name: *const c_char,
        grid: *const i32,
        threads: i32,
        argument: *const c_void,
        device: i32,
        error: Error,
    ) -> bool,
    pub(super) pinned: unsafe extern "C" fn(bytes: u64, error: Error) -> Made,
    pub(super) pinned_free: unsafe extern "C" fn(made: Made),
}

/// libtorch's CUDA part. It stays open.
#[expect(unsafe_code, reason = "opening a shared library runs its initialisers")]
pub(super) fn open_torch() -> Result<(), String> {
    // SAFETY: libtorch_cuda comes from the same libtorch that this binary is linked to; its initialisers register
    // kernels and have no precondition. The handle is forgotten on purpose, so it is never unloaded.
    let opened = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    let library = opened.map_err(|error| error.to_string())?;
    let _: Made = library.into_raw();
    Ok(())
}

impl Functions {
    /// Once libtorch's CUDA part is open.
    pub(super) fn open() -> Result<Self, TchError> {
        open_own().map_err(TchError::Torch)
    }
}

#[expect(unsafe_code, reason = "opening a shared library runs its initialisers")]
fn open_own() -> Result<Functions, String> {
    if OWN.is_empty() {
        return Err("csflowd was built without CUDA's headers, which make setup fetches".to_owned());
    }
    let file = in_memory(OWN).map_err(|error| format!("no file in memory: {error}"))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: these are the bytes that build.rs has made of two files that have no initialiser of their own.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| error.to_string())?;
    found(library)
}

/// A file that nobody else sees, wherever the program may write.
fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let made = rustix::fs::memfd_create("csflowd_cuda", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(made);
    file.write_all(bytes)?;
    Ok(file)
}

#[expect(unsafe_code, reason = "a function of a shared library is what we say it is")]
fn found(library: Library) -> Result<Functions, String> {
    fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, String> {
        let name = format!("csflowd_{name}\0");
        // SAFETY: the types in `Functions` are those in graphs.cpp and kernels.cpp.
        unsafe { library.get::<T>(name.as_bytes()) }.map(|symbol| *symbol).map_err(|error| error.to_string())
    }
    Ok(Functions {
        stream: symbol(&library, "stream")?,
        stream_free: symbol(&library, "stream_free")?,
        stream_enter: symbol(&library, "stream_enter")?,
        stream_leave: symbol(&library, "stream_leave")?,
        stream_fork: symbol(&library, "stream_fork")?,
        stream_join: symbol(&library, "stream_join")?,
        empty_cache: symbol(&library, "empty_cache")?,
        graph: symbol(&library, "graph")?,
        graph_free: symbol(&library, "graph_free")?,
        graph_begin: symbol(&library, "graph_begin")?,
        graph_end: symbol(&library, "graph_end")?,
        graph_replay: symbol(&library, "graph_replay")?,
        capability: symbol(&library, "capability")?,
        kernels: symbol(&library, "kernels")?,
        kernels_free: symbol(&library, "kernels_free")?,
        launch: symbol(&library, "launch")?,
        pinned: symbol(&library, "pinned")?,
        pinned_free: symbol(&library, "pinned_free")?,
        _library: library,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::cuda::Gpu;
    use crate::cuda::stream::Stream;

    /// The names that a library has or wants.
    fn names(library: &Path, which: &str) -> Vec<String> {
        let nm =
            Command::new("nm").args(["--dynamic", which]).arg(library).output().expect("binutils are there");
        assert!(nm.status.success(), "{}", String::from_utf8_lossy(&nm.stderr));
        let lines = String::from_utf8_lossy(&nm.stdout).into_owned();
        // Weak names may be missing.
        let name = |line: &str| {
            let mut words = line.split_whitespace().rev();
            let (name, kind) = (words.next()?, words.next()?);
            (kind != "w").then(|| name.split('@').next().unwrap_or(name).to_owned())
        };
        lines.lines().filter_map(name).collect()
    }

    #[test]
    fn all_that_it_calls_is_in_the_libtorch_that_it_is_built_for() {
        let libtorch = option_env!("LIBTORCH").map(|libtorch| Path::new(libtorch).join("lib"));
        let Some(libtorch) = libtorch.filter(|folder| folder.join("libtorch_cuda.so").exists()) else {
            println!("skipped: there is no libtorch_cuda.so");
            return;
        };
        if OWN.is_empty() {
            println!("skipped: built without CUDA's headers");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("csflowd_cuda.so");
        std::fs::write(&own, OWN).unwrap();
        let there: HashSet<String> = ["libtorch_cuda.so", "libtorch_cpu.so", "libc10_cuda.so", "libc10.so"]
            .iter()
            .flat_map(|name| names(&libtorch.join(name), "--defined-only"))
            .collect();
        let wanted = names(&own, "--undefined-only");
        let of_torch: Vec<&String> =
            wanted.iter().filter(|name| name.contains("c10") || name.contains("2at4cuda")).collect();
        assert!(of_torch.len() > 10, "{wanted:?}");
        let missing: Vec<&&String> = of_torch.iter().filter(|name| !there.contains(**name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn it_opens_where_libtorch_s_cuda_part_does_and_elsewhere_that_is_an_error() {
        if OWN.is_empty() {
            println!("skipped: built without CUDA's headers");
            return;
        }
        let is_there = open_torch().is_ok();
        match open_own() {
            Ok(_) => assert!(is_there),
            Err(error) => {
                assert!(!is_there, "{error}");
                assert!(!error.is_empty() && !error.contains('\n'), "{error}");
            }
        }
        // A device that is not there, or no library: an error, and no panic.
        let error = Gpu::open(63).and_then(|gpu| Stream::new(&gpu)).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}
