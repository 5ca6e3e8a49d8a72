//! `heartbeat`: once a second, with the account of triggers: it shows that inspection goes on.

use std::sync::atomic::Ordering::Relaxed;

use schemars::JsonSchema;
use serde::Serialize;

use super::account::Account;
use super::{Origin, VERSION, text, to_json, unix_time};
use crate::clock::Moment;
use crate::health::Health;

/// A sign of life. `triggers = ok + not_ok + not_decidable + not_inspected + open`, always.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "csflowd heartbeat", deny_unknown_fields)]
pub struct Payload<'a> {
    /// Version of this layout.
    #[schemars(range(min = 1, max = 1))]
    v: u8,
    /// Counts the heartbeats since start, 31 bits, wraps.
    #[schemars(range(max = 2_147_483_647))]
    beat: u32,
    #[schemars(length(max = 64))]
    station: &'a str,
    /// Triggers since start.
    triggers: u64,
    ok: u64,
    not_ok: u64,
    not_decidable: u64,
    /// Triggers that ended with a code: nobody looked at the part, or nobody can say what was seen.
    not_inspected: u64,
    /// Triggers without a verdict yet.
    open: u64,
    /// Scores that came after their deadline.
    late: u64,
    /// Verdicts and results handed to the broker, repeats included. A result is safe on disk before.
    published: u64,
    /// Of these, acknowledged by the broker.
    acknowledged: u64,
    /// Results handed to the broker that did not go out at once, or not for sure.
    replayed: u64,
    /// Results that wait for the broker's acknowledgement, those of earlier runs included.
    results_queued: u64,
    /// Results given up unacknowledged because there was no room for more.
    results_dropped: u64,
    /// When it was sent, seconds since 1970, UTC.
    ts_s: u32,
}

pub fn encode(origin: &Origin<'_>, health: &Health, beat: u32, now: Moment) -> Vec<u8> {
    let counters = &health.counters;
    let account = Account::read(counters);
    to_json(&Payload {
        v: VERSION,
        beat: beat & 0x7fff_ffff,
        station: text(origin.station),
        triggers: account.triggers,
        ok: account.ok,
        not_ok: account.not_ok,
        not_decidable: account.not_decidable,
        not_inspected: account.not_inspected(),
        open: account.open,
        late: counters.late.load(Relaxed),
        published: counters.published.load(Relaxed),
        acknowledged: counters.acknowledged.load(Relaxed),
        replayed: counters.replayed.load(Relaxed),
        results_queued: health.outbox.waiting.load(Relaxed),
        results_dropped: counters.results_dropped.load(Relaxed),
        ts_s: unix_time(now.utc).0,
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::samples::{ORIGIN, moment};
    use super::*;
    use crate::publish::schema::{Kind, assert_valid};
    use crate::verdict::Outcome;

    #[test]
    fn a_heartbeat_balances_whatever_open_said_when_it_was_read() {
        let health = Health::new([]);
        health.counters.triggers.store(3, Relaxed);
        health.counters.outcomes.count(Outcome::Anomalous);
        let bytes = encode(&ORIGIN, &health, u32::MAX, moment(1000));
        assert_valid(Kind::Heartbeat, &bytes);
        assert_snapshot!(String::from_utf8(bytes).unwrap(), @r#"{"v":1,"beat":2147483647,"station":"cell-2","triggers":3,"ok":0,"not_ok":1,"not_decidable":0,"not_inspected":0,"open":2,"late":0,"published":0,"acknowledged":0,"replayed":0,"results_queued":0,"results_dropped":0,"ts_s":1760000001}"#);
    }
}
