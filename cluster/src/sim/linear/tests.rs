//! Histories whose judgement is known, and random ones that a checker without any cunning judges too.

use super::super::register::{Command, Register, Reply};
use super::*;
use proptest::prelude::*;
use std::rc::Rc;

type Op = Operation<Command, Reply>;

fn op(called: Micros, command: Command, outcome: Outcome<Reply>) -> Op {
    Operation {
        client: 0,
        command,
        called,
        outcome,
    }
}

fn ok(called: Micros, answered: Micros, command: Command, reply: Reply) -> Op {
    op(called, command, Outcome::Ok(answered, reply))
}

fn set(value: &str) -> Command {
    Command::Set(value.into())
}

fn append(value: &str) -> Command {
    Command::Append(value.into())
}

fn text(value: &str) -> Reply {
    Reply::Text(value.into())
}

fn judge(operations: &[Op]) -> Verdict {
    check(&Register, operations)
}

#[test]
fn histories_that_an_order_explains_are_let_through() {
    use Command::{Del, Get, Incr};
    let histories: Vec<(&str, Vec<Op>)> = vec![
        ("nothing happened", vec![]),
        (
            "one after the other",
            vec![
                ok(0, 1, set("a"), Reply::Ok),
                ok(2, 3, Get, text("a")),
                ok(4, 5, Del, Reply::Int(1)),
                ok(6, 7, Get, Reply::Nil),
            ],
        ),
        (
            "a read beside a write sees either",
            vec![
                ok(0, 9, set("a"), Reply::Ok),
                ok(1, 2, Get, Reply::Nil),
                ok(3, 4, Get, text("a")),
            ],
        ),
        (
            "an unknown write is applied late",
            vec![
                op(0, set("a"), Outcome::Unknown),
                ok(1, 2, Get, Reply::Nil),
                ok(3, 4, set("b"), Reply::Ok),
                ok(5, 6, Get, text("b")),
                ok(7, 8, Get, text("a")),
            ],
        ),
        (
            "an unknown write is never applied",
            vec![
                op(0, set("a"), Outcome::Unknown),
                ok(1, 2, Get, Reply::Nil),
                ok(3, 4, Incr, Reply::Int(1)),
            ],
        ),
        (
            "of two unknown ones the second came first",
            vec![
                op(0, append("a"), Outcome::Unknown),
                op(1, append("b"), Outcome::Unknown),
                ok(2, 3, Get, text("b")),
                ok(4, 5, Get, text("ba")),
            ],
        ),
        (
            "a refused one had no effect",
            vec![op(0, set("a"), Outcome::Failed), ok(1, 2, Get, Reply::Nil)],
        ),
        (
            "an unknown read says nothing",
            vec![op(0, Get, Outcome::Unknown), ok(1, 2, Incr, Reply::Int(1))],
        ),
        (
            "two that touch at an instant may stand in either order",
            vec![ok(0, 5, set("a"), Reply::Ok), ok(5, 6, Get, Reply::Nil)],
        ),
    ];
    for (story, history) in histories {
        assert_eq!(judge(&history), Verdict::Linearizable, "{story}");
        assert!(brute(&history), "{story}, by force");
    }
}

#[test]
fn histories_that_no_order_explains_are_found() {
    use Command::{Get, Incr};
    let histories: Vec<(&str, usize, Vec<Op>)> = vec![
        (
            "a stale read",
            2,
            vec![
                ok(0, 1, set("a"), Reply::Ok),
                ok(2, 3, set("b"), Reply::Ok),
                ok(4, 5, Get, text("a")),
            ],
        ),
        (
            "a lost update",
            1,
            vec![ok(0, 1, Incr, Reply::Int(1)), ok(2, 3, Incr, Reply::Int(1))],
        ),
        (
            "a phantom after a definite error",
            1,
            vec![op(0, set("a"), Outcome::Failed), ok(1, 2, Get, text("a"))],
        ),
        (
            "an unknown one was applied twice",
            2,
            vec![
                op(0, append("a"), Outcome::Unknown),
                ok(1, 2, Get, text("a")),
                ok(3, 4, Get, text("aa")),
            ],
        ),
        (
            "an unknown one was applied before its call",
            0,
            vec![ok(0, 1, Get, text("a")), op(2, set("a"), Outcome::Unknown)],
        ),
        (
            "a value came back",
            3,
            vec![
                ok(0, 1, set("a"), Reply::Ok),
                ok(2, 3, Command::Del, Reply::Int(1)),
                ok(4, 5, Get, Reply::Nil),
                ok(6, 7, Get, text("a")),
            ],
        ),
        (
            "two readers saw two orders",
            5,
            vec![
                ok(0, 9, set("a"), Reply::Ok),
                ok(0, 9, set("b"), Reply::Ok),
                ok(10, 11, Get, text("a")),
                ok(12, 13, Get, text("a")),
                ok(14, 15, Get, text("a")),
                ok(16, 17, Get, text("b")),
            ],
        ),
        (
            "two won the same SETNX",
            1,
            vec![
                ok(0, 9, Command::SetNx("a".into()), Reply::Int(1)),
                ok(1, 8, Command::SetNx("b".into()), Reply::Int(1)),
            ],
        ),
    ];
    for (story, stuck_at, history) in histories {
        let verdict = judge(&history);
        assert!(matches!(verdict, Verdict::Violation { .. }), "{story}");
        if stuck_at != 1 {
            assert_eq!(verdict, Verdict::Violation { stuck_at }, "{story}");
        }
        assert!(!brute(&history), "{story}, by force");
    }
}

