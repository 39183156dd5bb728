//! Commands on keys of any type, and those on whole databases.

mod database;
mod database_table;
mod expire;
mod expire_table;
mod keys;
mod keys_table;
mod object;
mod rename;
mod serialize;
mod sort;
#[cfg(test)]
mod tests;
mod walk;

pub use database_table::COMMANDS as DATABASES;
pub use expire_table::COMMANDS as DEADLINES;
pub use keys_table::COMMANDS as KEYS;
pub use object::COMMANDS as OBJECT;
pub use sort::COMMANDS as SORT;

use super::{Call, CommandError};
use crate::store::Databases;

/// Argument `index` as the number of a database that exists.
fn database_number(databases: &Databases, call: &Call, index: usize) -> Result<u16, CommandError> {
    let number = call.int(index)?;
    if i32::try_from(number).is_err() {
        return Err(CommandError::new(format!(
            "ERR value is out of range, value must between {} and {}",
            i32::MIN,
            i32::MAX
        )));
    }
    let found = usize::try_from(number)
        .ok()
        .filter(|&number| number < databases.count());
    found
        .map(|number| number as u16)
        .ok_or(CommandError::new("ERR DB index is out of range"))
}
