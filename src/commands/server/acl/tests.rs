//! ACL of one connection to a made-up node.

use crate::commands::testing_host::Connection;

#[test]
fn the_default_user_without_a_password() {
    let mut connection = Connection::new();
    assert_eq!(
        connection.run("ACL LIST"),
        "*1 $51 user default on nopass sanitize-payload ~* &* +@all"
    );
    assert_eq!(
        connection.run("ACL GETUSER default"),
        "*12 $5 flags *3 $2 on $6 nopass $16 sanitize-payload $9 passwords *0 $8 commands $5 +@all $4 keys $2 ~* \
         $8 channels $2 &* $9 selectors *0"
    );
    assert_eq!(connection.run("ACL GETUSER nobody"), "$-1");
}

#[test]
fn a_password_is_shown_as_its_digest() {
    let mut connection = Connection::with_flags(&[("requirepass", "abc")]);
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let line = format!("user default on sanitize-payload #{digest} ~* &* +@all");
    assert_eq!(
        connection.run("ACL LIST"),
        format!("*1 ${} {line}", line.len())
    );
    let user = connection.resp3().run("ACL GETUSER default");
    let expected =
        format!("%6 $5 flags ~2 $2 on $16 sanitize-payload $9 passwords *1 $64 {digest} ");
    assert!(user.starts_with(&expected), "{user}");
}

#[test]
fn passwords_have_as_many_bits_as_asked_for() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("ACL GENPASS 5"), "$2 01");
    assert_eq!(connection.run("ACL GENPASS 12"), "$3 010");
    assert!(connection.run("ACL GENPASS").starts_with("$64 010203"));
    assert!(connection.run("ACL GENPASS 4096").starts_with("$1024 "));
    for bits in ["0", "-1", "4097"] {
        let reply = connection.run(&format!("ACL GENPASS {bits}"));
        assert!(
            reply.starts_with("-ERR ACL GENPASS argument must be"),
            "{reply}"
        );
    }
}

#[test]
fn failed_logins_are_listed_until_reset() {
    let mut connection = Connection::with_flags(&[("requirepass", "secret")]);
    connection.run("AUTH wrong");
    connection.run("AUTH wrong");
    connection.run("AUTH nobody secret");
    let log = connection.run("ACL LOG");
    assert!(
        log.starts_with(
            "*2 *20 $5 count :1 $6 reason $4 auth $7 context $8 toplevel $6 object $4 AUTH $8 username $6 nobody \
             $11 age-seconds $1 0 $11 client-info $"
        ),
        "{log}"
    );
    assert!(log.contains("id=7 addr=127.0.0.1:5000"), "{log}");
    assert!(log.contains(" *20 $5 count :2 "), "{log}");
    let end = "$8 entry-id :0 $17 timestamp-created :1700000000000 $22 timestamp-last-updated :1700000000000";
    assert!(log.ends_with(end), "{log}");
    assert!(connection.run("ACL LOG 1").starts_with("*1 "));
    assert_eq!(connection.run("ACL LOG -1"), "*0");
    assert_eq!(connection.run("ACL LOG reset"), "+OK");
    assert_eq!(connection.run("ACL LOG"), "*0");
}