#[test]
fn a_long_history_with_many_unknown_ones_is_judged_within_its_bound() {
    let mut history = Vec::new();
    for number in 0..400u64 {
        let at = number * 10;
        let value = number.to_string();
        if number % 40 == 0 {
            history.push(op(at, append("?"), Outcome::Unknown));
        }
        history.push(ok(at, at + 25, set(&value), Reply::Ok));
        history.push(ok(
            at + 1,
            at + 8,
            Command::Incr,
            Reply::Int(number as i64 + 1),
        ));
    }
    history.sort_by_key(|operation| operation.called);
    assert_eq!(judge(&history), Verdict::Linearizable);
    history.push(ok(10_000, 10_001, Command::Get, text("nobody wrote this")));
    let verdict = check_within(&Register, &history, 20_000);
    assert_ne!(verdict, Verdict::Linearizable);
}

#[test]
fn the_search_gives_up_at_its_limit() {
    let mut history: Vec<Op> = (0..20)
        .map(|number| ok(0, 100, append(&number.to_string()), Reply::Int(-1)))
        .collect();
    for operation in &mut history {
        operation.outcome = Outcome::Unknown;
    }
    history.push(ok(200, 201, Command::Get, text("nobody wrote this")));
    assert_eq!(
        check_within(&Register, &history, 10_000),
        Verdict::Undecided
    );
}

/// Tries every choice of unknown operations in every order.
fn brute(operations: &[Op]) -> bool {
    fn go(left: &[&Op], state: &Option<Rc<str>>) -> bool {
        let is_answered = |op: &&&Op| matches!(op.outcome, Outcome::Ok(..));
        if !left.iter().any(|op| is_answered(&op)) {
            return true;
        }
        (0..left.len()).any(|at| {
            let next = left[at];
            // Nobody whose answer came before this one's call may still be waiting.
            let overtakes = left
                .iter()
                .any(|other| matches!(other.outcome, Outcome::Ok(end, _) if end < next.called));
            let (after, reply) = Register.apply(state, &next.command);
            let explains = match &next.outcome {
                Outcome::Ok(_, given) => *given == reply,
                _ => true,
            };
            let rest: Vec<&Op> = [&left[..at], &left[at + 1..]].concat();
            !overtakes && explains && go(&rest, &after)
        })
    }
    let parts: Vec<&Op> = operations
        .iter()
        .filter(|op| op.outcome != Outcome::Failed)
        .collect();
    go(&parts, &None)
}

/// One random operation: answers are drawn too, so that most histories are wrong in some way, and some are not.
fn random_op() -> impl Strategy<Value = Op> {
    let command = prop_oneof![
        3 => Just(Command::Get),
        1 => Just(set("1")),
        1 => Just(set("2")),
        1 => Just(Command::Incr),
        1 => Just(Command::Del),
        1 => Just(append("1")),
        1 => Just(Command::SetNx("1".into())),
        1 => Just(Command::GetSet("2".into())),
        1 => Just(Command::GetDel),
    ];
    (command, 0..12u64, 1..8u64, 0..10u8, 0..6u8).prop_map(|(command, called, took, end, guess)| {
        let outcome = match end {
            0 | 1 => Outcome::Unknown,
            2 => Outcome::Failed,
            _ => Outcome::Ok(called + took, guessed(&command, guess)),
        };
        op(called, command, outcome)
    })
}

fn guessed(command: &Command, guess: u8) -> Reply {
    let values = ["1", "2", "11", "21"];
    match command {
        Command::Get | Command::GetSet(_) | Command::GetDel => values
            .get(usize::from(guess))
            .map_or(Reply::Nil, |value| text(value)),
        Command::Set(_) => Reply::Ok,
        Command::Del | Command::SetNx(_) => Reply::Int(i64::from(guess % 2)),
        Command::Incr => Reply::Int(1 + i64::from(guess % 3)),
        Command::Append(_) => Reply::Int(1 + i64::from(guess % 2)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn both_checkers_agree_on_random_histories(mut history in prop::collection::vec(random_op(), 0..7)) {
        history.sort_by_key(|operation| operation.called);
        let expected = brute(&history);
        prop_assert_eq!(judge(&history) == Verdict::Linearizable, expected);
    }
}
