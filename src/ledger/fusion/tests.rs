//! Parts of two cameras, by hand and by chance.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::frame::{CameraId, CaptureClock};

const WINDOW: u64 = 50;
const DEADLINE: u64 = 300;

const MISSING: Outcome = Outcome::NotInspected(Reason::ViewMissing);
const TIMEOUT: Outcome = Outcome::NotInspected(Reason::Timeout);
const AMBIGUOUS: Outcome = Outcome::NotInspected(Reason::TriggerAmbiguous);

/// Long after the station has started.
fn ms(ms: u64) -> Duration {
    Duration::from_millis(10_000 + ms)
}

/// Cameras 0 and 1 make a part; camera 2 is in no group. Both have shown a part long ago.
fn fusion() -> Fusion {
    let mut fusion = just_started();
    fusion.groups[0].shown = vec![Some(Duration::ZERO); 2];
    fusion
}

fn just_started() -> Fusion {
    Fusion::new(&[Group { name: "cover".into(), cameras: vec![0, 1], window: Duration::from_millis(WINDOW) }])
}

fn key(camera: usize, number: u64) -> TriggerKey {
    TriggerKey { camera, number }
}

fn trigger(key: TriggerKey, at: u64) -> Trigger {
    Trigger {
        key,
        camera: CameraId::new("any").unwrap(),
        published_number: 0,
        is_numbered_by_plc: false,
        part_id: None,
        captured: Moment { mono: ms(at), utc: SystemTime::UNIX_EPOCH },
        clock: CaptureClock::Arrival,
        deadline: ms(DEADLINE),
    }
}

fn named(key: TriggerKey, at: u64, part: &str) -> Trigger {
    Trigger { part_id: Some(PartId::new(part).unwrap()), ..trigger(key, at) }
}

fn open(fusion: &mut Fusion, trigger: &Trigger) -> Vec<Outcome> {
    let due = trigger.captured.mono + Duration::from_millis(DEADLINE);
    fusion.opened(trigger, due).into_iter().map(|fused| fused.outcome).collect()
}

fn decide(fusion: &mut Fusion, key: TriggerKey, outcome: Outcome) -> Vec<Outcome> {
    fusion.decided(key, outcome).into_iter().map(|fused| fused.outcome).collect()
}

fn expire(fusion: &mut Fusion, at: u64) -> Vec<Outcome> {
    fusion.expire(ms(at)).into_iter().map(|fused| fused.outcome).collect()
}

#[test]
fn a_part_is_ok_only_when_all_its_views_are() {
    let mut fusion = fusion();
    assert!(open(&mut fusion, &trigger(key(0, 0), 0)).is_empty());
    assert!(open(&mut fusion, &trigger(key(1, 0), 40)).is_empty());
    assert!(decide(&mut fusion, key(1, 0), Outcome::Good).is_empty());
    assert_eq!(decide(&mut fusion, key(0, 0), Outcome::Good), [Outcome::Good]);
    assert!(expire(&mut fusion, 1000).is_empty());
    assert_eq!(fusion.open(), 0);
}

#[test]
fn one_bad_view_is_enough_and_is_told_at_once() {
    let mut fusion = fusion();
    open(&mut fusion, &trigger(key(1, 0), 0));
    let told = fusion.decided(key(1, 0), Outcome::Anomalous);
    assert_eq!((told[0].outcome, told[0].worst, told[0].views), (Outcome::Anomalous, Some(1), 1));
    assert!(open(&mut fusion, &trigger(key(0, 0), 10)).is_empty(), "it belongs to the part that was told");
    assert!(decide(&mut fusion, key(0, 0), Outcome::Good).is_empty());
    assert!(expire(&mut fusion, 1000).is_empty());
}

#[test]
fn a_view_that_was_not_looked_at_or_not_decidable_is_no_ok() {
    for worse in [Outcome::Undecidable, Outcome::NotInspected(Reason::FrameCorrupt)] {
        let mut fusion = fusion();
        open(&mut fusion, &trigger(key(0, 0), 0));
        open(&mut fusion, &trigger(key(1, 0), 0));
        assert!(decide(&mut fusion, key(0, 0), worse).is_empty(), "the other may be worse yet");
        assert_eq!(decide(&mut fusion, key(1, 0), Outcome::Good), [worse]);
    }
}

#[test]
fn at_the_deadline_a_view_that_never_came_is_missing_and_one_without_answer_timed_out() {
    let mut fusion = fusion();
    open(&mut fusion, &trigger(key(0, 0), 0));
    decide(&mut fusion, key(0, 0), Outcome::Good);
    assert_eq!(fusion.next_expiry(), Some(ms(DEADLINE)));
    assert!(expire(&mut fusion, DEADLINE - 1).is_empty());
    assert_eq!(expire(&mut fusion, DEADLINE), [MISSING]);

    open(&mut fusion, &trigger(key(0, 1), 1000));
    open(&mut fusion, &trigger(key(1, 1), 1010));
    decide(&mut fusion, key(0, 1), Outcome::Good);
    assert_eq!(expire(&mut fusion, 1000 + DEADLINE), [TIMEOUT]);
    assert!(decide(&mut fusion, key(1, 1), Outcome::Good).is_empty(), "a part is told of once");
}

