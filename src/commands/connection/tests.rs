//! Connection commands against a made-up node.

use super::super::host::ClientReport;
use super::super::testing_host::Connection;
use super::super::Replies;
use super::same;

fn other(id: u64, address: &str) -> ClientReport {
    ClientReport {
        id,
        address: address.into(),
        local_address: "127.0.0.1:6379".into(),
        command: "get",
        ..ClientReport::default()
    }
}

fn with_others() -> Connection {
    let connection = Connection::new();
    let mut clients = connection.host.clients.borrow_mut();
    clients.push(other(8, "10.0.0.1:1"));
    clients.push(other(9, "10.0.0.2:2"));
    drop(clients);
    connection
}

#[test]
fn ping_and_echo_answer() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("PING"), "+PONG");
    assert_eq!(connection.run("PING hi"), "$2 hi");
    assert_eq!(
        connection.run("PING a b"),
        "-ERR wrong number of arguments for 'ping' command"
    );
    assert_eq!(connection.run("ECHO hi"), "$2 hi");
}

#[test]
fn databases_are_selected_within_their_number() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("SELECT 15"), "+OK");
    assert_eq!(connection.session.database, 15);
    for (index, error) in [
        ("16", "-ERR DB index is out of range"),
        ("-1", "-ERR DB index is out of range"),
        ("65536", "-ERR DB index is out of range"),
        ("x", "-ERR value is not an integer or out of range"),
    ] {
        assert_eq!(connection.run(&format!("SELECT {index}")), error);
    }
    assert_eq!(connection.session.database, 15);
}

#[test]
fn hello_switches_the_protocol_of_its_own_reply() {
    let mut connection = Connection::new();
    let reply = connection.run("HELLO 3 SETNAME me");
    assert!(reply.starts_with("%7 $6 server $5 redis $7 version $5 7.2.5 $5 proto :3 $2 id :7"));
    assert_eq!(connection.session.name, b"me");
    assert!(connection.run("HELLO").starts_with("%7"));
    assert!(connection.run("HELLO 2").starts_with("*14"));
}

#[test]
fn hello_refuses_what_it_does_not_understand_and_changes_nothing() {
    let mut connection = Connection::new();
    for (line, error) in [
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        (
            "HELLO x",
            "-ERR Protocol version is not an integer or out of range",
        ),
        ("HELLO 3 foo", "-ERR Syntax error in HELLO option 'foo'"),
        ("HELLO 3 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'"),
        (
            "HELLO 3 AUTH a b",
            "-WRONGPASS invalid username-password pair or user is disabled.",
        ),
    ] {
        assert_eq!(connection.run(line), error);
    }
    assert_eq!(connection.orders(), ["auth denied"]);
    assert!(connection.run("HELLO").starts_with("*14"));
}

#[test]
fn a_password_is_asked_for_and_compared() {
    let mut connection = Connection::with_flags(&[("requirepass", "secret")]);
    connection.session.authenticated = false;
    assert!(connection
        .run("HELLO 3")
        .starts_with("-NOAUTH HELLO must be called"));
    for wrong in ["AUTH x", "AUTH default secre", "AUTH other secret"] {
        assert!(connection.run(wrong).starts_with("-WRONGPASS"), "{wrong}");
    }
    assert_eq!(connection.run("AUTH a b c"), "-ERR syntax error");
    assert!(connection
        .run("HELLO 3 AUTH default secret")
        .starts_with("%7"));
    assert!(connection.session.authenticated);
    assert_eq!(connection.run("RESET"), "+RESET");
    assert!(!connection.session.authenticated);
}

#[test]
fn without_a_password_auth_says_so() {
    let mut connection = Connection::new();
    assert!(connection
        .run("AUTH x")
        .starts_with("-ERR AUTH <password> called without any password configured"));
    assert_eq!(connection.run("AUTH default x"), "+OK");
}

#[test]
fn texts_are_compared_whole() {
    assert!(same(b"abc", b"abc") && same(b"", b""));
    assert!(!same(b"abc", b"abd") && !same(b"abc", b"ab") && !same(b"ab", b"abc"));
    assert!(!same(b"ab\0", b"ab"));
}

