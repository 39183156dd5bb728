//! The options of SORT.

use super::pattern::Pattern;
use crate::commands::{Call, CommandError};

#[derive(Default)]
pub struct SortOptions<'a> {
    pub by: Option<By<'a>>,
    pub gets: Vec<Pattern<'a>>,
    pub descending: bool,
    /// By bytes, not by number.
    pub alpha: bool,
    /// Offset and count.
    pub limit: Option<(i64, i64)>,
    pub store: Option<&'a [u8]>,
}

/// What the elements are sorted by.
pub enum By<'a> {
    /// A pattern that is the same for all: nothing is sorted.
    Nothing,
    Key(Pattern<'a>),
}

impl<'a> SortOptions<'a> {
    pub fn parse(call: &Call<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = 2;
        while index < call.len() {
            let values = call.len() - index - 1;
            match () {
                _ if call.is_word(index, "ASC") => options.descending = false,
                _ if call.is_word(index, "DESC") => options.descending = true,
                _ if call.is_word(index, "ALPHA") => options.alpha = true,
                _ if call.is_word(index, "LIMIT") && values >= 2 => {
                    options.limit = Some((call.int(index + 1)?, call.int(index + 2)?));
                    index += 2;
                }
                _ if call.is_word(index, "STORE") && values >= 1 && may_store => {
                    options.store = Some(call.arg(index + 1));
                    index += 1;
                }
                _ if call.is_word(index, "BY") && values >= 1 => {
                    let pattern = Pattern::new(call.arg(index + 1));
                    options.by = Some(match pattern.is_constant() {
                        true => By::Nothing,
                        false => By::Key(pattern),
                    });
                    index += 1;
                }
                _ if call.is_word(index, "GET") && values >= 1 => {
                    options.gets.push(Pattern::new(call.arg(index + 1)));
                    index += 1;
                }
                _ => return Err(CommandError::Syntax),
            }
            index += 1;
        }
        Ok(options)
    }

    /// The part of `len` elements that LIMIT leaves.
    pub fn range(&self, len: usize) -> std::ops::Range<usize> {
        let Some((offset, count)) = self.limit else {
            return 0..len;
        };
        let start = usize::try_from(offset.max(0)).map_or(len, |offset| offset.min(len));
        // A negative count takes all.
        let count = usize::try_from(count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }
}
