//! `counters`: the whole account since start and over the station's lifetime, retained.

use std::sync::atomic::Ordering::Relaxed;

use schemars::JsonSchema;
use serde::Serialize;

use super::totals::{NotInspected, Parts, Totals};
use super::{Origin, VERSION, text, to_json, unix_time};
use crate::clock::Moment;
use crate::health::Health;

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
    /// Parts that several cameras see, by their one verdict.
    parts: Parts,
    /// Scores that came after their deadline.
    late: u64,
    /// Verdicts and results handed to the broker, repeats included. A result is safe on disk before.
    published: u64,
    /// Of these, acknowledged by the broker.
    acknowledged: u64,
    /// Results handed to the broker that did not go out at once, or not for sure.
    replayed: u64,
    /// Verdicts that were not sent because the broker was away; their results follow.
    verdicts_unsent: u64,
    /// Results that wait for the broker's acknowledgement, those of earlier runs included.
    results_queued: u64,
    /// Results given up unacknowledged because there was no room for more.
    results_dropped: u64,
    /// Results that were damaged on disk.
    results_lost: u64,
    /// Writes to disk that a crash had cut short, found at this start.
    torn_tails: u64,
    /// Events that stand in the log alone.
    events_dropped: u64,
    commands_accepted: u64,
    commands_refused: u64,
    /// How often a camera was lost and came back.
    camera_reconnects: u64,
    /// The same over all runs. A killed run's last seconds are missing.
    lifetime: Totals,
    /// When it was sent, seconds since 1970, UTC.
    ts_s: u32,
}

/// What the publisher alone knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    pub last_seq: Option<u64>,
    /// What the runs before this one have counted.
    pub before: Totals,
}

pub fn encode(origin: &Origin<'_>, health: &Health, delivery: Delivery, now: Moment) -> Vec<u8> {
    let since_start = Totals::read(health);
    to_json(&Payload {
        v: VERSION,
        station: text(origin.station),
        boot_id: text(origin.boot_id),
        uptime_s: now.mono.as_secs(),
        last_seq: delivery.last_seq,
        triggers: since_start.triggers,
        ok: since_start.ok,
        not_ok: since_start.not_ok,
        not_decidable: since_start.not_decidable,
        not_inspected: since_start.not_inspected,
        open: since_start.open,
        parts: since_start.parts,
        late: since_start.late,
        published: since_start.published,
        acknowledged: since_start.acknowledged,
        replayed: since_start.replayed,
        verdicts_unsent: since_start.verdicts_unsent,
        results_queued: health.outbox.waiting.load(Relaxed),
        results_dropped: since_start.results_dropped,
        results_lost: since_start.results_lost,
        torn_tails: since_start.torn_tails,
        events_dropped: since_start.events_dropped,
        commands_accepted: health.counters.commands_accepted.load(Relaxed),
        commands_refused: health.counters.commands_refused.load(Relaxed),
        camera_reconnects: since_start.camera_reconnects,
        lifetime: delivery.before.plus(&since_start),
        ts_s: unix_time(now.utc).0,
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{ORIGIN, moment};
    use super::*;
    use crate::publish::schema::{Kind, assert_valid};
    use crate::verdict::{Outcome, Reason};

    #[test]
    fn the_account_balances_and_every_reason_has_a_key() {
        let health = Health::new([]);
        health.counters.triggers.store(14, Relaxed);
        health.parts.count(Outcome::Anomalous);
        for outcome in Reason::ALL.map(Outcome::NotInspected).into_iter().chain([Outcome::Good]) {
            health.counters.outcomes.count(outcome);
        }
        health.outbox.waiting.store(1, Relaxed);
        let before = Totals { triggers: 1000, not_ok: 1000, ..Totals::default() };
        let delivery = Delivery { last_seq: Some(4711), before };
        let bytes = encode(&ORIGIN, &health, delivery, moment(65_000));
        assert_valid(Kind::Counters, &bytes);
        assert_snapshot!(String::from_utf8(bytes).unwrap(), @r#"{"v":1,"station":"cell-2","boot_id":"01K7000000000000000000BOOT","uptime_s":65,"last_seq":4711,"triggers":14,"ok":1,"not_ok":0,"not_decidable":0,"not_inspected":{"no_frame":1,"frame_corrupt":1,"frame_dropped":1,"frame_frozen":1,"timeout":1,"model_error":1,"device_lost":1,"image_out_of_range":1,"not_ready":1,"view_missing":1,"trigger_ambiguous":1},"open":2,"parts":{"ok":0,"not_ok":1,"not_decidable":0,"not_inspected":0},"late":0,"published":0,"acknowledged":0,"replayed":0,"verdicts_unsent":0,"results_queued":1,"results_dropped":0,"results_lost":0,"torn_tails":0,"events_dropped":0,"commands_accepted":0,"commands_refused":0,"camera_reconnects":0,"lifetime":{"triggers":1014,"ok":1,"not_ok":1000,"not_decidable":0,"not_inspected":{"no_frame":1,"frame_corrupt":1,"frame_dropped":1,"frame_frozen":1,"timeout":1,"model_error":1,"device_lost":1,"image_out_of_range":1,"not_ready":1,"view_missing":1,"trigger_ambiguous":1},"open":2,"parts":{"ok":0,"not_ok":1,"not_decidable":0,"not_inspected":0},"late":0,"published":0,"acknowledged":0,"replayed":0,"verdicts_unsent":0,"results_dropped":0,"results_lost":0,"torn_tails":0,"events_dropped":0,"camera_reconnects":0},"ts_s":1760000065}"#);
    }
}
