//! The rule in small, and against all that happened at once.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const EARLY: u64 = 50;
const WINDOW: u64 = 200;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn rule(frames: Frames) -> Matching {
    Matching { frames, early: ms(EARLY), window: ms(WINDOW) }
}

/// What happened, by the names of commands and frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happened {
    Command(u64),
    Frame(u64),
}
use Happened::{Command, Frame};

type Told = Vec<Decision<usize, usize>>;

/// Plays events in order, each at its own moment, and then waits. Commands and frames are named by their position.
fn play(frames: Frames, events: &[Happened]) -> Told {
    let mut matcher = Matcher::new(rule(frames));
    let mut told = Told::new();
    for (name, event) in events.iter().enumerate() {
        match *event {
            Command(at) => {
                told.extend(matcher.expire(ms(at)));
                told.extend(matcher.command(name, ms(at)));
            }
            Frame(at) => {
                told.extend(matcher.expire(ms(at)));
                told.extend(matcher.frame(name, ms(at)));
            }
        }
    }
    told.extend(matcher.expire(Duration::MAX));
    told
}

fn answered(command: usize, frame: usize) -> Decision<usize, usize> {
    Decision::Answered { command, frame }
}

fn unanswered(command: usize, reason: Reason) -> Decision<usize, usize> {
    Decision::Unanswered { command, reason }
}

fn unnamed(frame: usize) -> Decision<usize, usize> {
    Decision::Unnamed { frame }
}

#[test]
fn a_command_gets_the_frame_that_follows_it_or_comes_a_little_before() {
    for frames in [Frames::Stream, Frames::Pulse] {
        assert_eq!(play(frames, &[Command(100), Frame(130)]), [answered(0, 1)]);
        assert_eq!(play(frames, &[Frame(60), Command(100)]), [answered(1, 0)]);
    }
}

#[test]
fn a_command_without_a_frame_in_time_has_none() {
    let late = [Command(100), Frame(100 + WINDOW + 1)];
    assert_eq!(play(Frames::Stream, &late), [unanswered(0, Reason::NoFrame)]);
    assert_eq!(play(Frames::Pulse, &late), [unanswered(0, Reason::NoFrame), unnamed(1)]);
    let old = [Frame(100), Command(100 + EARLY + WINDOW + 1100)];
    assert_eq!(play(Frames::Pulse, &old), [unnamed(0), unanswered(1, Reason::NoFrame)]);
}

#[test]
fn of_a_stream_the_first_frame_that_fits_is_taken_and_the_rest_show_nothing() {
    let events = [Frame(40), Frame(73), Command(100), Frame(106), Frame(140), Command(150)];
    assert_eq!(play(Frames::Stream, &events), [answered(2, 1), answered(5, 3)]);
}

#[test]
fn two_commands_for_one_frame_are_both_in_doubt() {
    let waiting = [Command(100), Command(110), Frame(130)];
    let doubted = [unanswered(0, Reason::TriggerAmbiguous), unanswered(1, Reason::TriggerAmbiguous)];
    assert_eq!(play(Frames::Stream, &waiting), doubted);
    let [first, second] = doubted;
    assert_eq!(play(Frames::Pulse, &waiting), [first, second, unnamed(2)]);

    let told_before = [Command(100), Frame(110), Command(120)];
    let told =
        [answered(0, 1), unanswered(0, Reason::TriggerAmbiguous), unanswered(2, Reason::TriggerAmbiguous)];
    assert_eq!(play(Frames::Pulse, &told_before), told);
}

#[test]
fn two_pulses_for_one_command_leave_it_in_doubt() {
    let told = [answered(0, 1), unanswered(0, Reason::TriggerAmbiguous), unnamed(2)];
    assert_eq!(play(Frames::Pulse, &[Command(100), Frame(110), Frame(290)]), told);
    let told = [unanswered(2, Reason::TriggerAmbiguous), unnamed(0), unnamed(1)];
    assert_eq!(play(Frames::Pulse, &[Frame(60), Frame(70), Command(100)]), told);
}

