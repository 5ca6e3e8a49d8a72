//! Whether a second network fits beside the one in use.
//!
//! An estimate, on the safe side: what does not fit by it is refused with both numbers. A GPU that runs out of memory
//! all the same refuses the load by itself; a machine that does kills the daemon.

use std::fs;
use std::path::Path;

use crate::config::engine::Device;
use crate::cuda::{self, Gpu};
use crate::engine::LoadError;

/// A bundle's bytes are in memory as the file and as tensors while it is read. On the CPU they are then in the bundle and
/// packed, until the latter is all that is left.
const COPIES_ON_CPU: u64 = 2;
const COPIES_ON_GPU: u64 = 1;

/// For what a network needs while it judges.
const WORKSPACE: u64 = 256 << 20;

/// An error if the bundle needs more on the device than there is.
pub fn check(bundle: &Path, device: Device) -> Result<(), LoadError> {
    // A file that is not there is for the reader to tell.
    let Ok(bytes) = fs::metadata(bundle).map(|found| found.len()) else { return Ok(()) };
    let (device, name) = cuda::open(device)?;
    let (copies, free) = match device {
        tch::Device::Cuda(index) => {
            // Where that cannot be, what libtorch keeps counts as taken.
            drop(Gpu::open(index).and_then(|gpu| gpu.empty_cache()));
            (COPIES_ON_GPU, cuda::free_memory(index))
        }
        _ => (COPIES_ON_CPU, free_memory()),
    };
    let needed = copies * bytes + WORKSPACE;
    match free {
        Some(free) if free < needed => {
            Err(LoadError::NoRoom { device: name, needed_mb: needed >> 20, free_mb: free >> 20 })
        }
        Some(_) | None => Ok(()),
    }
}

/// Bytes that this process may still take; None where the system does not say.
fn free_memory() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).ok();
    let machine = kilobytes(&read("meminfo")?, "MemAvailable:")?;
    let process = read("self/limits").zip(read("self/status"));
    let process = process.and_then(|(limits, status)| below_limit(&limits, &status));
    Some([group(), process].into_iter().flatten().fold(machine, u64::min))
}

/// A line of `/proc/meminfo` or of a process' `status`, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What `LimitDATA=` of systemd, or `ulimit -d`, leaves; None without such a limit.
fn below_limit(limits: &str, status: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max data size"))?;
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(kilobytes(status, "VmData:")?))
}

/// What is left below the limits of the control groups that this process is in.
fn group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let read = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).ok();
    let folder = root.join(own);
    let left = |folder: &Path| {
        left(&read(folder, "memory.max")?, &read(folder, "memory.current")?, &read(folder, "memory.stat")?)
    };
    folder.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(left).min()
}

/// None without a limit. Files in the page cache give way.
fn left(max: &str, current: &str, stat: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let cache = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")).and_then(number);
    Some((number(max)? + cache.unwrap_or(0)).saturating_sub(number(current)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_its_groups_and_the_process_limits_leave_is_read() {
        let meminfo = "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    9000 kB\n";
        assert_eq!(kilobytes(meminfo, "MemAvailable:"), Some(9000 * 1024));
        assert_eq!(kilobytes("MemTotal: 1 kB\n", "MemAvailable:"), None);
        assert_eq!(left("1000\n", "900\n", "anon 1\ninactive_file 300\n"), Some(400));
        assert_eq!(left("1000\n", "1900\n", ""), Some(0));
        assert_eq!(left("max\n", "900\n", ""), None);
        let limits = "Max cpu time              unlimited            unlimited            seconds\n\
                      Max data size             10000                unlimited            bytes\n";
        assert_eq!(below_limit(limits, "VmSize: 99 kB\nVmData:\t    4 kB\n"), Some(10_000 - 4096));
        assert_eq!(below_limit(limits, "VmData: 40 kB\n"), Some(0));
        assert_eq!(below_limit("Max data size unlimited unlimited bytes\n", "VmData: 4 kB\n"), None);
        assert!(free_memory().is_some(), "this machine says");
    }
}