#[test]
fn two_parts_within_a_window_are_ambiguous_unless_the_plc_names_them() {
    let mut fusion = fusion();
    open(&mut fusion, &trigger(key(0, 0), 0));
    assert_eq!(open(&mut fusion, &trigger(key(0, 1), 30)), [AMBIGUOUS, AMBIGUOUS]);
    assert!(open(&mut fusion, &trigger(key(1, 0), 40)).iter().all(|&outcome| outcome == AMBIGUOUS));

    let mut fusion = self::fusion();
    open(&mut fusion, &named(key(0, 0), 0, "A"));
    open(&mut fusion, &named(key(0, 1), 30, "B"));
    open(&mut fusion, &named(key(1, 0), 35, "B"));
    open(&mut fusion, &named(key(1, 1), 36, "A"));
    decide(&mut fusion, key(0, 0), Outcome::Good);
    decide(&mut fusion, key(1, 0), Outcome::Anomalous);
    let told = fusion.decided(key(1, 1), Outcome::Good);
    assert_eq!(told[0].part_id, Some(PartId::new("A").unwrap()));
    assert_eq!(told[0].outcome, Outcome::Good);
}

#[test]
fn a_picture_without_a_name_beside_a_named_part_makes_that_one_doubtful_and_none_of_its_own() {
    let mut fusion = fusion();
    open(&mut fusion, &named(key(0, 0), 0, "A"));
    assert_eq!(open(&mut fusion, &trigger(key(0, 1), 10)), [AMBIGUOUS]);
    assert!(decide(&mut fusion, key(0, 1), AMBIGUOUS).is_empty() && expire(&mut fusion, 1000).is_empty());
}

#[test]
fn two_pictures_of_one_camera_for_one_named_part_are_ambiguous() {
    let mut fusion = fusion();
    open(&mut fusion, &named(key(0, 0), 0, "A"));
    assert_eq!(open(&mut fusion, &named(key(0, 1), 10, "A")), [AMBIGUOUS, AMBIGUOUS]);
}

#[test]
fn a_camera_that_lags_does_not_give_its_view_to_the_next_part() {
    // Parts come every 70 ms, which is too often, camera 1 lags by 40, and camera 0 misses the second part.
    let mut fusion = fusion();
    let mut told = Vec::new();
    for (camera, number, at) in [(0, 0, 0), (1, 0, 40), (1, 1, 110), (0, 1, 140), (1, 2, 180)] {
        told.extend(expire(&mut fusion, at));
        told.extend(open(&mut fusion, &trigger(key(camera, number), at)));
        told.extend(decide(&mut fusion, key(camera, number), Outcome::Good));
    }
    assert_eq!(told[0], Outcome::Good, "{told:?}");
    assert!(told[1..].iter().all(|&outcome| outcome == AMBIGUOUS), "{told:?}");
}

#[test]
fn a_camera_that_comes_in_while_others_are_at_work_has_no_part_yet() {
    let mut fusion = just_started();
    assert!(open(&mut fusion, &trigger(key(1, 0), 0)).is_empty());
    assert_eq!(open(&mut fusion, &trigger(key(0, 0), 30)), [AMBIGUOUS]);
    open(&mut fusion, &trigger(key(0, 1), 500));
    open(&mut fusion, &trigger(key(1, 1), 520));
    decide(&mut fusion, key(0, 1), Outcome::Good);
    assert_eq!(decide(&mut fusion, key(1, 1), Outcome::Good), [Outcome::Good]);
}

#[test]
fn what_one_command_asked_for_belongs_together() {
    let mut fusion = just_started();
    open(&mut fusion, &trigger(key(1, 0), 0));
    open(&mut fusion, &trigger(key(0, 0), 0));
    decide(&mut fusion, key(1, 0), Outcome::Good);
    assert_eq!(decide(&mut fusion, key(0, 0), Outcome::Good), [Outcome::Good]);
}

#[test]
fn the_plcs_number_is_the_parts_else_parts_are_counted() {
    let mut fusion = fusion();
    let numbered = Trigger { published_number: 77, is_numbered_by_plc: true, ..trigger(key(0, 0), 0) };
    open(&mut fusion, &numbered);
    open(&mut fusion, &trigger(key(0, 1), 500));
    let numbers: Vec<u64> = fusion.abandon().iter().map(|fused| fused.number).collect();
    assert_eq!(numbers, [77, 1]);
}

