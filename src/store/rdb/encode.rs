//! Values to bytes.

use super::wire::{put_blob, put_int, put_len, put_string};
use super::{kind, node};
use crate::store::list::NodeRef;
use crate::store::listpack::Element;
use crate::store::{Hash, List, Set, SetView, StrRef, ValueRef, ZSet, ZSetView};

/// For whom a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For any Redis.
    Dump,
    /// For ourselves: tells encodings apart that Redis' format does not.
    Exact,
}

/// Appends type byte and body of `value`. Elements keep their order, containers their layout.
pub fn encode_value(value: ValueRef<'_>, form: Form, out: &mut Vec<u8>) {
    match value {
        ValueRef::Str(string) => {
            out.push(kind::STRING);
            match string {
                StrRef::Int(value) => put_int(out, value),
                StrRef::Bytes(bytes) => put_string(out, bytes),
            }
        }
        ValueRef::List(list) => put_list(list, form, out),
        ValueRef::Hash(hash) => put_hash(hash, out),
        ValueRef::Set(set) => put_set(set, out),
        ValueRef::ZSet(zset) => put_zset(zset, out),
    }
}

fn put_list(list: &List, form: Form, out: &mut Vec<u8>) {
    if let (Form::Exact, Some(listpack)) = (form, list.as_listpack()) {
        out.push(kind::LIST_LISTPACK);
        return put_blob(out, listpack.as_bytes());
    }
    out.push(kind::LIST_QUICKLIST_2);
    put_len(out, list.nodes().count());
    for node in list.nodes() {
        let (container, bytes) = match node {
            NodeRef::Packed(listpack) => (node::PACKED, listpack.as_bytes()),
            NodeRef::Plain(bytes) => (node::PLAIN, bytes),
        };
        put_len(out, container);
        put_blob(out, bytes);
    }
}

fn put_hash(hash: &Hash, out: &mut Vec<u8>) {
    if let Some(listpack) = hash.as_listpack() {
        out.push(kind::HASH_LISTPACK);
        return put_blob(out, listpack.as_bytes());
    }
    out.push(kind::HASH);
    put_len(out, hash.len());
    for (field, value) in hash.iter() {
        put_element(out, field);
        put_element(out, value);
    }
}

fn put_set(set: &Set, out: &mut Vec<u8>) {
    match set.view() {
        SetView::IntSet(intset) => {
            out.push(kind::SET_INTSET);
            put_blob(out, intset.as_bytes());
        }
        SetView::Listpack(listpack) => {
            out.push(kind::SET_LISTPACK);
            put_blob(out, listpack.as_bytes());
        }
        SetView::Table => {
            out.push(kind::SET);
            put_len(out, set.len());
            set.iter().for_each(|member| put_element(out, member));
        }
    }
}

fn put_zset(zset: &ZSet, out: &mut Vec<u8>) {
    match zset.view() {
        ZSetView::Listpack(listpack) => {
            out.push(kind::ZSET_LISTPACK);
            put_blob(out, listpack.as_bytes());
        }
        ZSetView::Table(members) => {
            out.push(kind::ZSET_2);
            put_len(out, members.len());
            for (member, score) in members {
                put_string(out, member);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
    }
}

fn put_element(out: &mut Vec<u8>, element: Element<'_>) {
    match element {
        Element::Int(value) => put_int(out, value),
        Element::Bytes(bytes) => put_string(out, bytes),
    }
}
