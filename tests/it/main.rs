//! Everything with a thread, a camera, a broker or a process in it, in one binary.

#[cfg(test)]
mod calibrate;
#[cfg(test)]
mod capture;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod config;
#[cfg(test)]
mod evaluate;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod golden;
#[cfg(test)]
#[cfg(feature = "aravis")]
mod lens;
#[cfg(test)]
mod mosquitto;
#[cfg(test)]
mod msa;
#[cfg(test)]
mod network;
#[cfg(test)]
mod process;
#[cfg(test)]
mod publish;
#[cfg(test)]
mod rtsp;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod train;
