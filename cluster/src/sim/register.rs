//! What a key of text must do, command by command: the model that histories are held against. Knows nothing of the real
//! commands' code, which is the point of it.

use super::linear::Model;
use std::rc::Rc;

/// A value: short, and shared between the states of the search.
pub type Text = Rc<str>;

/// A command on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Get,
    Set(Text),
    Del,
    Incr,
    Append(Text),
    SetNx(Text),
    GetSet(Text),
    GetDel,
}

/// What a command answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Ok,
    Nil,
    Int(i64),
    Text(Text),
    /// The value is no number, or would become too large a one. Nothing changed.
    NotAnInteger,
}

/// A key: its value, or none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Register;

impl Model for Register {
    type State = Option<Text>;
    type Command = Command;
    type Reply = Reply;

    fn apply(&self, state: &Self::State, command: &Command) -> (Self::State, Reply) {
        let found = || state.clone().map_or(Reply::Nil, Reply::Text);
        match command {
            Command::Get => (state.clone(), found()),
            Command::Set(value) => (Some(value.clone()), Reply::Ok),
            Command::Del => (None, Reply::Int(i64::from(state.is_some()))),
            Command::Incr => match increment(state.as_deref()) {
                Some(sum) => (Some(sum.to_string().into()), Reply::Int(sum)),
                None => (state.clone(), Reply::NotAnInteger),
            },
            Command::Append(value) => {
                let longer: Text = [state.as_deref().unwrap_or_default(), value]
                    .concat()
                    .into();
                let length = longer.len() as i64;
                (Some(longer), Reply::Int(length))
            }
            Command::SetNx(value) => match state {
                Some(_) => (state.clone(), Reply::Int(0)),
                None => (Some(value.clone()), Reply::Int(1)),
            },
            Command::GetSet(value) => (Some(value.clone()), found()),
            Command::GetDel => (None, found()),
        }
    }

    fn changes_nothing(&self, command: &Command) -> bool {
        matches!(command, Command::Get)
    }
}

/// One more than the number that the value is, if it is one: decimal digits as a number prints, and nothing else.
fn increment(value: Option<&str>) -> Option<i64> {
    let number: i64 = match value {
        None => 0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|number: &i64| number.to_string() == text)?,
    };
    number.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_follow_each_other_as_in_redis() {
        let text = |value: &str| -> Text { value.into() };
        let steps = [
            (Command::Get, Reply::Nil),
            (Command::SetNx(text("7")), Reply::Int(1)),
            (Command::SetNx(text("8")), Reply::Int(0)),
            (Command::Incr, Reply::Int(8)),
            (Command::Append(text("x")), Reply::Int(2)),
            (Command::Incr, Reply::NotAnInteger),
            (
                Command::GetSet(text("9223372036854775807")),
                Reply::Text(text("8x")),
            ),
            (Command::Incr, Reply::NotAnInteger),
            (Command::GetDel, Reply::Text(text("9223372036854775807"))),
            (Command::Del, Reply::Int(0)),
            (Command::Incr, Reply::Int(1)),
            (Command::Set(text("07")), Reply::Ok),
            (Command::Incr, Reply::NotAnInteger),
            (Command::Del, Reply::Int(1)),
        ];
        let mut state = None;
        for (number, (command, expected)) in steps.into_iter().enumerate() {
            let (next, reply) = Register.apply(&state, &command);
            assert_eq!(reply, expected, "step {number}");
            state = next;
        }
        assert_eq!(state, None);
    }
}
