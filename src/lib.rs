//! Cameras in, verdicts out.
//!
//! ```text
//!  camera thread (one each)        inference thread              ledger thread       publish thread
//!  ┌──────────────────┐  Frame    ┌──────────────────┐  Report  ┌──────────┐Verdict ┌─────────┐ MQTT
//!  │ capture ▸ intake │ ────────▶ │ engine ▸ verdict │ ───────▶ │  ledger  │ ─────▶ │ publish │ ────▶
//!  └────────┬─────────┘  bounded  └──────────────────┘ bounded  └──────────┘bounded └─────────┘
//!           └───────────────────── Report ───────────────────────────▲
//! ```
//!
//! A camera's [`capture`] delivers a picture. [`intake`] makes it a trigger: it opens an entry in the [`ledger`], and
//! hands the frame to [`inference`], or answers at once if that cannot be. Inference measures frames with the
//! [`engine`] and judges what was measured by the rules in [`verdict`]. The ledger closes the entry, once; at its
//! deadline it closes it by itself. What leaves the ledger is the verdict, and [`publish`] sends it.
//!
//! [`daemon`] builds this chain and is the only module that knows all of it. A stop request reaches the cameras
//! only; each later stage stops because its input ends. A stage that fails ends its neighbours the same way.
//!
//! Before a picture is scored, [`appearance`] says whether it looks, as a whole, like those learned from.
//!
//! Offline, [`commission`] sets a camera up and records pictures, [`train`] makes a bundle from good parts with the
//! network in [`model`], [`calibrate`] finds its threshold, [`recalibrate`] lets production's good parts join it,
//! [`evaluate`] and [`inspect`] judge image files through the same engine, [`report`] shows an evaluation to people,
//! [`msa`] asks how far the judging repeats, and [`synth`] draws parts.
//!
//! On a CPU, [`engine`] and [`train`] stand on [`cpu`]: convolutions and the optimiser's step, in C++. On an NVIDIA GPU the
//! engine stands on [`cuda`]: streams and graphs, in C++ that is opened where there is one.
//!
//! # Invariants
//!
//! - A score that is not a number, a late, dropped or damaged frame is never good: [`verdict::Outcome`] has no
//!   default, and only [`verdict::Judge`] makes `Good`, from a finite score.
//! - [`verdict`] is pure. [`capture`] and [`publish`] do not know each other, and neither knows [`model`].
//! - Only [`capture`] names GStreamer, only [`publish`] names the MQTT library.
//! - Threads share [`health`] and nothing else. Every queue is bounded, and its line says what happens when it is full.
//! - What lies outside a product's [`roi`] reaches no score, map or region, and a threshold is used with the ROI that it
//!   was calibrated with.
//! - [`frame`]s are copied once, into buffers of a pool, and training, evaluation and the daemon prepare them by the
//!   same function.

pub mod appearance;
pub mod backoff;
pub mod bench;
pub mod calibrate;
pub mod capture;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod command;
pub mod commission;
pub mod config;
pub mod cpu;
pub mod cuda;
pub mod cxx;
pub mod daemon;
pub mod dataset;
pub mod digest;
pub mod engine;
pub mod evaluate;
pub mod events;
pub mod frame;
pub mod health;
pub mod image_file;
pub mod inference;
pub mod inspect;
pub mod intake;
pub mod ledger;
pub mod model;
pub mod msa;
pub mod products;
pub mod progress;
pub mod publish;
pub mod recalibrate;
pub mod report;
pub mod roi;
pub mod shutdown;
pub mod synth;
pub mod telemetry;
pub mod train;
pub mod verdict;