#[test]
fn what_hangs_on_an_ambiguous_command_is_ambiguous_too() {
    // The second command could have either frame; the last frame could only have the second command.
    let told = play(Frames::Pulse, &[Command(100), Command(280), Frame(290), Frame(400)]);
    let expected = [
        unanswered(0, Reason::TriggerAmbiguous),
        unanswered(1, Reason::TriggerAmbiguous),
        unnamed(2),
        unnamed(3),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_late_command_does_not_take_the_next_parts_frame() {
    // The first command is 210 ms late; parts come every 300 ms.
    let events = [Frame(1000), Command(1210), Frame(1300), Command(1315)];
    let told = play(Frames::Pulse, &events);
    assert!(!told.iter().any(|decision| matches!(decision, Decision::Answered { .. })), "{told:?}");
    let after = [Frame(1000), Command(1210), Frame(1900), Command(1910)];
    assert_eq!(play(Frames::Pulse, &after).last(), Some(&answered(3, 2)), "one is the price");
}

#[test]
fn a_camera_that_floods_is_kept_within_bounds() {
    let mut matcher: Matcher<usize, usize> = Matcher::new(rule(Frames::Pulse));
    let told: usize = (0..1000).map(|name| matcher.frame(name, ms(0)).len()).sum();
    assert_eq!((told, matcher.frames.len()), (1000 - KEPT, KEPT));
    assert_eq!(matcher.abandon().len(), KEPT);
}

#[test]
fn when_the_station_stops_nothing_waits_any_more() {
    let mut matcher = Matcher::new(rule(Frames::Pulse));
    matcher.command("a", ms(1000));
    matcher.frame("b", ms(2000));
    let told = matcher.abandon();
    let expected =
        [Decision::Unanswered { command: "a", reason: Reason::NotReady }, Decision::Unnamed { frame: "b" }];
    assert_eq!(told, expected);
    assert_eq!(matcher.next_expiry(), None);
}

/// The last word on each command, and the frames that were handed out or told as unnamed.
fn outcome(told: &Told) -> (HashMap<usize, Result<usize, Reason>>, Vec<usize>) {
    let (mut commands, mut frames) = (HashMap::new(), Vec::new());
    for decision in told {
        match *decision {
            Decision::Answered { command, frame } => {
                assert!(commands.insert(command, Ok(frame)).is_none(), "answered after something else");
                frames.push(frame);
            }
            Decision::Unanswered { command, reason } => match commands.insert(command, Err(reason)) {
                None => {}
                Some(Ok(_)) => assert_eq!(reason, Reason::TriggerAmbiguous),
                Some(Err(_)) => panic!("command {command} was refused twice"),
            },
            Decision::Unnamed { frame } => frames.push(frame),
        }
    }
    frames.sort_unstable();
    (commands, frames)
}

/// The rule as the module states it, from all that happened at once, commands in their order.
fn by_the_rule(frames: Frames, events: &[Happened]) -> HashMap<usize, Result<usize, Reason>> {
    let at = |event: &Happened| match *event {
        Command(at) | Frame(at) => at,
    };
    let all = |wanted: fn(&Happened) -> bool| {
        events
            .iter()
            .enumerate()
            .filter(move |(_, event)| wanted(event))
            .map(|(name, event)| (name, at(event)))
    };
    let mut lines = Vec::new();
    for (command, came) in all(|event| matches!(event, Command(_))) {
        let fitting = all(|event| matches!(event, Frame(_)))
            .filter(|(_, captured)| captured + EARLY >= came && *captured <= came + WINDOW)
            .map(|(frame, _)| (command, frame));
        match frames {
            Frames::Stream => lines.extend(fitting.take(1)),
            Frames::Pulse => lines.extend(fitting),
        }
    }
    let of_frame = |frame| lines.iter().filter(|line| line.1 == frame).count();
    let mut doubted = Vec::new();
    for (frame, captured) in all(|event| matches!(event, Frame(_))) {
        let next = all(|event| matches!(event, Command(_))).find(|(_, came)| *came > captured + EARLY);
        if let Some((command, came)) = next
            && frames == Frames::Pulse
            && of_frame(frame) == 0
            && came <= captured + WINDOW + 1000
        {
            doubted.push(command);
        }
    }
    all(|event| matches!(event, Command(_)))
        .map(|(command, _)| {
            if doubted.contains(&command) {
                return (command, Err(Reason::TriggerAmbiguous));
            }
            let own: Vec<usize> = lines.iter().filter(|line| line.0 == command).map(|line| line.1).collect();
            let result = match own[..] {
                [] => Err(Reason::NoFrame),
                [frame] if of_frame(frame) == 1 => Ok(frame),
                _ => Err(Reason::TriggerAmbiguous),
            };
            (command, result)
        })
        .collect()
}

fn any_events() -> impl Strategy<Value = Vec<Happened>> {
    let event = (0_u64..180, any::<bool>());
    prop::collection::vec(event, 0..24).prop_map(|steps| {
        let mut now = 1000;
        let mut events = Vec::new();
        for (step, is_command) in steps {
            now += step;
            events.push(if is_command { Command(now) } else { Frame(now) });
        }
        events
    })
}

proptest! {
    #[test]
    fn the_last_word_on_each_command_is_the_rule(events in any_events(), is_pulsed in any::<bool>()) {
        let frames = if is_pulsed { Frames::Pulse } else { Frames::Stream };
        let (commands, handed) = outcome(&play(frames, &events));
        prop_assert_eq!(&commands, &by_the_rule(frames, &events));
        if is_pulsed {
            let all: Vec<usize> =
                events.iter().enumerate().filter(|(_, e)| matches!(e, Frame(_))).map(|(name, _)| name).collect();
            prop_assert_eq!(handed, all, "each pulse is a part and is told of once");
        }
    }

    /// Messages overtake one another by less than the hand-over time; what is said in the end does not change.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        events in any_events(),
        delays in prop::collection::vec(0_u64..20, 24),
        is_pulsed in any::<bool>(),
    ) {
        let frames = if is_pulsed { Frames::Pulse } else { Frames::Stream };
        let mut arrivals: Vec<(u64, usize)> = Vec::new();
        // Those of one camera keep their order, and so do those of one broker.
        let (mut last_frame, mut last_command) = (0, 0);
        for (name, event) in events.iter().enumerate() {
            let (Command(at) | Frame(at)) = *event;
            let last = if matches!(event, Frame(_)) { &mut last_frame } else { &mut last_command };
            *last = (at + delays[name]).max(*last);
            arrivals.push((*last, name));
        }
        arrivals.sort_unstable();
        let mut matcher = Matcher::new(rule(frames));
        let mut told = Told::new();
        for (arrival, name) in arrivals {
            told.extend(match events[name] {
                Command(at) => matcher.command(name, ms(at)),
                Frame(at) => matcher.frame(name, ms(at)),
            });
            told.extend(matcher.expire(ms(arrival)));
        }
        told.extend(matcher.expire(Duration::MAX));
        prop_assert_eq!(outcome(&told).0, by_the_rule(frames, &events));
    }
}
