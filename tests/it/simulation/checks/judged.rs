//! What must hold for each judgement: the trigger's own picture, judged by what was in force when it came.

use std::time::Duration;

use csflowd::config::camera::Frames;
use csflowd::verdict::{Judgement, Outcome, Reason, Verdict};

use super::super::detector::{self, GUARD_BAND, NETWORKS};
use super::super::station::Stop;
use super::{Checked, Checks, DISTURBED, Opened, SLACK, hold};

impl Checks {
    /// The picture is the trigger's own, and the outcome that of the rules that held.
    pub(super) fn is_rightly_judged(&mut self, opened: &Opened, verdict: &Verdict, now: Duration) -> Checked {
        let Judgement { outcome, score, recipe, .. } = &verdict.judgement;
        let Some(score) = *score else {
            hold!(matches!(outcome, Outcome::NotInspected(_)), "no score, and yet {verdict:?}");
            return self.is_rightly_not_judged(opened, *outcome);
        };
        self.judged += 1;
        let found = |shot: usize| {
            let of = |&network: &usize| detector::score(self.shots[shot].class, shot, network) == Some(score);
            (0..NETWORKS).find(of)
        };
        let of_shot = |(&(_, shown), &shot): (&(usize, Duration), &usize)| Some((shown, shot, found(shot)?));
        let Some((shown, shot, network)) = self.shown.iter().find_map(of_shot) else {
            return Err(format!("a picture that was never shown: {verdict:?}"));
        };
        self.is_its_own(opened, shot, shown, now)?;
        let Some(recipe) = recipe else { return Err(format!("a score without a recipe: {verdict:?}")) };
        let mut in_force = self.in_force(opened.trigger.captured.mono, opened.by).flatten();
        let Some(product) = in_force.find(|&product| recipe.product == detector::name(product)) else {
            return Err(format!("judged by {}, not by what was in force: {opened:?}", recipe.product));
        };
        hold!(network == detector::network(product), "the network {network} judged {verdict:?}");
        let threshold = detector::threshold(product);
        let expected = if score > threshold {
            Outcome::Anomalous
        } else if score <= threshold - GUARD_BAND {
            Outcome::Good
        } else {
            Outcome::Undecidable
        };
        hold!(*outcome == expected, "{score} against {threshold} is {expected:?}, not {outcome:?}");
        Ok(())
    }

