//! Redis' glob patterns over bytes: `*`, `?`, `[a-z]`, `[^a]`, `\` to escape. Knows no keys and no members.
//!
//! Every part of a pattern but `*` matches exactly one byte. So a mismatch needs to go back to the last `*` only,
//! and a match takes at most length of pattern times length of text: no pattern makes a client's
//! command run for ages.

/// Whether `text` matches `pattern` as a whole.
pub fn glob_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last `*`, and the byte of the text up to which that `*` reaches so far.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            retry = Some((p, t));
            continue;
        }
        if t == text.len() {
            // A `*` was passed over above; anything else wants a byte that is not there.
            return p == pattern.len();
        }
        let step = (p < pattern.len())
            .then(|| one_byte(&pattern[p..], text[t]))
            .flatten();
        match (step, retry) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((behind_star, reached))) => {
                (p, t) = (behind_star, reached + 1);
                retry = Some((behind_star, reached + 1));
            }
            (None, None) => return false,
        }
    }
}

/// As [`glob_match`], ASCII letters of either case alike.
pub fn glob_match_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    glob_match(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

/// Matches `byte` against the first part of a pattern that is not empty and does not begin with `*`;
/// answers the length of that part.
fn one_byte(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [b'?', ..] => Some(1),
        [b'[', ref class @ ..] => one_of_class(class, byte).map(|length| length + 1),
        [b'\\', escaped, ..] => (escaped == byte).then_some(2),
        [literal, ..] => (literal == byte).then_some(1),
        [] => None,
    }
}

/// As [`one_byte`] for what stands behind a `[`. A class that nothing closes ends with the pattern.
fn one_of_class(class: &[u8], byte: u8) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class[at..] {
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [] => break,
            [from, b'-', to, ..] => {
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= literal == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn assert_matches(pattern: &str, texts: &[&str]) {
        for text in texts {
            assert!(glob_match(pattern.as_bytes(), text.as_bytes()), "{text}");
        }
    }

    #[track_caller]
    fn assert_differs(pattern: &str, texts: &[&str]) {
        for text in texts {
            assert!(!glob_match(pattern.as_bytes(), text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn stars_and_question_marks_stand_for_bytes() {
        assert_matches("*", &["", "a", "anything"]);
        assert_matches("h?llo", &["hello", "hallo"]);
        assert_differs("h?llo", &["hllo", "heello"]);
        assert_matches("h*llo", &["hllo", "heeello", "hlloxllo"]);
        assert_differs("h*llo", &["hllox"]);
        assert_matches("a**b*?c", &["abxc", "axbxxc"]);
        assert_matches("", &[""]);
        assert_differs("", &["a"]);
        assert_differs("?", &[""]);
    }

    #[test]
    fn classes_hold_ranges_escapes_and_negation() {
        assert_matches("h[ae]llo", &["hello", "hallo"]);
        assert_differs("h[ae]llo", &["hillo", "hllo"]);
        assert_matches("h[^e]llo", &["hallo"]);
        assert_differs("h[^e]llo", &["hello"]);
        assert_matches("[a-c]", &["a", "b", "c"]);
        assert_matches("[c-a]", &["b"]);
        assert_differs("[a-c]", &["d", "-"]);
        assert_matches("[\\]x]", &["]", "x"]);
        // As in Redis, the range ends with the bracket, and nothing closes the class.
        assert_matches("[a-]", &["a", "_", "]"]);
        assert_differs("[a-]", &["-"]);
        assert_differs("[]", &["", "a"]);
        assert_matches("[^]", &["a"]);
    }

    #[test]
    fn a_class_that_nothing_closes_ends_with_the_pattern() {
        assert_matches("[ab", &["a", "b"]);
        assert_differs("[ab", &["ab", "c", "["]);
        assert_matches("a[", &[]);
        assert_differs("a[", &["a", "a["]);
    }

    #[test]
    fn a_backslash_takes_the_next_byte_as_it_is() {
        assert_matches("a\\*", &["a*"]);
        assert_differs("a\\*", &["ab"]);
        assert_matches("a\\", &["a\\"]);
    }

    #[test]
    fn case_counts_unless_told_otherwise() {
        assert_differs("A[b-d]*", &["abx"]);
        assert!(glob_match_ignoring_case(b"A[B-d]*", b"acX"));
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = "a*".repeat(200) + "b";
        assert_differs(&pattern, &[&"a".repeat(5000)]);
    }

    proptest! {
        #[test]
        fn any_pattern_matches_itself_escaped(text in prop::collection::vec(any::<u8>(), 0..40), noise in prop::collection::vec(any::<u8>(), 0..40)) {
            let escaped: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
            prop_assert!(glob_match(&escaped, &text));
            glob_match(&noise, &text);
            let around = [b"*", &escaped[..], b"*"].concat();
            prop_assert!(glob_match(&around, &[&noise[..], &text, &noise].concat()));
        }
    }
}
