//! `counters`: the whole account since start, retained.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use schemars::JsonSchema;
use serde::Serialize;

use super::account::Account;
use super::{Origin, VERSION, text, to_json, unix_time};
use crate::clock::Moment;
use crate::health::Counters;
use crate::verdict::Reason;

/// The account. `triggers = ok + not_ok + not_decidable + sum of not_inspected + open`, always.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "csflowd counters", deny_unknown_fields)]
pub struct Payload<'a> {
    /// Version of this layout.
    #[schemars(range(min = 1, max = 1))]
    v: u8,
    #[schemars(length(max = 64))]
    station: &'a str,
    /// Names the run of the daemon that these numbers belong to.
    #[schemars(length(max = 64))]
    boot_id: &'a str,
    /// Seconds since start.
    uptime_s: u64,
    /// Number of the last verdict over all runs: how many the station ever gave. Absent until this run gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seq: Option<u64>,
    /// Triggers since start.
    triggers: u64,
    ok: u64,
    not_ok: u64,
    not_decidable: u64,
    not_inspected: NotInspected,
    /// Triggers without a verdict yet.
    open: u64,
    /// Scores that came after their deadline.
    late: u64,
    /// Verdicts and results handed to the broker, repeats included.
    published: u64,
    /// Of these, acknowledged by the broker.
    acknowledged: u64,
    /// Verdicts that were not sent because the broker was away; their results follow.
    verdicts_unsent: u64,
    /// Results that wait for the broker's acknowledgement.
    results_queued: u64,
    /// Results given up because the broker was away for too long.
    results_dropped: u64,
    /// Events that stand in the log alone.
    events_dropped: u64,
    /// When it was sent, seconds since 1970, UTC.
    ts_s: u32,
}

/// Triggers that ended with a code, by code.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NotInspected {
    no_frame: u64,
    frame_corrupt: u64,
    frame_dropped: u64,
    frame_frozen: u64,
    timeout: u64,
    model_error: u64,
    device_lost: u64,
    image_out_of_range: u64,
    not_ready: u64,
    view_missing: u64,
}

/// What the publisher alone knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    pub last_seq: Option<u64>,
    pub results_queued: usize,
}

pub fn encode(origin: &Origin<'_>, counters: &Counters, delivery: Delivery, now: Moment) -> Vec<u8> {
    let account = Account::read(counters);
    let get = |counter: &AtomicU64| counter.load(Relaxed);
    to_json(&Payload {
        v: VERSION,
        station: text(origin.station),
        boot_id: text(origin.boot_id),
        uptime_s: now.mono.as_secs(),
        last_seq: delivery.last_seq,
        triggers: account.triggers,
        ok: account.ok,
        not_ok: account.not_ok,
        not_decidable: account.not_decidable,
        not_inspected: NotInspected::new(&account),
        open: account.open,
        late: get(&counters.late),
        published: get(&counters.published),
        acknowledged: get(&counters.acknowledged),
        verdicts_unsent: get(&counters.verdicts_unsent),
        results_queued: u64::try_from(delivery.results_queued).unwrap_or(u64::MAX),
        results_dropped: get(&counters.results_dropped),
        events_dropped: get(&counters.events_dropped),
        ts_s: unix_time(now.utc).0,
    })
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
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{ORIGIN, moment};
    use super::*;
    use crate::publish::schema::{Kind, assert_valid};
    use crate::verdict::Outcome;

    #[test]
    fn the_account_balances_and_every_reason_has_a_key() {
        let counters = Counters::default();
        counters.triggers.store(13, Relaxed);
        for outcome in Reason::ALL.map(Outcome::NotInspected).into_iter().chain([Outcome::Good]) {
            counters.count(outcome);
        }
        let delivery = Delivery { last_seq: Some(4711), results_queued: 1 };
        let bytes = encode(&ORIGIN, &counters, delivery, moment(65_000));
        assert_valid(Kind::Counters, &bytes);
        assert_snapshot!(String::from_utf8(bytes).unwrap(), @r#"{"v":1,"station":"cell-2","boot_id":"01K7000000000000000000BOOT","uptime_s":65,"last_seq":4711,"triggers":13,"ok":1,"not_ok":0,"not_decidable":0,"not_inspected":{"no_frame":1,"frame_corrupt":1,"frame_dropped":1,"frame_frozen":1,"timeout":1,"model_error":1,"device_lost":1,"image_out_of_range":1,"not_ready":1,"view_missing":1},"open":2,"late":0,"published":0,"acknowledged":0,"verdicts_unsent":0,"results_queued":1,"results_dropped":0,"events_dropped":0,"ts_s":1760000065}"#);
    }
}
