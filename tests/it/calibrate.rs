//! The threshold's guarantee, tried on many draws, and the command that finds it again.

mod command;
mod coverage;
pub(crate) mod laws;
