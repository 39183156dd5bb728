//! Redis' patterns: `*`, `?`, `[a-z]`, `[^x]` and `\x`. Those of keys (KEYS, the SCAN family) look at the case of
//! letters, those of settings (CONFIG GET) do not.

/// Whether all of `text` matches `pattern`. Takes at most `pattern.len() * text.len()` steps, whatever the
/// pattern, so that no client can hold a worker up with stars.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_as(pattern, text, |byte| byte)
}

/// As [`matches`], in any case of letters.
pub fn matches_in_any_case(pattern: &[u8], text: &[u8]) -> bool {
    matches_as(pattern, text, |byte| byte.to_ascii_lowercase())
}

/// Whether the text is a pattern at all, or a plain name.
pub fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|byte| b"*?[".contains(byte))
}

/// `fold` makes bytes alike that are to match each other.
#[inline]
fn matches_as(pattern: &[u8], text: &[u8], fold: impl Fn(u8) -> u8 + Copy) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to take up again when what follows the last star did not fit: one byte further in the text.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
        } else if let Some(taken) = match_one(&pattern[p..], text[t], fold) {
            p += taken;
            t += 1;
        } else if let Some((after_star, from)) = retry {
            p = after_star;
            t = from + 1;
            retry = Some((after_star, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Matches one byte against the head of a pattern; gives how much of the pattern that took.
fn match_one(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8 + Copy) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => match_class(pattern, fold(byte), fold),
        [b'\\', escaped, ..] => (fold(escaped) == fold(byte)).then_some(2),
        [literal, ..] => (fold(literal) == fold(byte)).then_some(1),
    }
}

/// `[...]` at the head of `pattern`, for a byte that is folded already. A class without its `]` ends with the
/// pattern.
fn match_class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= fold(escaped) == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [a, b'-', b, ..] => {
                let (a, b) = (fold(a), fold(b));
                found |= (a.min(b)..=a.max(b)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= fold(literal) == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::{matches, matches_in_any_case};

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-]llo", "hallo", false),
            ("[a-", "-", true),
            ("[ab", "b", true),
            ("[]a", "a", false),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("Hello", "hello", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a***", "a", true),
        ] {
            let got = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(got, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_of_settings_match_in_any_case() {
        for (pattern, name, expected) in [
            ("max*", "maxmemory-policy", true),
            ("M*emory", "maxmemory", true),
            ("*-*-*", "maxmemory", false),
            ("PORT", "port", true),
            ("\\PORT", "port", true),
            ("[A-C]ind", "bind", true),
            ("[^A-C]ind", "bind", false),
            ("[XB", "b", true),
            ("p?rt", "PORT", true),
            ("port", "por", false),
        ] {
            let got = matches_in_any_case(pattern.as_bytes(), name.as_bytes());
            assert_eq!(got, expected, "{pattern} {name}");
            let other = pattern.to_ascii_uppercase();
            let got = matches_in_any_case(other.as_bytes(), name.as_bytes());
            assert_eq!(got, expected, "{other} {name}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends_soon() {
        let pattern = "*a".repeat(2_000);
        let text = "a".repeat(1_000);
        assert!(!matches(pattern.as_bytes(), text.as_bytes()));
    }
}
