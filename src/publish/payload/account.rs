//! The account of triggers as one message tells it: read once, so that each message balances by itself.

use std::sync::atomic::Ordering::Relaxed;

use crate::health::Counters;
use crate::verdict::Reason;

/// `triggers = ok + not_ok + not_decidable + not_inspected() + open`.
pub(super) struct Account {
    pub(super) triggers: u64,
    pub(super) ok: u64,
    pub(super) not_ok: u64,
    pub(super) not_decidable: u64,
    by_reason: [u64; Reason::ALL.len()],
    pub(super) open: u64,
}

impl Account {
    /// The counters move while they are read. Triggers are read last, so there are never fewer of them than
    /// verdicts, and `open` is the difference.
    pub(super) fn read(counters: &Counters) -> Self {
        let outcomes = &counters.outcomes;
        let ok = outcomes.ok.load(Relaxed);
        let not_ok = outcomes.not_ok.load(Relaxed);
        let not_decidable = outcomes.not_decidable.load(Relaxed);
        let by_reason = Reason::ALL.map(|reason| outcomes.not_inspected(reason));
        let closed = ok + not_ok + not_decidable + by_reason.iter().sum::<u64>();
        let triggers = counters.triggers.load(Relaxed).max(closed);
        Self { triggers, ok, not_ok, not_decidable, by_reason, open: triggers - closed }
    }

    pub(super) fn not_inspected(&self) -> u64 {
        self.by_reason.iter().sum()
    }

    pub(super) fn by_reason(&self, reason: Reason) -> u64 {
        Reason::ALL.iter().zip(self.by_reason).filter(|(known, _)| **known == reason).map(|(_, n)| n).sum()
    }
}
