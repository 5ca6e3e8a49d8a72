//! Which frame answers which trigger command. Pure: moments come from outside, commands and frames are whatever the
//! caller has.
//!
//! The rule is order within a time window. A frame fits a command if it was captured at most `early` before the command
//! came and at most `window` after it. Of a stream a command takes the first frame that fits; of a pulsed camera each
//! frame shows a part, and so all that fit count.
//!
//! Draw a line from each command to each frame that counts for it. A command and a frame with no other line are a pair:
//! the frame answers the command. Whatever hangs together otherwise could be paired in more than one way, so all of it
//! becomes [`Reason::TriggerAmbiguous`], never a guess. A command without a line is [`Reason::NoFrame`].
//!
//! A frame of a pulsed camera that no command names is a part whose command is late or lost. The next command could be its
//! own, so that one is [`Reason::TriggerAmbiguous`] too, if it comes within `window` and a second.
//!
//! A pair is told at once, so that a verdict need not wait for `window` to pass. If something comes later that spoils it,
//! the command is told again, and that counts wherever its verdict has not been given: a good one of a pulsed camera waits
//! until no other command can come for its frame ([`sure_from`]). With more time between two parts than `early` and
//! `window` together, and commands that are never later than their frames by more than `early`, nothing is ambiguous.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::camera::{Frames, Matching};
use crate::verdict::Reason;

/// A command or a frame may take so long from its moment to here.
const HAND_OVER: Duration = Duration::from_millis(20);

/// After a frame without a command, a command that is later than `window` by so much may still be its own.
const LOST: Duration = Duration::from_secs(1);

/// Frames are kept for a time; more than this many at once is a fault of the camera.
const KEPT: usize = 32;

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<C, F> {
    /// The frame shows the command's part.
    Answered { command: C, frame: F },
    /// No frame will be looked at for this command, or, if it was answered before, its answer is in doubt.
    Unanswered { command: C, reason: Reason },
    /// A part was seen that no command names, or more than one.
    Unnamed { frame: F },
}

/// The commands and frames of one camera that something yet to come could be paired with.
#[derive(Debug)]
pub struct Matcher<C, F> {
    rule: Matching,
    /// In the order they came, which is that of their moments but for the time that messages take.
    commands: Vec<Asked<C>>,
    /// In the order of their capture.
    frames: VecDeque<Shown<F>>,
    /// Frames ever given.
    given: u64,
    /// The last frame of a pulsed camera that no command named, until the next command.
    orphan: Option<Duration>,
}

#[derive(Debug)]
struct Asked<C> {
    came: Duration,
    command: C,
    /// Number of the first frame that fits.
    first: Option<u64>,
    state: State,
}

#[derive(Debug)]
struct Shown<F> {
    number: u64,
    captured: Duration,
    /// Until it is handed out.
    frame: Option<F>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Without a line.
    Alone,
    /// With one line, to the other end of a pair.
    Paired,
    Ambiguous,
}

impl<C: Clone, F> Matcher<C, F> {
    pub fn new(rule: Matching) -> Self {
        Self { rule, commands: Vec::new(), frames: VecDeque::new(), given: 0, orphan: None }
    }

    /// When to call [`Matcher::expire`] at the latest.
    pub fn next_expiry(&self) -> Option<Duration> {
        let commands = self.commands.iter().map(|command| last_claim(self.rule, command));
        let frames = self.frames.iter().map(|frame| frame.captured + self.rule.early);
        commands.chain(frames).min().map(|at| at + HAND_OVER)
    }

    /// A command that came at `came`.
    pub fn command(&mut self, command: C, came: Duration) -> Vec<Decision<C, F>> {
        self.commands.push(Asked { came, command, first: None, state: State::Alone });
        let new = self.commands.len() - 1;
        let fits = |frame: &&Shown<F>| self.rule.fits(came, frame.captured);
        self.commands[new].first = self.frames.iter().find(fits).map(|frame| frame.number);
        let frames: Vec<usize> = (0..self.frames.len()).filter(|&frame| self.has_line(new, frame)).collect();
        let mut decisions = Vec::new();
        if self.follows_an_orphan(came) {
            self.doubt_command(new, &mut decisions);
            for frame in frames {
                self.doubt(frame, &mut decisions);
            }
            return decisions;
        }
        match frames[..] {
            [] => {}
            [frame] if self.frames[frame].state == State::Alone => self.pair(new, frame, &mut decisions),
            _ => frames.into_iter().for_each(|frame| self.doubt(frame, &mut decisions)),
        }
        decisions
    }

    /// A frame that was captured at `captured`, not before those given earlier.
    pub fn frame(&mut self, frame: F, captured: Duration) -> Vec<Decision<C, F>> {
        let mut decisions = Vec::new();
        if self.frames.len() == KEPT {
            self.forget_frame(&mut decisions);
        }
        let number = self.given;
        self.given += 1;
        for command in &mut self.commands {
            if command.first.is_none() && self.rule.fits(command.came, captured) {
                command.first = Some(number);
            }
        }
        self.frames.push_back(Shown { number, captured, frame: Some(frame), state: State::Alone });
        let new = self.frames.len() - 1;
        let commands: Vec<usize> =
            (0..self.commands.len()).filter(|&command| self.has_line(command, new)).collect();
        match commands[..] {
            [] => {}
            [command] if self.commands[command].state == State::Alone => {
                self.pair(command, new, &mut decisions);
            }
            _ => self.doubt(new, &mut decisions),
        }
        decisions
    }

