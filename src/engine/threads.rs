//! libtorch's threads on the CPU: how many, and how they wait for one another.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How OpenMP's threads wait, and how often they look before they sleep; read by its library when that is loaded, before
/// `main`. A look takes some 20 ns.
const WAIT: [(&str, &str); 2] = [("OMP_WAIT_POLICY", "passive"), ("GOMP_SPINCOUNT", "2000")];

/// CPU threads of one network run. By default libtorch takes all cores.
pub fn set(threads: i32) {
    tch::set_num_threads(threads);
}

/// All cores but one: libtorch's threads wait for one another hundreds of times in a picture, and one that shares
/// its core with a camera holds up all.
pub fn beside_cameras() -> i32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    i32::try_from(cores).unwrap_or(i32::MAX).saturating_sub(1).max(1)
}

/// How many there are.
pub fn count() -> i32 {
    tch::get_num_threads()
}

/// Does `work` with so many threads.
pub fn with<T>(threads: i32, work: impl FnOnce() -> T) -> T {
    /// Gives back what was before, also when libtorch fails.
    struct Before(i32);
    impl Drop for Before {
        fn drop(&mut self) {
            set(self.0);
        }
    }
    let _before = Before(count());
    set(threads);
    work()
}

/// Makes libtorch's threads sleep while they wait, but for the first moment. Beside a busy neighbour a thread that spins
/// uses up its share of a core by waiting and is then not there when work comes: a training step of 0.3 s was seen to
/// take 20 s. One that sleeps at once costs more to wake, hundreds of times in a picture, than it would have waited.
///
/// The program starts itself anew for that, in the same process and with the same arguments, once and only if the
/// environment says nothing of its own; if that fails it goes on as it is.
pub fn wait_asleep() {
    if WAIT.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut arguments = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Returns only if it failed.
    drop(again.args(arguments).envs(WAIT).exec());
}