    /// What was in force when a trigger came, between `at` and `by`; at the very moment of a change, both.
    pub(super) fn in_force(&self, at: Duration, by: Duration) -> impl Iterator<Item = Option<usize>> + '_ {
        let since = self.products.iter().rposition(|&(since, _)| since < at).unwrap_or(0);
        let held = self.products[since..].iter().take_while(move |&&(since, _)| since <= by);
        held.map(|&(_, product)| product)
    }

    fn is_its_own(&self, opened: &Opened, shot: usize, shown: Duration, now: Duration) -> Checked {
        let (picture, captured) = (self.shots[shot], opened.trigger.captured.mono);
        let camera = opened.trigger.key.camera;
        hold!(picture.camera == camera, "the picture of another camera for {opened:?}");
        let Some(rule) = self.script.cameras[camera].rule() else {
            hold!(shown == captured, "the picture of {shown:?} for {opened:?}");
            return Ok(());
        };
        hold!(rule.fits(captured, shown), "the picture of {shown:?} does not fit {opened:?}");
        let mut fitting = self.fitting(opened);
        match rule.frames {
            Frames::Stream => {
                hold!(fitting.next().is_some_and(|(_, first)| first == shot), "not the first for {opened:?}");
            }
            // Two that fit are ambiguous, wherever it is not too late for that.
            Frames::Pulse => {
                let other = fitting.find(|&(at, other)| other != shot && at + SLACK < now);
                hold!(other.is_none(), "{other:?} fits too: {opened:?}, shot {shot}");
            }
        }
        let claims = |other: &&Opened| {
            let (key, came) = (other.trigger.key, other.trigger.captured.mono);
            let is_another = key.camera == camera && key != opened.trigger.key;
            is_another
                && other.trigger.is_numbered_by_plc
                && came + SLACK < now
                && match rule.frames {
                    Frames::Pulse => rule.fits(came, shown),
                    Frames::Stream => self.fitting(other).next().is_some_and(|(_, first)| first == shot),
                }
        };
        let other = self.opened.values().find(claims);
        hold!(other.is_none(), "{other:?} claims the picture too: {opened:?}, shot {shot}");
        hold!(
            rule.frames == Frames::Stream || !self.is_strict(captured) || picture.part == opened.part,
            "the picture of a neighbour, {picture:?}, for {opened:?}"
        );
        Ok(())
    }

    /// Whether no other part was near.
    fn is_strict(&self, at: Duration) -> bool {
        self.script.is_spaced && self.disturbed.is_none_or(|disturbed| disturbed + DISTURBED < at)
    }

    /// Moments and numbers of the pictures that may answer a command.
    fn fitting(&self, opened: &Opened) -> impl Iterator<Item = (Duration, usize)> {
        let (camera, came) = (opened.trigger.key.camera, opened.trigger.captured.mono);
        let rule = self.script.cameras[camera].rule();
        let here = self.shown.range((camera, Duration::ZERO)..=(camera, Duration::MAX));
        here.map(|(&(_, at), &shot)| (at, shot))
            .filter(move |&(at, _)| rule.is_some_and(|rule| rule.fits(came, at)))
    }

    /// Whether a sensor fired the camera a while before, and no command of that moment is known.
    fn follows_an_orphan(&self, opened: &Opened) -> bool {
        let (camera, came) = (opened.trigger.key.camera, opened.trigger.captured.mono);
        let Some(rule) = self.script.cameras[camera].rule() else { return false };
        let of_camera =
            self.opened.values().map(|other| &other.trigger).filter(|other| other.key.camera == camera);
        let commands: Vec<Duration> =
            of_camera.filter(|other| other.is_numbered_by_plc).map(|other| other.captured.mono).collect();
        let since = came.saturating_sub(rule.window + Duration::from_millis(1100));
        rule.frames == Frames::Pulse
            && self
                .shown
                .range((camera, since)..(camera, came))
                .any(|(&(_, at), _)| !commands.iter().any(|&came| rule.fits(came, at)))
    }

    /// What has a product in force is looked at, or it is said why not; unless nobody is left who could look.
    fn may_be_not_ready(&self, opened: &Opened) -> bool {
        let is_ready =
            self.in_force(opened.trigger.captured.mono, opened.by).all(|product| product.is_some());
        let is_commanded = self.script.cameras[opened.trigger.key.camera].rule().is_some();
        !is_ready
            || match self.stop {
                None => false,
                Some(Stop::BySignal | Stop::DeviceLost) => true,
                // No command tells any more whose the last pictures are.
                Some(Stop::OfCameras) => is_commanded,
            }
    }

    fn is_rightly_not_judged(&self, opened: &Opened, outcome: Outcome) -> Checked {
        let is_not_ready = outcome == Outcome::NotInspected(Reason::NotReady);
        hold!(!is_not_ready || self.may_be_not_ready(opened), "not ready, and yet it was: {opened:?}");
        if !opened.trigger.is_numbered_by_plc || !self.is_strict(opened.trigger.captured.mono) {
            return Ok(());
        }
        let has_picture = self.fitting(opened).next().is_some();
        match outcome {
            Outcome::NotInspected(Reason::NoFrame) => hold!(!has_picture, "a picture was there: {opened:?}"),
            Outcome::NotInspected(Reason::TriggerAmbiguous) if self.follows_an_orphan(opened) => {}
            Outcome::NotInspected(Reason::TriggerAmbiguous) => {
                return Err(format!("nothing is ambiguous about {opened:?}"));
            }
            _ => {}
        }
        Ok(())
    }
}
