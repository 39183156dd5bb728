//! The patterns of `CONFIG GET`: `*`, `?`, `[a-z]`, `[^x]` and `\x`, in any case of letters.

/// Whether `name` matches `pattern`. Takes at most `pattern.len() * name.len()` steps, whatever the pattern.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to take up again when the text after the last `*` did not fit: one byte further.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, n));
        } else if let Some(next) = match_one(&pattern[p..], name[n]) {
            p += next;
            n += 1;
        } else if let Some((after_star, from)) = retry {
            p = after_star;
            n = from + 1;
            retry = Some((after_star, n));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// Whether the string is a pattern at all, or a plain name.
pub fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|b| b"*?[".contains(b))
}

/// Matches one byte against the head of a pattern; the answer is how many pattern bytes that took.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match_class(pattern, byte),
        b'\\' if pattern.len() > 1 => same(pattern[1], byte).then_some(2),
        literal => same(literal, byte).then_some(1),
    }
}

/// `[...]` at the head of `pattern`. A class without its `]` ends with the pattern.
fn match_class(pattern: &[u8], byte: u8) -> Option<usize> {
    let byte = byte.to_ascii_lowercase();
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    while at < pattern.len() && pattern[at] != b']' {
        if pattern[at] == b'\\' && at + 1 < pattern.len() {
            found |= same(pattern[at + 1], byte);
            at += 2;
        } else if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() {
            let (a, b) = (
                pattern[at].to_ascii_lowercase(),
                pattern[at + 2].to_ascii_lowercase(),
            );
            found |= (a.min(b)..=a.max(b)).contains(&byte);
            at += 3;
        } else {
            found |= same(pattern[at], byte);
            at += 1;
        }
    }
    (found != negated).then_some((at + 1).min(pattern.len()))
}

fn same(a: u8, b: u8) -> bool {
    a.eq_ignore_ascii_case(&b)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_config_get() {
        for (pattern, name, expected) in [
            ("*", "port", true),
            ("*", "", true),
            ("max*", "maxmemory-policy", true),
            ("M*emory", "maxmemory", true),
            ("m*x*y", "maxmemory-policy", true),
            ("*-*-*", "maxmemory", false),
            ("p?rt", "port", true),
            ("p?rt", "prt", false),
            ("[a-c]ind", "bind", true),
            ("[^a-c]ind", "bind", false),
            ("[xb", "b", true),
            ("po\\rt", "port", true),
            ("port", "por", false),
            ("por", "port", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends_soon() {
        let pattern = "*a".repeat(2_000);
        let name = "a".repeat(1_000);
        assert!(!matches(pattern.as_bytes(), name.as_bytes()));
    }
}
