//! DEBUG PROTOCOL: one value of each type, for the tests of client libraries.

use crate::protocol::Reply;

use super::super::super::{Call, CommandError, CommandResult, Host};

const WRONG_TYPE: &str = "ERR Wrong protocol type name. Please use one of the following: \
    string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";

/// What Redis answers; clients compare it digit by digit.
#[allow(clippy::approx_constant)]
const NO_PI: f64 = 3.141;

/// A complete attribute of RESP3, which stands before the reply proper.
const ATTRIBUTE: &[u8] = b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n";

/// A complete push message.
const PUSH: &[u8] = b">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n";

pub fn protocol(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    match call.arg(2).to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(NO_PI),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.int(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if reply.is_resp3() {
                reply.raw(ATTRIBUTE);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !reply.is_resp3() {
                return Err(CommandError::new(
                    "ERR RESP2 is not supported by this command",
                ));
            }
            reply.raw(PUSH);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => return Err(CommandError::new(WRONG_TYPE)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing_host::Connection;

    fn replies(connection: Connection) -> Vec<String> {
        let mut connection = connection;
        [
            "double", "null", "set", "map", "push", "verbatim", "true", "bignum",
        ]
        .iter()
        .map(|kind| connection.run(&format!("DEBUG PROTOCOL {kind}")))
        .collect()
    }

    #[test]
    fn every_type_has_its_form_in_resp3() {
        let connection = Connection::with_flags(&[("enable-debug-command", "yes")]).resp3();
        assert_eq!(
            replies(connection),
            [
                ",3.141",
                "_",
                "~3 :0 :1 :2",
                "%3 :0 #f :1 #t :2 #f",
                ">2 $16 server-cpu-usage :42 $40 Some real reply following the push reply",
                "=29 txt:This is a verbatim\nstring",
                "#t",
                "(1234567999999999999999999999999999999",
            ]
        );
    }

    #[test]
    fn every_type_has_its_fallback_in_resp2() {
        let connection = Connection::with_flags(&[("enable-debug-command", "yes")]);
        assert_eq!(
            replies(connection),
            [
                "$5 3.141",
                "$-1",
                "*3 :0 :1 :2",
                "*6 :0 :0 :1 :1 :2 :0",
                "-ERR RESP2 is not supported by this command",
                "$25 This is a verbatim\nstring",
                ":1",
                "$37 1234567999999999999999999999999999999",
            ]
        );
    }
}
