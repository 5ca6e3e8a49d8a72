//! All counters of a run, or of many: what `counters` tells since start, and over the station's lifetime.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::Account;
use crate::health::{Health, Outcomes};
use crate::verdict::Reason;

/// `triggers = ok + not_ok + not_decidable + sum of not_inspected + open`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Totals {
    pub triggers: u64,
    pub ok: u64,
    pub not_ok: u64,
    pub not_decidable: u64,
    pub not_inspected: NotInspected,
    /// Triggers without a verdict yet.
    pub open: u64,
    /// Parts that several cameras see, by their one verdict.
    pub parts: Parts,
    /// Scores that came after their deadline.
    pub late: u64,
    /// Verdicts and results handed to the broker, repeats included.
    pub published: u64,
    /// Of these, acknowledged by the broker.
    pub acknowledged: u64,
    /// Results handed to the broker that did not go out at once, or not for sure.
    pub replayed: u64,
    /// Verdicts that were not sent because the broker was away; their results follow.
    pub verdicts_unsent: u64,
    /// Results given up unacknowledged because there was no room for more.
    pub results_dropped: u64,
    /// Results that were damaged on disk.
    pub results_lost: u64,
    /// Writes to disk that a crash had cut short, found at the next start.
    pub torn_tails: u64,
    /// Events that stand in the log alone.
    pub events_dropped: u64,
    /// How often a camera was lost and came back.
    pub camera_reconnects: u64,
}

/// Triggers that ended with a code, by code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct NotInspected {
    pub no_frame: u64,
    pub frame_corrupt: u64,
    pub frame_dropped: u64,
    pub frame_frozen: u64,
    pub timeout: u64,
    pub model_error: u64,
    pub device_lost: u64,
    pub image_out_of_range: u64,
    pub not_ready: u64,
    pub view_missing: u64,
    pub trigger_ambiguous: u64,
}

/// Parts that several cameras see, by their one verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Parts {
    pub ok: u64,
    pub not_ok: u64,
    pub not_decidable: u64,
    pub not_inspected: u64,
}

impl Totals {
    /// The counters of this run.
    pub fn read(health: &Health) -> Self {
        let counters = &health.counters;
        let account = Account::read(counters);
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Self {
            triggers: account.triggers,
            ok: account.ok,
            not_ok: account.not_ok,
            not_decidable: account.not_decidable,
            not_inspected: NotInspected::new(&account),
            open: account.open,
            parts: Parts::read(&health.parts),
            late: get(&counters.late),
            published: get(&counters.published),
            acknowledged: get(&counters.acknowledged),
            replayed: get(&counters.replayed),
            verdicts_unsent: get(&counters.verdicts_unsent),
            results_dropped: get(&counters.results_dropped),
            results_lost: get(&counters.results_lost),
            torn_tails: get(&counters.torn_tails),
            events_dropped: get(&counters.events_dropped),
            camera_reconnects: health.cameras.iter().map(|camera| get(&camera.reconnects)).sum(),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            triggers: self.triggers.saturating_add(other.triggers),
            ok: self.ok.saturating_add(other.ok),
            not_ok: self.not_ok.saturating_add(other.not_ok),
            not_decidable: self.not_decidable.saturating_add(other.not_decidable),
            not_inspected: self.not_inspected.plus(&other.not_inspected),
            open: self.open.saturating_add(other.open),
            parts: self.parts.plus(&other.parts),
            late: self.late.saturating_add(other.late),
            published: self.published.saturating_add(other.published),
            acknowledged: self.acknowledged.saturating_add(other.acknowledged),
            replayed: self.replayed.saturating_add(other.replayed),
            verdicts_unsent: self.verdicts_unsent.saturating_add(other.verdicts_unsent),
            results_dropped: self.results_dropped.saturating_add(other.results_dropped),
            results_lost: self.results_lost.saturating_add(other.results_lost),
            torn_tails: self.torn_tails.saturating_add(other.torn_tails),
            events_dropped: self.events_dropped.saturating_add(other.events_dropped),
            camera_reconnects: self.camera_reconnects.saturating_add(other.camera_reconnects),
        }
    }

    /// Without the triggers that a killed process left open: nobody answers them any more.
    #[must_use]
    pub fn without_open(self) -> Self {
        Self { triggers: self.triggers.saturating_sub(self.open), open: 0, ..self }
    }
}

impl Parts {
    fn read(outcomes: &Outcomes) -> Self {
        Self {
            ok: outcomes.ok.load(Relaxed),
            not_ok: outcomes.not_ok.load(Relaxed),
            not_decidable: outcomes.not_decidable.load(Relaxed),
            not_inspected: Reason::ALL.map(|reason| outcomes.not_inspected(reason)).iter().sum(),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            ok: self.ok.saturating_add(other.ok),
            not_ok: self.not_ok.saturating_add(other.not_ok),
            not_decidable: self.not_decidable.saturating_add(other.not_decidable),
            not_inspected: self.not_inspected.saturating_add(other.not_inspected),
        }
    }
}

impl NotInspected {
    fn new(account: &Account) -> Self {
        Self {
            no_frame: account.by_reason(Reason::NoFrame),
            frame_corrupt: account.by_reason(Reason::FrameCorrupt),
            frame_dropped: account.by_reason(Reason::FrameDropped),
            frame_frozen: account.by_reason(Reason::FrameFrozen),
            timeout: account.by_reason(Reason::Timeout),
            model_error: account.by_reason(Reason::ModelError),
            device_lost: account.by_reason(Reason::DeviceLost),
            image_out_of_range: account.by_reason(Reason::ImageOutOfRange),
            not_ready: account.by_reason(Reason::NotReady),
            view_missing: account.by_reason(Reason::ViewMissing),
            trigger_ambiguous: account.by_reason(Reason::TriggerAmbiguous),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            no_frame: self.no_frame.saturating_add(other.no_frame),
            frame_corrupt: self.frame_corrupt.saturating_add(other.frame_corrupt),
            frame_dropped: self.frame_dropped.saturating_add(other.frame_dropped),
            frame_frozen: self.frame_frozen.saturating_add(other.frame_frozen),
            timeout: self.timeout.saturating_add(other.timeout),
            model_error: self.model_error.saturating_add(other.model_error),
            device_lost: self.device_lost.saturating_add(other.device_lost),
            image_out_of_range: self.image_out_of_range.saturating_add(other.image_out_of_range),
            not_ready: self.not_ready.saturating_add(other.not_ready),
            view_missing: self.view_missing.saturating_add(other.view_missing),
            trigger_ambiguous: self.trigger_ambiguous.saturating_add(other.trigger_ambiguous),
        }
    }
}