#[test]
fn quit_closes_behind_its_reply() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("QUIT"), "+OK");
    assert!(connection.session.close_after_reply);
}

#[test]
fn connections_bear_names_and_libraries() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("CLIENT GETNAME"), "$-1");
    assert_eq!(connection.run("CLIENT SETNAME me"), "+OK");
    assert_eq!(connection.run("CLIENT GETNAME"), "$2 me");
    assert_eq!(
        connection.run_args(["CLIENT", "SETNAME", "a b"]),
        "-ERR Client names cannot contain spaces, newlines or special characters."
    );
    assert_eq!(connection.run("CLIENT SETINFO LIB-NAME lib"), "+OK");
    assert_eq!(connection.run("CLIENT SETINFO lib-ver 1.0"), "+OK");
    assert_eq!(
        connection.run_args(["CLIENT", "SETINFO", "LIB-VER", "a b"]),
        "-ERR lib-ver cannot contain spaces, newlines or special characters."
    );
    assert_eq!(
        connection.run("CLIENT SETINFO foo 1"),
        "-ERR Unrecognized option 'foo'"
    );
    let info = connection.run("CLIENT INFO");
    assert!(
        info.contains("id=7 addr=127.0.0.1:5000 laddr=127.0.0.1:6379"),
        "{info}"
    );
    assert!(
        info.contains("name=me ") && info.contains("cmd=client|info"),
        "{info}"
    );
    assert!(info.contains("resp=2 lib-name=lib lib-ver=1.0"), "{info}");
    assert_eq!(connection.run("CLIENT ID"), ":7");
}

#[test]
fn lists_are_filtered_by_number_and_type() {
    let mut connection = with_others();
    let ids = |reply: String| -> Vec<String> {
        let words = reply.split([' ', '\n']).map(str::to_string);
        words.filter(|word| word.starts_with("id=")).collect()
    };
    assert_eq!(ids(connection.run("CLIENT LIST")), ["id=7", "id=8", "id=9"]);
    assert_eq!(
        ids(connection.run("CLIENT LIST ID 9 7 1")),
        ["id=7", "id=9"]
    );
    assert_eq!(ids(connection.run("CLIENT LIST TYPE normal")).len(), 3);
    assert_eq!(connection.run("CLIENT LIST TYPE replica"), "$0");
    for (line, error) in [
        ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"),
        ("CLIENT LIST ID", "-ERR syntax error"),
        ("CLIENT LIST ID x", "-ERR Invalid client ID"),
        ("CLIENT LIST foo", "-ERR syntax error"),
    ] {
        assert_eq!(connection.run(line), error);
    }
}

#[test]
fn clients_are_killed_by_address_or_by_conditions() {
    let mut connection = with_others();
    assert_eq!(
        connection.run("CLIENT KILL 1.1.1.1:1"),
        "-ERR No such client"
    );
    assert_eq!(connection.run("CLIENT KILL 10.0.0.1:1"), "+OK");
    assert_eq!(connection.run("CLIENT KILL ID 9 ADDR 10.0.0.1:1"), ":0");
    assert_eq!(connection.run("CLIENT KILL TYPE normal USER default"), ":1");
    assert!(!connection.session.close_after_reply);
    assert_eq!(
        connection.run("CLIENT KILL LADDR 127.0.0.1:6379 SKIPME no"),
        ":1"
    );
    assert!(connection.session.close_after_reply);
    assert_eq!(connection.orders(), ["kill 8", "kill 9"]);
    for (line, error) in [
        (
            "CLIENT KILL ID 0",
            "-ERR client-id should be greater than 0",
        ),
        (
            "CLIENT KILL ID x",
            "-ERR client-id should be greater than 0",
        ),
        ("CLIENT KILL ID 3 ADDR", "-ERR syntax error"),
        ("CLIENT KILL USER nobody", "-ERR No such user 'nobody'"),
        ("CLIENT KILL SKIPME maybe", "-ERR syntax error"),
        ("CLIENT KILL foo bar", "-ERR syntax error"),
    ] {
        assert_eq!(connection.run(line), error);
    }
}