#[test]
fn a_camera_of_no_group_is_no_part() {
    let mut fusion = fusion();
    assert!(open(&mut fusion, &trigger(key(2, 0), 0)).is_empty());
    assert!(decide(&mut fusion, key(2, 0), Outcome::Anomalous).is_empty());
    assert_eq!(fusion.next_expiry(), None);
}

/// A view: when it comes, which camera, how long until its verdict, and what that is.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: u64,
    camera: usize,
    takes: u64,
    outcome: Outcome,
}

fn any_views() -> impl Strategy<Value = Vec<Seen>> {
    let outcome = prop_oneof![
        5 => Just(Outcome::Good),
        1 => Just(Outcome::Anomalous),
        1 => Just(Outcome::Undecidable),
        1 => Just(Outcome::NotInspected(Reason::ModelError)),
    ];
    let seen = (0_u64..150, 0_usize..2, 1_u64..400, outcome);
    prop::collection::vec(seen, 0..20).prop_map(|steps| {
        let mut now = 0;
        let view = |(step, camera, takes, outcome)| {
            now += step;
            Seen { at: now, camera, takes, outcome }
        };
        steps.into_iter().map(view).collect()
    })
}

proptest! {
    #[test]
    fn each_view_makes_part_of_one_verdict_and_ok_means_that_every_camera_said_so(views in any_views()) {
        let mut fusion = fusion();
        let mut told: Vec<Fused> = Vec::new();
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for (name, view) in views.iter().enumerate() {
            events.push((view.at, true, name));
            // The ledger itself answers at a view's deadline.
            events.push((view.at + view.takes.min(DEADLINE), false, name));
        }
        events.sort_unstable_by_key(|&(at, opens, name)| (at, !opens, name));
        for (at, opens, name) in events {
            told.extend(fusion.expire(ms(at)));
            let (view, key) = (views[name], key(views[name].camera, name as u64));
            told.extend(if opens {
                fusion.opened(&trigger(key, view.at), ms(view.at + DEADLINE))
            } else {
                fusion.decided(key, if view.takes > DEADLINE { TIMEOUT } else { view.outcome })
            });
            prop_assert!(fusion.groups[0].parts.len() <= views.len());
        }
        told.extend(fusion.abandon());
        prop_assert_eq!(fusion.open(), 0);
        prop_assert_eq!(told.len() as u64, fusion.groups[0].counted, "one verdict for each part");
        for part in &told {
            let near: Vec<&Seen> =
                views.iter().filter(|view| ms(view.at).abs_diff(part.captured.mono) <= Duration::from_millis(WINDOW)).collect();
            if part.outcome == Outcome::Good {
                for camera in [0, 1] {
                    let mut own = near.iter().filter(|view| view.camera == camera);
                    prop_assert!(own.any(|view| view.outcome == Outcome::Good), "camera {camera} of {part:?}");
                }
            }
        }
    }
}

/// One part: how long after the one before, how long camera 1 lags, and which of the two views is lost.
type Passing = (u64, u64, [bool; 2]);

fn any_line() -> impl Strategy<Value = Vec<Passing>> {
    let is_lost = || prop::bool::weighted(0.2);
    prop::collection::vec((2 * WINDOW + 1..400, 0..=WINDOW, [is_lost(), is_lost()]), 1..20)
}

proptest! {
    #[test]
    fn no_ok_is_put_together_from_two_parts(line in any_line(), first_at_zero: bool) {
        let mut fusion = just_started();
        // When, which camera, which part.
        let mut views: Vec<(u64, usize, usize)> = Vec::new();
        let (mut now, mut whole) = (0, Vec::new());
        for (part, &(after, lag, lost)) in line.iter().enumerate() {
            // A lag that varies comes out of the time between the parts.
            now += after + WINDOW;
            let times = if first_at_zero { [now, now + lag] } else { [now + lag, now] };
            whole.push((times, !lost[0] && !lost[1]));
            views.extend([0, 1].into_iter().filter(|&camera| !lost[camera]).map(|camera| (times[camera], camera, part)));
        }
        views.sort_unstable();
        let mut told: Vec<Fused> = Vec::new();
        for (at, camera, part) in views {
            told.extend(fusion.expire(ms(at)));
            let key = key(camera, part as u64);
            told.extend(fusion.opened(&trigger(key, at), ms(at + DEADLINE)));
            told.extend(fusion.decided(key, Outcome::Good));
        }
        told.extend(fusion.abandon());
        let good: Vec<_> = told.iter().filter(|part| part.outcome == Outcome::Good).collect();
        for fused in &good {
            let own = whole.iter().find(|(times, _)| times.iter().any(|&at| ms(at) == fused.captured.mono));
            prop_assert!(own.is_some_and(|(_, is_whole)| *is_whole), "{fused:?} of {line:?}");
        }
        // And what is whole passes, but for the first that each camera sees.
        let expected = whole.iter().filter(|(_, is_whole)| *is_whole).count();
        prop_assert!(good.len() + 2 >= expected, "{} of {expected}", good.len());
    }
}
