//! One connection as a line of CLIENT LIST.

use super::super::host::ClientReport;
use super::super::Session;
use super::resp_number;

/// The line of another connection, with its line feed.
pub fn line(client: &ClientReport) -> String {
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub=0 multi=-1 \
         qbuf={} qbuf-free={} argv-mem={} multi-mem=0 rbs={} rbp={} obl=0 oll={} omem={} tot-mem={} events={} \
         cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
        client.id,
        client.address,
        client.local_address,
        client.fd,
        text(&client.name),
        client.age_seconds,
        client.idle_seconds,
        flags(client),
        client.database,
        client.channels,
        client.patterns,
        client.query_bytes,
        client.query_free_bytes,
        client.argument_bytes,
        client.output_bytes,
        client.output_bytes,
        u8::from(client.output_bytes > 0),
        client.output_bytes,
        client.memory_bytes,
        if client.output_bytes > 0 { "rw" } else { "r" },
        if client.command.is_empty() { "NULL" } else { client.command },
        client.resp.max(2),
        text(&client.lib_name),
        text(&client.lib_version),
    )
}

/// The line of the connection that asks: its own state counts, which the node may not know yet.
pub fn own_line(known: ClientReport, session: &Session, command: &'static str) -> String {
    line(&ClientReport {
        id: session.id,
        address: session.address.clone(),
        local_address: session.local_address.clone(),
        name: session.name.clone(),
        database: session.database,
        command,
        resp: resp_number(session.proto),
        lib_name: session.lib_name.clone(),
        lib_version: session.lib_version.clone(),
        no_evict: session.no_evict,
        no_touch: session.no_touch,
        readonly: session.is_readonly,
        idle_seconds: 0,
        ..known
    })
}

/// Redis' letters, in its order.
fn flags(client: &ClientReport) -> String {
    let letters = [
        (client.channels + client.patterns > 0, 'P'),
        (client.blocked, 'b'),
        (client.closing, 'c'),
        (client.readonly, 'r'),
        (client.no_evict, 'e'),
        (client.no_touch, 'T'),
    ];
    let set: String = letters
        .iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, letter)| *letter)
        .collect();
    if set.is_empty() {
        "N".into()
    } else {
        set
    }
}

/// Names hold visible ASCII alone.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
