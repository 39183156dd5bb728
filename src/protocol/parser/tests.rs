//! Requests whole, cut anywhere, and wrong.

use super::*;

/// Everything a buffer gives, one entry a request.
#[derive(Debug, PartialEq)]
enum Got {
    Command(Vec<Vec<u8>>),
    Error(String),
}

fn error_line(error: &ProtocolError) -> String {
    let mut line = Vec::new();
    error.write_reply(&mut line);
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

/// Feeds `pieces` the way a connection does: unconsumed bytes stay at the front.
fn feed(limits: ParserLimits, pieces: &[&[u8]]) -> Vec<Got> {
    let mut parser = RequestParser::new(limits);
    let mut buf = Vec::new();
    let mut got = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            let mut spans = Vec::new();
            match parser.parse(&mut buf, &mut spans) {
                Parsed::Command { consumed } => {
                    let args = spans
                        .iter()
                        .map(|&(start, end)| buf[start as usize..end as usize].to_vec());
                    got.push(Got::Command(args.collect()));
                    buf.drain(..consumed);
                }
                Parsed::Empty { consumed } => {
                    buf.drain(..consumed);
                }
                Parsed::Incomplete { need } => {
                    assert!(need > 0);
                    break;
                }
                Parsed::Error(error) => {
                    got.push(Got::Error(error_line(&error)));
                    return got;
                }
            }
        }
    }
    got
}

fn whole(bytes: &[u8]) -> Vec<Got> {
    feed(ParserLimits::default(), &[bytes])
}

fn command(args: &[&str]) -> Got {
    Got::Command(args.iter().map(|arg| arg.as_bytes().to_vec()).collect())
}

fn error(text: &str) -> Got {
    Got::Error(format!("-ERR Protocol error: {text}"))
}

#[test]
fn pipelined_requests_come_out_one_by_one() {
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nvalue\r\nvalue\r\nPING\r\n*0\r\n\r\n*-1\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
    let expected = vec![
        command(&["SET", "k", "value\r\nvalue"]),
        command(&["PING"]),
        command(&["GET", ""]),
    ];
    assert_eq!(whole(bytes), expected);
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(
            feed(ParserLimits::default(), &[head, tail]),
            expected,
            "cut at {cut}"
        );
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(feed(ParserLimits::default(), &single), expected);
}

#[test]
fn spans_of_earlier_commands_stay_and_offsets_count_from_the_given_buffer() {
    let mut parser = RequestParser::default();
    let mut buf = b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$1\r\n".to_vec();
    let mut spans = vec![(7, 9)];
    assert_eq!(
        parser.parse(&mut buf, &mut spans),
        Parsed::Command { consumed: 14 }
    );
    assert_eq!(spans, [(7, 9), (8, 12)]);
    assert_eq!(
        parser.parse(&mut buf[14..], &mut spans),
        Parsed::Incomplete { need: 3 }
    );
    assert_eq!(spans, [(7, 9), (8, 12)]);
    buf.extend_from_slice(b"x\r\n");
    assert!(parser.is_inside_request());
    assert_eq!(
        parser.parse(&mut buf[14..], &mut spans),
        Parsed::Command { consumed: 21 }
    );
    assert_eq!(spans, [(7, 9), (8, 12), (8, 12), (18, 19)]);
    assert!(!parser.is_inside_request());
}

#[test]
fn the_rest_of_a_large_argument_is_announced() {
    let mut parser = RequestParser::default();
    let mut spans = Vec::new();
    let mut buf = b"*2\r\n$4\r\nECHO\r\n$1000000\r\nabc".to_vec();
    assert_eq!(
        parser.parse(&mut buf, &mut spans),
        Parsed::Incomplete { need: 999_999 }
    );
}

#[test]
fn each_protocol_error_has_the_words_of_redis() {
    let long = "1".repeat(LINE_BYTES_MAX + 1);
    for (bytes, text) in [
        ("*1048577\r\n".to_owned(), "invalid multibulk length"),
        ("*x\r\n".to_owned(), "invalid multibulk length"),
        ("*\r\n".to_owned(), "invalid multibulk length"),
        ("*01\r\n".to_owned(), "invalid multibulk length"),
        ("*+1\r\n".to_owned(), "invalid multibulk length"),
        (
            "*9999999999999999999999\r\n".to_owned(),
            "invalid multibulk length",
        ),
        (format!("*{long}"), "too big mbulk count string"),
        ("*1\r\nPING\r\n".to_owned(), "expected '$', got 'P'"),
        ("*1\r\n\r\n".to_owned(), "expected '$', got ' '"),
        ("*1\r\n$-1\r\n".to_owned(), "invalid bulk length"),
        ("*1\r\n$\r\n".to_owned(), "invalid bulk length"),
        ("*1\r\n$00\r\n".to_owned(), "invalid bulk length"),
        ("*1\r\n$536870913\r\n".to_owned(), "invalid bulk length"),
        (format!("*1\r\n${long}"), "too big bulk count string"),
        (long.clone(), "too big inline request"),
        (format!("{long}\r\n"), "too big inline request"),
        ("PING \"a\r\n".to_owned(), "unbalanced quotes in request"),
        ("\"PING\"x\r\n".to_owned(), "unbalanced quotes in request"),
        ("PING 'a\r\n".to_owned(), "unbalanced quotes in request"),
        ("PING \"a\\\r\n".to_owned(), "unbalanced quotes in request"),
    ] {
        assert_eq!(whole(bytes.as_bytes()), [error(text)], "{:.40}", bytes);
        let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
        assert_eq!(
            feed(ParserLimits::default(), &single),
            [error(text)],
            "{:.40} in bytes",
            bytes
        );
    }
}

