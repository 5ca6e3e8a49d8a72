//! Cameras that are triggered by command: an entry opens when the command comes, and the frame is looked for.
//!
//! One thread for all of them. It never waits for a camera or for inference.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, never, select};
use tracing::warn;

use crate::clock::Clock;
use crate::command::{Command, Order};
use crate::config::camera::Matching;
use crate::frame::{CaptureClock, Captured};
use crate::intake::matching::{self, Decision, Matcher};
use crate::intake::{Intake, Opened, Shown};
use crate::verdict::Reason;

/// Without anything to wait for, the thread looks round this often.
const IDLE: Duration = Duration::from_millis(500);

/// The commanded cameras of a station.
#[derive(Debug, Default)]
pub struct Commanded<'a> {
    views: Vec<View<'a>>,
}

#[derive(Debug)]
struct View<'a> {
    camera: usize,
    intake: Intake<'a>,
    rule: Matching,
    /// Fires the camera, if csflowd does.
    fire: Option<Sender<()>>,
    matcher: Matcher<Opened, Shown>,
}

impl<'a> Commanded<'a> {
    /// `camera` is the position in the configuration; `fire` takes a picture of a camera that csflowd fires.
    pub fn add(&mut self, camera: usize, mut intake: Intake<'a>, rule: Matching, fire: Option<Sender<()>>) {
        intake.is_commanded = true;
        self.views.push(View { camera, intake, rule, fire, matcher: Matcher::new(rule) });
    }

    /// When to call [`Commanded::expire`] at the latest.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.views.iter().filter_map(|view| view.matcher.next_expiry()).min()
    }

    /// Opens an entry for each camera that a trigger command means; it was checked that there is one.
    pub fn command(&mut self, command: &Command) {
        let Order::Trigger { camera, part, number } = &command.order else { return };
        let meant = |view: &&mut View<'_>| camera.as_ref().is_none_or(|camera| *camera == view.intake.id);
        for view in self.views.iter_mut().filter(meant) {
            let Some(trigger) = view.intake.open((command.at, CaptureClock::Arrival), part.clone(), *number)
            else {
                continue;
            };
            // A camera that has not taken the last ones yet is lost or hangs: the command will find no frame.
            if view.fire.as_ref().is_some_and(|fire| fire.try_send(()).is_err()) {
                warn!(camera = %view.intake.id, "a camera that does not take a picture when it is fired");
            }
            let decisions = view.matcher.command(trigger, command.at.mono);
            view.carry_out(decisions);
        }
    }

    /// A frame of `camera`.
    pub fn captured(&mut self, camera: usize, captured: Captured) {
        if let Some(view) = self.views.iter_mut().find(|view| view.camera == camera) {
            let at = captured.at.mono;
            let is_frozen = view.intake.is_frozen(&captured);
            let decisions = view.matcher.frame((captured, is_frozen), at);
            view.carry_out(decisions);
        }
    }

    /// Ends what has waited too long.
    pub fn expire(&mut self, now: Duration) {
        for view in &mut self.views {
            let decisions = view.matcher.expire(now);
            view.carry_out(decisions);
        }
    }

    /// Ends all that waits.
    pub fn abandon(&mut self) {
        for view in &mut self.views {
            let decisions = view.matcher.abandon();
            view.carry_out(decisions);
        }
    }
}

impl View<'_> {
    fn carry_out(&mut self, decisions: Vec<Decision<Opened, Shown>>) {
        for decision in decisions {
            match decision {
                Decision::Answered { command, frame } => {
                    let sure_from = matching::sure_from(self.rule, frame.0.at.mono);
                    self.intake.show(command, frame, sure_from);
                }
                Decision::Unanswered { command, reason } => self.intake.answer(command.trigger.key, reason),
                Decision::Unnamed { frame: (frame, _) } => {
                    if let Some(Opened { trigger, .. }) =
                        self.intake.open((frame.at, frame.clock), frame.part_id, None)
                    {
                        warn!(camera = %trigger.camera, "a frame that no single command names");
                        self.intake.answer(trigger.key, Reason::TriggerAmbiguous);
                    }
                }
            }
        }
    }
}

/// Carries commands out until the last of the cameras has ended.
pub fn run(
    mut commanded: Commanded<'_>,
    commands: &Receiver<Command>,
    frames: &Receiver<(usize, Captured)>,
    clock: &dyn Clock,
) {
    let (mut commands, no_commands) = (commands, never());
    loop {
        let wait = commanded.next_expiry().map_or(IDLE, |at| at.saturating_sub(clock.now().mono).min(IDLE));
        select! {
            recv(commands) -> command => match command {
                Ok(command) => commanded.command(&command),
                Err(_) => commands = &no_commands,
            },
            recv(frames) -> frame => {
                let Ok((camera, captured)) = frame else {
                    // Accepted before the end: answered like all the others.
                    commands.try_iter().for_each(|command| commanded.command(&command));
                    return commanded.abandon();
                };
                commanded.captured(camera, captured);
            }
            default(wait) => {}
        }
        // What waits in the channels may belong to what is about to expire.
        let now = clock.now().mono;
        while let Ok(command) = commands.try_recv() {
            commanded.command(&command);
        }
        while let Ok((camera, captured)) = frames.try_recv() {
            commanded.captured(camera, captured);
        }
        commanded.expire(now);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::clock::StoppedClock;
    use crate::config::camera::Frames;
    use crate::frame::CameraId;
    use crate::health::Health;
    use crate::intake::queue::queue;
    use crate::ledger::Report;

    #[test]
    fn a_command_that_was_accepted_when_the_last_camera_ended_is_answered() {
        // Which of two channels is looked at first is drawn: often enough for both.
        for _ in 0..64 {
            let id = CameraId::new("top").unwrap();
            let health = Health::new([id.clone()]);
            let (reports_in, reports) = bounded(16);
            let intake = Intake::new(0, id, None, &health, reports_in, queue(1).0);
            let mut commanded = Commanded::default();
            let window = Duration::from_millis(100);
            commanded.add(
                0,
                intake,
                Matching { frames: Frames::Stream, early: Duration::ZERO, window },
                None,
            );
            let (commands_in, commands) = bounded(1);
            let order = Order::Trigger { camera: None, part: None, number: Some(7) };
            commands_in.send(Command { order, id: None, at: StoppedClock.now() }).unwrap();
            let (frames_in, frames) = bounded(1);
            drop(frames_in);
            run(commanded, &commands, &frames, &StoppedClock);
            let reports: Vec<_> = reports.iter().collect();
            assert!(matches!(reports[..], [Report::Opened(_), Report::Closed { .. }]), "{reports:?}");
        }
    }
}
