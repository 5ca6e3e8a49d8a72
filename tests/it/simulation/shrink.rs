//! A script that fails, made as short as it still fails.

use super::script::Script;

/// Plays at most so many scripts.
const MOST: usize = 2000;

/// Leaves acts out, many at a time and then fewer, as long as the rest fails.
pub(crate) fn shrink(script: &Script, fails: impl Fn(&Script) -> bool) -> Script {
    let mut script = script.clone();
    let (mut piece, mut played) = (script.acts.len().div_ceil(2), 0);
    while piece > 0 && played < MOST {
        let (mut at, mut is_shorter) = (0, false);
        while at < script.acts.len() && played < MOST {
            let mut shorter = script.clone();
            shorter.acts.drain(at..script.acts.len().min(at + piece));
            played += 1;
            if fails(&shorter) {
                (script, is_shorter) = (shorter, true);
            } else {
                at += piece;
            }
        }
        // Of single acts, one may go because another has gone.
        piece = if is_shorter && piece == 1 { 1 } else { piece / 2 };
    }
    script
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::script::Act;
    use super::*;

    #[test]
    fn what_a_failure_does_without_is_left_out() {
        let mut script = Script::draw(1);
        script.acts.push((Duration::MAX, Act::Junk));
        script.acts.push((Duration::MAX, Act::ClockStep(7)));
        let count = |script: &Script, wanted: fn(&Act) -> bool| {
            script.acts.iter().filter(|(_, act)| wanted(act)).count()
        };
        let small = shrink(&script, |script| {
            count(script, |act| matches!(act, Act::ClockStep(7))) == 1
                && count(script, |act| matches!(act, Act::Frame(_))) > 2
        });
        assert_eq!(small.acts.len(), 4);
    }
}
