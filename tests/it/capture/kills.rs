//! A camera that is gone in mid-stream, again and again.

use std::time::Duration;

use csflowd::config::camera::Camera;
use csflowd::frame::Captured;
use csflowd::health::CameraState;

use super::run;

/// Frames between two kills.
const FRAMES: usize = 20;

/// What came of it.
pub(super) struct Kills {
    /// The frames of each life of the camera.
    pub(super) lives: Vec<Vec<Captured>>,
    /// How long there was none in between.
    without: Vec<Duration>,
}

impl Kills {
    /// How often it is killed: more for a longer trial.
    pub(super) fn asked_for(least: usize) -> usize {
        std::env::var("CSFLOWD_KILLS").map_or(least, |text| text.parse().unwrap())
    }

    pub(super) fn tell(mut self, what: &str) {
        self.without.sort_unstable();
        let [p50, most] = [self.without.len() / 2, self.without.len() - 1].map(|at| self.without[at]);
        println!("{what} {} times: no frame for {p50:.2?} (p50), {most:.2?} (max)", self.without.len());
    }
}

/// Lets a camera run, and `kill`s it each time it has been back for some frames; it must come back by itself.
#[track_caller]
pub(super) fn with_kills(camera: &Camera, count: usize, kill: &mut dyn FnMut()) -> Kills {
    // How many frames there were when it was killed, and how often it had come back.
    let mut killed: Vec<(usize, usize)> = Vec::new();
    let record = run(camera, &mut |record| {
        let (frames, reconnects) = (record.frames.len(), record.reconnects_told());
        let is_back = killed.last().is_none_or(|&(_, before)| reconnects > before);
        if !is_back || frames < killed.last().map_or(0, |&(frames, _)| frames) + FRAMES {
            return false;
        }
        if killed.len() == count {
            return true;
        }
        kill();
        killed.push((frames, reconnects));
        false
    });
    assert!(record.lost() >= count, "{:?}", record.events);
    // It may be lost once more while it starts.
    let reconnects = record.reconnects_told();
    assert!(reconnects >= count && record.state == Some(CameraState::Running), "{:?}", record.events);
    let lives = lives(record.frames, reconnects);
    let without = lives.windows(2).map(|two| two[1][0].at.since(two[0][two[0].len() - 1].at)).collect();
    Kills { lives, without }
}

/// The frames of each life of a camera: the longest times without one are between them.
fn lives(mut frames: Vec<Captured>, losses: usize) -> Vec<Vec<Captured>> {
    let mut starts: Vec<usize> = (1..frames.len()).collect();
    starts.sort_by_key(|&at| std::cmp::Reverse(frames[at].at.since(frames[at - 1].at)));
    starts.truncate(losses);
    starts.sort_unstable();
    let mut lives: Vec<Vec<Captured>> = starts.iter().rev().map(|&start| frames.split_off(start)).collect();
    lives.push(frames);
    lives.reverse();
    lives
}
