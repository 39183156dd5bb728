//! How an element of a container goes into a reply.

use crate::protocol::Reply;
use crate::store::listpack::Element;

/// The element as a bulk string.
#[inline]
pub fn write_element(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Int(value) => reply.bulk_int(value),
    }
}
