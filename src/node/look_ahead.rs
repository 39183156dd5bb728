//! The rhythm in which the look-ups of commands are begun before their turn comes. A look-up waits for memory four
//! times (the way to the segment, the segment's fingerprints, the pointer to the entry, the entry); with the steps taken
//! while other commands are parsed and run, there is nothing left to wait for.

/// How many commands ahead the second and the third step are taken: long enough for memory to answer, short enough
/// for the nearest cache to keep the answers.
pub const PLACE_AHEAD: usize = 8;
pub const ENTRY_AHEAD: usize = 4;

/// How many commands behind the newest one that was parsed the steps are taken. The directory's part is asked for with the command itself.
const SEGMENT_BEHIND: usize = 2;
const PLACE_BEHIND: usize = 5;
const ENTRY_BEHIND: usize = 8;
/// So few commands are run before memory could answer.
const WORTH_IT: usize = 3;

/// The steps of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Directory,
    Segment,
    Place,
    Entry,
}

/// To be called with each command's number in turn, before it runs: `take_place` is the second step, `take_entry` the
/// third. The first was taken for all of them. A few at a time: the processor forgets what is asked for in a burst.
/// `is_begun`: somebody has taken the steps of the first [`PLACE_AHEAD`] and [`ENTRY_AHEAD`] commands already.
#[inline]
pub fn look_ahead<T>(
    items: &mut [T],
    at: usize,
    is_begun: bool,
    take_place: impl Fn(&mut T),
    take_entry: impl Fn(&T),
) {
    if at == 0 && !is_begun {
        items.iter_mut().take(PLACE_AHEAD).for_each(&take_place);
        items.iter().take(ENTRY_AHEAD).for_each(&take_entry);
    }
    if let Some(later) = items.get_mut(at + PLACE_AHEAD) {
        take_place(later);
    }
    if let Some(soon) = items.get(at + ENTRY_AHEAD) {
        take_entry(soon);
    }
}

/// To be called with 0, 1, 2 ... while commands are parsed, each when it has been added to `items`, and then with the
/// numbers of [`while_running`]. Takes each look-up a step further when its time has come.
#[inline]
pub fn step_on<T>(items: &mut [T], now: usize, mut take: impl FnMut(&mut T, Step)) {
    for (behind, step) in [
        (SEGMENT_BEHIND, Step::Segment),
        (PLACE_BEHIND, Step::Place),
        (ENTRY_BEHIND, Step::Entry),
    ] {
        let item = now.checked_sub(behind).and_then(|at| items.get_mut(at));
        if let Some(item) = item {
            take(item, step);
        }
    }
}

/// The numbers to call [`step_on`] with before the command at `at` of `count` runs.
#[inline]
pub fn while_running(count: usize, at: usize) -> std::ops::Range<usize> {
    let first = count.max(ENTRY_BEHIND + 1);
    match at {
        0 if count < WORTH_IT => 0..0,
        0 => count..first,
        _ => first + at - 1..first + at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_taken_once_in_order_and_before_its_command_runs() {
        for count in [3, 4, 8, 9, 10, 16, 64] {
            let mut taken = Vec::new();
            let mut steps = Vec::new();
            for now in 0..count {
                steps.push(Vec::new());
                step_on(&mut steps, now, |of, step| of.push(step));
            }
            for at in 0..count {
                for now in while_running(count, at) {
                    step_on(&mut steps, now, |of, step| of.push(step));
                }
                taken.push(steps[at].clone());
            }
            let all = [Step::Segment, Step::Place, Step::Entry];
            assert!(taken.iter().all(|of| of[..] == all), "{count}: {taken:?}");
        }
    }

    #[test]
    fn for_one_or_two_commands_nothing_is_begun() {
        assert!(while_running(1, 0).is_empty() && while_running(2, 0).is_empty());
    }

    #[test]
    fn every_step_is_taken_once_for_every_command_and_in_time() {
        for count in [0, 1, 3, 4, 5, 8, 9, 40] {
            let mut steps = vec![std::cell::Cell::new(0); count];
            for at in 0..count {
                look_ahead(
                    &mut steps,
                    at,
                    false,
                    |step| assert_eq!(step.replace(1), 0),
                    |step| assert_eq!(step.replace(2), 1),
                );
                assert_eq!(steps[at].get(), 2, "{at} of {count}");
            }
        }
    }
}
