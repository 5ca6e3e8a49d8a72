//! Everything with a thread, a camera, a broker or a process in it, in one binary.

#[cfg(test)]
mod config;