#[test]
fn killing_oneself_by_address_closes_behind_the_reply() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("CLIENT KILL 127.0.0.1:5000"), "+OK");
    assert!(connection.session.close_after_reply);
}

#[test]
fn pauses_have_a_length_and_a_mode() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("CLIENT PAUSE 100"), "+OK");
    assert_eq!(connection.run("CLIENT PAUSE 5 write"), "+OK");
    assert_eq!(connection.run("CLIENT UNPAUSE"), "+OK");
    assert_eq!(
        connection.orders(),
        [
            "pause until 1700000000100",
            "pause writes until 1700000000005",
            "unpause"
        ]
    );
    for (line, error) in [
        (
            "CLIENT PAUSE x",
            "-ERR timeout is not an integer or out of range",
        ),
        ("CLIENT PAUSE -1", "-ERR timeout is negative"),
        (
            "CLIENT PAUSE 1 foo",
            "-ERR CLIENT PAUSE mode must be WRITE or ALL",
        ),
        (
            "CLIENT pause 1 WRITE x",
            "-ERR unknown subcommand or wrong number of arguments for 'pause'. Try CLIENT HELP.",
        ),
    ] {
        assert_eq!(connection.run(line), error);
    }
}

#[test]
fn replies_are_switched_without_a_reply() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("CLIENT REPLY SKIP"), "");
    assert_eq!(connection.session.replies, Replies::SkipNext);
    assert_eq!(connection.run("CLIENT REPLY OFF"), "");
    assert_eq!(connection.run("CLIENT REPLY SKIP"), "");
    assert_eq!(connection.session.replies, Replies::Off);
    assert_eq!(connection.run("CLIENT REPLY ON"), "+OK");
    assert_eq!(connection.run("CLIENT REPLY foo"), "-ERR syntax error");
}

#[test]
fn client_side_caching_is_off_and_says_so() {
    let mut connection = Connection::new().resp3();
    assert_eq!(connection.run("CLIENT TRACKING OFF"), "+OK");
    assert!(connection
        .run("CLIENT TRACKING ON BCAST PREFIX a")
        .contains("not supported"));
    assert_eq!(
        connection.run("CLIENT TRACKING ON foo"),
        "-ERR syntax error"
    );
    assert_eq!(
        connection.run("CLIENT TRACKING ON REDIRECT 99"),
        "-ERR The client ID you want redirect to does not exist"
    );
    assert_eq!(
        connection.run("CLIENT TRACKINGINFO"),
        "%3 $5 flags ~1 $3 off $8 redirect :-1 $8 prefixes *0"
    );
    assert_eq!(connection.run("CLIENT GETREDIR"), ":-1");
    assert!(connection
        .run("CLIENT CACHING yes")
        .starts_with("-ERR CLIENT CACHING can be called"));
}

#[test]
fn nobody_is_blocked() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("CLIENT UNBLOCK 3"), ":0");
    assert_eq!(connection.run("CLIENT UNBLOCK 3 error"), ":0");
    for (line, error) in [
        (
            "CLIENT UNBLOCK x",
            "-ERR value is not an integer or out of range",
        ),
        (
            "CLIENT UNBLOCK 3 foo",
            "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        ),
    ] {
        assert_eq!(connection.run(line), error);
    }
}

#[test]
fn flags_of_a_connection_show_in_its_line() {
    let mut connection = Connection::new();
    assert!(connection.run("CLIENT INFO").contains(" flags=N "));
    assert_eq!(connection.run("CLIENT NO-EVICT on"), "+OK");
    assert_eq!(connection.run("CLIENT NO-TOUCH ON"), "+OK");
    assert!(connection.run("CLIENT INFO").contains(" flags=eT "));
    assert_eq!(connection.run("CLIENT NO-EVICT x"), "-ERR syntax error");
}
