//! What was written in the files, and what it means.

pub mod camera;
pub mod engine;
pub mod mqtt;
pub mod product;
pub mod station;