#[test]
fn an_unexpected_byte_goes_back_as_it_came() {
    let mut line = Vec::new();
    ProtocolError::ExpectedBulk(0x80).write_reply(&mut line);
    assert_eq!(line, b"-ERR Protocol error: expected '$', got '\x80'\r\n");
    assert_eq!(
        ProtocolError::ExpectedBulk(0x80).to_string(),
        "expected '$', got '\\x80'"
    );
}

#[test]
fn lengths_at_their_limits_pass() {
    let limits = ParserLimits {
        bulk_bytes_max: 5,
        multibulk_args_max: 2,
        ..ParserLimits::default()
    };
    let pair = b"*2\r\n$5\r\nabcde\r\n$0\r\n\r\n";
    assert_eq!(feed(limits, &[pair]), [command(&["abcde", ""])]);
    assert_eq!(
        feed(limits, &[b"*1\r\n$6\r\nabcdef\r\n"]),
        [error("invalid bulk length")]
    );
    assert_eq!(
        feed(limits, &[b"*3\r\n"]),
        [error("invalid multibulk length")]
    );
    let word = "a".repeat(LINE_BYTES_MAX);
    assert_eq!(whole(format!("{word}\n").as_bytes()), [command(&[&word])]);
}

#[test]
fn a_length_that_no_offset_can_hold_is_refused() {
    let limits = ParserLimits {
        bulk_bytes_max: i64::MAX,
        ..ParserLimits::default()
    };
    assert_eq!(
        feed(limits, &[b"*1\r\n$4294967296\r\n"]),
        [error("invalid bulk length")]
    );
    assert_eq!(
        feed(limits, &[b"*1\r\n$9223372036854775807\r\n"]),
        [error("invalid bulk length")]
    );
}

#[test]
fn a_client_without_password_may_send_little() {
    let limits = ParserLimits {
        authenticated: false,
        ..ParserLimits::default()
    };
    assert_eq!(
        feed(limits, &[b"*11\r\n"]),
        [error("unauthenticated multibulk length")]
    );
    assert_eq!(
        feed(limits, &[b"*1\r\n$16385\r\n"]),
        [error("unauthenticated bulk length")]
    );
    let ten = format!("*10\r\n{}", "$1\r\nx\r\n".repeat(10));
    assert_eq!(feed(limits, &[ten.as_bytes()]), [command(&["x"; 10])]);
    let word = "a".repeat(16_384);
    let one = format!("*1\r\n$16384\r\n{word}\r\n");
    assert_eq!(feed(limits, &[one.as_bytes()]), [command(&[&word])]);
}

#[test]
fn line_ends_are_taken_as_leniently_as_redis_takes_them() {
    assert_eq!(whole(b"*1\rx$4\rxPINGxx"), [command(&["PING"])]);
    assert_eq!(whole(b"PING\n"), [command(&["PING"])]);
    assert_eq!(whole(b"ECHO a\rb\r\n"), [command(&["ECHO", "a", "b"])]);
    assert_eq!(whole(b"*1\r\nA\r"), []);
    assert_eq!(whole(b"*1\r\nA\rB"), [error("expected '$', got 'A'")]);
}

#[test]
fn quoted_words_of_an_inline_request_are_unescaped() {
    assert_eq!(
        whole(b"  SET \"a b\\x41\\n\\r\\t\\b\\a\\q\\\"\\xZZ\" 'it\\'s \\n' pre\"fix\" \"\"  \r\n"),
        [command(&[
            "SET",
            "a bA\n\r\t\x08\x07q\"xZZ",
            "it's \\n",
            "prefix",
            "",
        ])]
    );
    assert_eq!(whole(b"\x0bPING\x0b \x0c\r\n"), [command(&["PING\x0b"])]);
    assert_eq!(whole(b" \t \r\nPING\r\n"), [command(&["PING"])]);
}

#[test]
fn a_megabyte_of_small_arguments_in_single_bytes_takes_linear_time() {
    let args = 150_000;
    let frame = format!("*{args}\r\n{}", "$1\r\nx\r\n".repeat(args));
    let mut bytes = frame.into_bytes();
    let mut parser = RequestParser::default();
    let mut spans = Vec::new();
    let len = bytes.len();
    for end in 1..len {
        // Quadratic work would be 10^11 steps here and never come to an end.
        let parsed = parser.parse(&mut bytes[..end], &mut spans);
        assert!(
            matches!(parsed, Parsed::Incomplete { .. }),
            "{parsed:?} at {end}"
        );
    }
    assert_eq!(
        parser.parse(&mut bytes, &mut spans),
        Parsed::Command { consumed: len }
    );
    assert_eq!(spans.len(), args);
}
