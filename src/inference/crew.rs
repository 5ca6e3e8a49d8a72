//! Everything that frames may still have to be judged by: the product in force, and the one before it until its last
//! frame is judged.

use std::sync::Arc;

use crate::engine::EngineError;
use crate::frame::{Generation, Lease, Size};
use crate::inference::rules::Rules;
use crate::inference::{Inspector, Network};
use crate::roi::Roi;

/// What one generation of frames is judged by.
struct Duty {
    /// While others have it too, frames of this generation may come.
    lease: Lease,
    rules: Rules,
    /// Names its network.
    network: u64,
    /// The last size of a frame that the ROI is not drawn on.
    odd_size: Option<Size>,
}

struct Post {
    number: u64,
    network: Network,
    /// What the network counts of each frame.
    roi: Option<Arc<Roi>>,
}

/// At most two of each in operation.
#[derive(Default)]
pub(super) struct Crew {
    /// The last is in force, unless it was dismissed.
    duties: Vec<Duty>,
    posts: Vec<Post>,
    is_dismissed: bool,
    numbers: u64,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew")
            .field("duties", &self.duties.len())
            .field("posts", &self.posts.len())
            .finish_non_exhaustive()
    }
}

/// A network that stands as the rules beside it want it.
pub(super) struct OnDuty<'a> {
    pub(super) network: &'a mut Network,
    pub(super) rules: &'a Rules,
    pub(super) odd_size: &'a mut Option<Size>,
}

impl Crew {
    /// From now on there are frames for this one.
    pub(super) fn install(&mut self, lease: Lease, inspector: Inspector) {
        let Inspector { detector, rules, notes: _ } = inspector;
        self.numbers += 1;
        self.posts.push(Post { number: self.numbers, network: detector, roi: rules.roi.clone() });
        self.duties.push(Duty { lease, rules, network: self.numbers, odd_size: None });
        self.is_dismissed = false;
    }

    /// From now on there are frames for these rules and the network in use. What fails changes nothing.
    pub(super) fn follow(&mut self, lease: Lease, rules: Rules) -> Result<(), EngineError> {
        let post = self.posts.last_mut().ok_or_else(|| EngineError::Failed("there is no network".into()))?;
        post.turn_to(rules.roi.as_ref())?;
        self.duties.push(Duty { lease, rules, network: post.number, odd_size: None });
        self.is_dismissed = false;
        Ok(())
    }

    /// No more frames come for the one in force.
    pub(super) fn dismiss(&mut self) {
        self.is_dismissed = true;
    }

    /// What judges frames of this generation; None if there is nothing.
    pub(super) fn on_duty(&mut self, generation: Generation) -> Option<Result<OnDuty<'_>, EngineError>> {
        let duty = self.duties.iter_mut().find(|duty| duty.lease.generation() == generation)?;
        let post = self.posts.iter_mut().find(|post| post.number == duty.network)?;
        if let Err(error) = post.turn_to(duty.rules.roi.as_ref()) {
            return Some(Err(error));
        }
        Some(Ok(OnDuty { network: &mut post.network, rules: &duty.rules, odd_size: &mut duty.odd_size }))
    }

    pub(super) fn rules(&self, generation: Generation) -> Option<&Rules> {
        self.duties.iter().find(|duty| duty.lease.generation() == generation).map(|duty| &duty.rules)
    }

    /// Whether some wait for their last frame.
    pub(super) fn is_retiring(&self) -> bool {
        self.duties.len() > usize::from(!self.is_dismissed)
    }

    /// Lets go of one whose last frame is judged; with its network, if no other needs that.
    pub(super) fn retire(&mut self) -> Option<(Generation, Option<Network>)> {
        let leaving = self.duties.len().saturating_sub(usize::from(!self.is_dismissed));
        let at = self.duties[..leaving].iter().position(|duty| duty.lease.is_last())?;
        let duty = self.duties.remove(at);
        let is_free = |post: &Post| !self.duties.iter().any(|duty| duty.network == post.number);
        let network = self.posts.iter().position(is_free).map(|at| self.posts.remove(at).network);
        Some((duty.lease.generation(), network))
    }
}

impl Post {
    fn turn_to(&mut self, roi: Option<&Arc<Roi>>) -> Result<(), EngineError> {
        if self.roi.as_ref() == roi {
            return Ok(());
        }
        self.network.set_roi(roi.map(AsRef::as_ref))?;
        self.roi = roi.cloned();
        Ok(())
    }
}