    /// Lets go of what nothing can be paired with any more.
    pub fn expire(&mut self, now: Duration) -> Vec<Decision<C, F>> {
        let rule = self.rule;
        let mut decisions = Vec::new();
        for command in self.commands.extract_if(.., |command| last_claim(rule, command) + HAND_OVER <= now) {
            if command.state == State::Alone {
                decisions.push(Decision::Unanswered { command: command.command, reason: Reason::NoFrame });
            }
        }
        while self.frames.front().is_some_and(|frame| frame.captured + rule.early + HAND_OVER <= now) {
            self.forget_frame(&mut decisions);
        }
        decisions
    }

    /// Ends all that waits: the station stops.
    pub fn abandon(&mut self) -> Vec<Decision<C, F>> {
        let mut decisions = Vec::new();
        for command in self.commands.drain(..).filter(|command| command.state == State::Alone) {
            decisions.push(Decision::Unanswered { command: command.command, reason: Reason::NotReady });
        }
        while !self.frames.is_empty() {
            self.forget_frame(&mut decisions);
        }
        decisions
    }

    fn has_line(&self, command: usize, frame: usize) -> bool {
        let (command, frame) = (&self.commands[command], &self.frames[frame]);
        match self.rule.frames {
            Frames::Stream => command.first == Some(frame.number),
            Frames::Pulse => self.rule.fits(command.came, frame.captured),
        }
    }

    fn pair(&mut self, command: usize, frame: usize, decisions: &mut Vec<Decision<C, F>>) {
        let (command, frame) = (&mut self.commands[command], &mut self.frames[frame]);
        (command.state, frame.state) = (State::Paired, State::Paired);
        let frame = frame.frame.take().expect("a frame without a line is still here");
        decisions.push(Decision::Answered { command: command.command.clone(), frame });
    }

    /// A frame that has more than its own line, and the commands at the other ends. Whatever hangs on those was doubted
    /// before, or is a frame that was handed out for them.
    fn doubt(&mut self, frame: usize, decisions: &mut Vec<Decision<C, F>>) {
        for command in 0..self.commands.len() {
            if self.has_line(command, frame) {
                self.doubt_command(command, decisions);
            }
        }
        self.frames[frame].state = State::Ambiguous;
        let taken = self.frames[frame].frame.take();
        decisions.extend(taken.and_then(|frame| self.unnamed(frame)));
    }

    fn doubt_command(&mut self, command: usize, decisions: &mut Vec<Decision<C, F>>) {
        if self.commands[command].state != State::Ambiguous {
            self.commands[command].state = State::Ambiguous;
            let (command, reason) = (self.commands[command].command.clone(), Reason::TriggerAmbiguous);
            decisions.push(Decision::Unanswered { command, reason });
        }
    }

    /// Whether a frame before this command, and after the one before it, has none.
    fn follows_an_orphan(&mut self, came: Duration) -> bool {
        let Matching { frames, early, window } = self.rule;
        let waiting =
            self.frames.iter().filter(|frame| frame.state == State::Alone).map(|frame| frame.captured);
        let last = self.orphan.take().into_iter().chain(waiting).filter(|&at| at + early < came).max();
        // Each counts once.
        for frame in self.frames.iter_mut().filter(|frame| frame.captured + early < came) {
            if frame.state == State::Alone {
                frame.state = State::Ambiguous;
            }
        }
        frames == Frames::Pulse && last.is_some_and(|at| came <= at + window + LOST)
    }

    fn forget_frame(&mut self, decisions: &mut Vec<Decision<C, F>>) {
        let Some(Shown { captured, frame, state, .. }) = self.frames.pop_front() else { return };
        if state == State::Alone {
            self.orphan = Some(captured);
        }
        decisions.extend(frame.and_then(|frame| self.unnamed(frame)));
    }

    /// A frame of a stream that nobody asked for shows no part.
    fn unnamed(&self, frame: F) -> Option<Decision<C, F>> {
        (self.rule.frames == Frames::Pulse).then_some(Decision::Unnamed { frame })
    }
}

/// When it is sure that no other command can come for a frame captured at `captured`.
pub fn sure_from(rule: Matching, captured: Duration) -> Duration {
    match rule.frames {
        Frames::Stream => captured,
        Frames::Pulse => captured + rule.early + HAND_OVER,
    }
}

/// When the last thing comes that could change what becomes of a command: a frame, or another command for its own frame.
fn last_claim<C>(rule: Matching, command: &Asked<C>) -> Duration {
    let early = if command.state == State::Paired { rule.early } else { Duration::ZERO };
    command.came + rule.window + early
}

#[cfg(test)]
mod tests;
