//! Errors of libtorch, which tch turns into panics, turned back into errors.
//!
//! Everywhere else a panic is a bug and ends the process: the panic hook aborts unless [`is_guarded`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::TchError;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a libtorch error in it comes back as its first line.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    // What `work` borrows is only read again by the caller, who is told that it failed.
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    result.map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("unknown error");
        first_line(text)
    })
}

/// The same for work whose errors come either way.
pub fn catch_both<T>(work: impl FnOnce() -> Result<T, TchError>) -> Result<T, String> {
    catch(work)?.map_err(|error| first_line(&error.to_string()))
}

/// Whether this thread's panic will be caught by [`catch`].
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// libtorch appends a page of C++ frames, and tch quotes the whole with `\n` spelled out.
fn first_line(text: &str) -> String {
    let text = text.rsplit_once("Torch(\"").map_or(text, |(_, torch)| torch);
    let text = text.strip_prefix("Internal torch error: ").unwrap_or(text);
    text.split("\\n").next().unwrap_or(text).lines().next().unwrap_or(text).trim_end_matches("\")").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn a_libtorch_error_comes_back_as_one_line() {
        let two = Tensor::zeros([2], (Kind::Float, Device::Cpu));
        let three = Tensor::zeros([3], (Kind::Float, Device::Cpu));
        let cause = catch(|| &two + &three).unwrap_err();
        assert!(cause.starts_with("The size of tensor a (2) must match"), "{cause}");
        assert!(!cause.contains('\n') && !cause.contains("\\n"), "{cause}");
        assert!(!is_guarded());
    }
}
