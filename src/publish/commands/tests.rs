//! Commands as they come, and what is answered.

use std::time::SystemTime;

use crossbeam_channel::{Receiver, bounded};

use super::*;

fn at(ms: u64) -> Moment {
    Moment { mono: Duration::from_millis(ms), utc: SystemTime::UNIX_EPOCH }
}

fn incoming(leaf: &str, payload: &str) -> Incoming {
    Incoming { leaf: leaf.into(), payload: payload.into(), retained: false, repeated: false }
}

/// What `messages`, 2 s apart, lead to: the answers, and the orders that are carried out.
fn outcome(messages: &[Incoming]) -> (Vec<String>, Vec<Order>) {
    let health = Health::new([CameraId::new("top").unwrap(), CameraId::new("side").unwrap()]);
    let (orders, carried_out) = bounded(8);
    let triggered = [CameraId::new("side").unwrap()];
    let desk = Desk {
        orders: &orders,
        triggers: &orders,
        triggered: &triggered,
        has_product: &|name| name == "cover",
    };
    let mut commands = Commands::new(desk, &health, 100, at(0));
    let mut answers = Vec::new();
    for (message, ms) in messages.iter().zip((0..).step_by(2000)) {
        commands.take(message, at(ms));
        let told = commands.next_answer().unwrap().event;
        let said = told.said();
        answers.push(format!("{} {}", said.name, said.text));
        assert!(commands.next_answer().is_none());
    }
    let counted = (&health.counters.commands_accepted, &health.counters.commands_refused);
    assert_eq!(counted.0.load(Relaxed) + counted.1.load(Relaxed), messages.len() as u64);
    (answers, carried_out.try_iter().map(|command| command.order).collect())
}

#[test]
fn a_command_is_carried_out_or_refused_and_always_answered() {
    let (answers, orders) = outcome(&[
        incoming("product", r#"{"product":"cover"}"#),
        incoming("product", r#"{"product":"lid"}"#),
        incoming("trigger", r#"{"camera":"side","part":"A1","trig":7}"#),
        incoming("trigger", r#"{"camera":"top"}"#),
        incoming("trigger", r#"{"camera":"left"}"#),
        incoming("reload", "{"),
        incoming("reload", ""),
    ]);
    insta::assert_debug_snapshot!(answers, @r#"
[
    "COMMAND_ACCEPTED command product accepted",
    "COMMAND_REFUSED command product refused: there is no product lid",
    "COMMAND_ACCEPTED command trigger accepted",
    "COMMAND_REFUSED command trigger refused: camera top is not triggered by command",
    "COMMAND_REFUSED command trigger refused: there is no camera left",
    "COMMAND_REFUSED command reload refused: EOF while parsing an object at line 1 column 1",
    "COMMAND_ACCEPTED command reload accepted",
]
"#);
    assert_eq!(orders.len(), 3, "{orders:?}");
}

#[test]
fn what_was_kept_or_may_be_a_repeat_is_not_carried_out() {
    let reload = |payload, retained, repeated| Incoming { retained, repeated, ..incoming("reload", payload) };
    let (answers, orders) = outcome(&[
        reload("", true, false),
        reload("", false, true),
        reload(r#"{"id":"1"}"#, false, false),
        reload(r#"{"id":"1"}"#, false, true),
        reload(r#"{"id":"1"} "#, false, false),
    ]);
    insta::assert_debug_snapshot!(answers, @r#"
[
    "COMMAND_REFUSED command reload refused: it was retained, so nobody knows how old it is: send commands without retain",
    "COMMAND_REFUSED command reload refused: the broker may have sent it before: give commands an id",
    "COMMAND_ACCEPTED command reload accepted",
    "COMMAND_ACCEPTED command reload was accepted before under this id and is not carried out again",
    "COMMAND_REFUSED command reload refused: its id was used for another command within 10 s",
]
"#);
    assert_eq!(orders, [Order::Reload]);
}

#[test]
fn ids_that_are_counted_round_are_new_again_after_10_s() {
    let trigger = |id: usize, repeated| Incoming {
        repeated,
        ..incoming("trigger", &format!(r#"{{"camera":"side","id":"{id}"}}"#))
    };
    // 2 s apart: 0 comes again after 10 s, 1 after 4 s.
    let (_, orders) = outcome(&[0, 1, 2, 1, 3, 0].map(|id| trigger(id, false)));
    assert_eq!(orders.len(), 5, "{orders:?}");
    // What the broker sends once more is known for longer.
    let messages = (0..6).map(|id| trigger(id, false)).chain([trigger(0, true)]);
    let (answers, orders) = outcome(&messages.collect::<Vec<_>>());
    assert!(answers.last().unwrap().contains("not carried out again"), "{answers:?}");
    assert_eq!(orders.len(), 6);
}

/// What is carried out of `count` reloads at once, the number of answers with one for a mistake a second later, and
/// how many refusals that one tells of.
fn flood(count: u64, places: usize) -> (Receiver<Command>, usize, u64) {
    let health = Health::new([]);
    let (orders, carried_out) = bounded(places);
    let desk = Desk { orders: &orders, triggers: &orders, triggered: &[], has_product: &|_| false };
    let mut commands = Commands::new(desk, &health, 50, at(0));
    (0..count).for_each(|_| commands.take(&incoming("reload", ""), at(0)));
    commands.take(&incoming("stop", ""), at(1000));
    let answers = std::iter::from_fn(|| commands.next_answer()).collect::<Vec<_>>();
    let Event::CommandRefused { untold, .. } = answers.last().unwrap().event else { panic!("{answers:?}") };
    (carried_out, answers.len(), untold)
}

#[test]
fn a_flood_is_cut_off_and_told_once() {
    let (carried_out, answers, untold) = flood(1000, 100);
    assert_eq!((carried_out.len(), answers, untold), (50, 52, 949));
}

#[test]
fn when_nobody_comes_after_the_rest_is_refused() {
    let (carried_out, answers, untold) = flood(10, 4);
    assert_eq!((carried_out.len(), answers, untold), (4, 6, 5));
}
