//! The rhythm in which the look-ups of commands are begun before their turn comes. A look-up waits for memory three
//! times (the segment's fingerprints, the pointer to the entry, the entry); with the second and third step taken
//! while earlier commands run, there is nothing left to wait for.

/// How many commands ahead the second and the third step are taken: long enough for memory to answer, short enough
/// for the nearest cache to keep the answers.
pub const PLACE_AHEAD: usize = 8;
pub const ENTRY_AHEAD: usize = 4;

/// The steps of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
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

#[cfg(test)]
mod tests {
    use super::*;

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
