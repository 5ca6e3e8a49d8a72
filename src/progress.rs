//! Progress of long work: a bar on a terminal, plain lines now and then elsewhere. Always on standard error, so
//! that standard output holds results only.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where there is no terminal, lines come at most this often.
const LINE_PAUSE: Duration = Duration::from_secs(10);

/// Progress of one piece of work.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    is_terminal: bool,
    last_line: Option<Duration>,
}

impl Progress {
    pub fn start(what: &'static str, steps: usize) -> Self {
        let target = ProgressDrawTarget::stderr();
        let is_terminal = !target.is_hidden();
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        let style = "{prefix} [{bar:30}] {pos}/{len}, {eta} left {wide_msg}";
        bar.set_style(
            ProgressStyle::with_template(style).expect("the template is a constant").progress_chars("=> "),
        );
        bar.set_prefix(what);
        Self { bar, what, is_terminal, last_line: None }
    }

    /// Of work that nobody knows the end of.
    pub fn start_open(what: &'static str) -> Self {
        let progress = Self::start(what, 0);
        progress.bar.unset_length();
        let style = "{prefix} {pos} in {elapsed} {wide_msg}";
        progress.bar.set_style(ProgressStyle::with_template(style).expect("the template is a constant"));
        progress
    }

    /// A line that stays, above the bar if there is one.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// `done` steps are done; `note` says what is known now.
    pub fn set(&mut self, done: usize, note: &str) {
        self.bar.set_position(done as u64);
        self.bar.set_message(note.to_owned());
        let elapsed = self.bar.elapsed();
        let is_due = self.last_line.is_none_or(|last| elapsed.saturating_sub(last) >= LINE_PAUSE);
        if !self.is_terminal && is_due {
            self.last_line = Some(elapsed);
            let left = self.bar.eta().as_secs();
            let line = match self.bar.length() {
                Some(all) => format!("{} {done}/{all}, {left} s left {note}", self.what),
                None => format!("{} {done} {note}", self.what),
            };
            say(line.trim_end());
        }
    }

    /// `done` steps need no doing: the time left is reckoned from the others.
    pub fn skip_to(&self, done: usize) {
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
    }

    /// Like [`Progress::set`], but worth a line of its own where there is no terminal, however soon it comes.
    pub fn milestone(&mut self, done: usize, note: &str) {
        self.last_line = None;
        self.set(done, note);
    }

    /// The work is done; `result` stays on the screen.
    pub fn finish(&self, result: &str) {
        let seconds = self.bar.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        say(&format!("{} done in {seconds:.1} s: {result}", self.what));
    }
}

/// A line for people on standard error.
pub fn say(line: &str) {
    // Nobody is left to tell if standard error is closed.
    drop(writeln!(std::io::stderr(), "{line}"));
}
