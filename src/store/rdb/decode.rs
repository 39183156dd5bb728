//! Bytes that nobody vouches for to values.

use std::borrow::Cow;

use super::legacy::{ziplist, zipmap};
use super::wire::{BadFormat, Reader};
use super::{kind, node};
use crate::store::list::OwnedNode;
use crate::store::listpack::{Element, Listpack, ELEMENT_OVERHEAD_MAX};
use crate::store::{Hash, IntSet, Limits, List, Set, Value, ZSet};

/// In which encoding a value comes back.
#[derive(Clone, Copy, Debug)]
pub enum Decoding<'a> {
    /// In the one it was written in, element for element: replicas must not differ.
    Exact,
    /// In the one that its size asks for, as RESTORE decides.
    Natural(&'a Limits),
}

/// The value that `bytes` hold, all of them. An empty container is refused: it has no key.
pub fn decode_value(bytes: &[u8], decoding: Decoding<'_>) -> Result<Value, BadFormat> {
    let mut reader = Reader::new(bytes);
    let value = read_value(&mut reader, decoding)?;
    match reader.is_at_end() {
        true => Ok(value),
        false => Err(BadFormat),
    }
}

/// The value at the reader's place.
pub fn read_value(reader: &mut Reader<'_>, decoding: Decoding<'_>) -> Result<Value, BadFormat> {
    let kind = reader.byte()?;
    let value = match kind {
        kind::STRING => Value::Str(reader.string()?.into_owned()),
        kind::LIST_LISTPACK if matches!(decoding, Decoding::Exact) => {
            Value::List(List::from_listpack(listpack(reader)?))
        }
        kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
            Value::List(read_list(kind, reader, decoding)?)
        }
        kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => {
            Value::Set(read_set(kind, reader, decoding)?)
        }
        kind::HASH | kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
            Value::Hash(read_hash(kind, reader, decoding)?)
        }
        kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => {
            Value::ZSet(read_zset(kind, reader, decoding)?)
        }
        _ => return Err(BadFormat),
    };
    let is_empty = match &value {
        Value::Str(_) => false,
        Value::List(list) => list.is_empty(),
        Value::Set(set) => set.is_empty(),
        Value::Hash(hash) => hash.is_empty(),
        Value::ZSet(zset) => zset.is_empty(),
    };
    match is_empty {
        true => Err(BadFormat),
        false => Ok(value),
    }
}

fn read_list(kind: u8, reader: &mut Reader<'_>, decoding: Decoding<'_>) -> Result<List, BadFormat> {
    let nodes = match kind {
        kind::LIST => {
            let values = strings(reader)?;
            return Ok(list_of(values.iter().map(|value| &**value), decoding));
        }
        kind::LIST_ZIPLIST => vec![OwnedNode::Packed(ziplist_as_listpack(&reader.string()?)?)],
        kind::LIST_QUICKLIST => {
            let count = reader.count(1)?;
            let nodes = (0..count).map(|_| {
                let node = ziplist_as_listpack(&reader.string()?)?;
                Ok(OwnedNode::Packed(node))
            });
            nodes.collect::<Result<_, BadFormat>>()?
        }
        _ => {
            let count = reader.count(2)?;
            let nodes = (0..count).map(|_| match reader.len()? {
                node::PLAIN => Ok(OwnedNode::Plain(reader.string()?.into())),
                node::PACKED => listpack(reader).map(OwnedNode::Packed),
                _ => Err(BadFormat),
            });
            nodes.collect::<Result<_, BadFormat>>()?
        }
    };
    let mut list = List::from_nodes(nodes);
    if let Decoding::Natural(limits) = decoding {
        list.settle(limits);
    }
    Ok(list)
}

fn list_of<'a>(values: impl Iterator<Item = &'a [u8]>, decoding: Decoding<'_>) -> List {
    match decoding {
        Decoding::Natural(limits) => List::from_values(values, limits),
        // Nothing of ours writes this form: any encoding is exact.
        Decoding::Exact => List::from_values(values, &Limits::default()),
    }
}

fn read_set(kind: u8, reader: &mut Reader<'_>, decoding: Decoding<'_>) -> Result<Set, BadFormat> {
    match kind {
        kind::SET_INTSET => {
            let intset = IntSet::from_bytes(&reader.string()?).map_err(|_| BadFormat)?;
            let set = Set::from_intset(intset);
            Ok(match decoding {
                Decoding::Natural(limits) if set.len() > limits.set_max_intset_entries as usize => {
                    as_table(&set)
                }
                _ => set,
            })
        }
        kind::SET_LISTPACK => {
            let set = Set::from_listpack(listpack(reader)?).map_err(|_| BadFormat)?;
            Ok(match decoding {
                Decoding::Natural(limits)
                    if set.len() > limits.set_max_listpack_entries as usize =>
                {
                    as_table(&set)
                }
                _ => set,
            })
        }
        _ => read_plain_set(reader, decoding),
    }
}

fn read_plain_set(reader: &mut Reader<'_>, decoding: Decoding<'_>) -> Result<Set, BadFormat> {
    let members = strings(reader)?;
    let set = match (decoding, members.first()) {
        (_, None) => return Err(BadFormat),
        (Decoding::Exact, _) => Set::from_members(members.iter().map(|member| &**member)),
        (Decoding::Natural(limits), Some(first)) => {
            let mut set = Set::expecting(first, members.len(), limits);
            for member in &members {
                set.add(member, limits);
            }
            set
        }
    };
    // Members that stand there twice were merged.
    match set.len() == members.len() {
        true => Ok(set),
        false => Err(BadFormat),
    }
}

fn as_table(set: &Set) -> Set {
    let members: Vec<Box<[u8]>> = set.iter().map(|member| member.to_box()).collect();
    Set::from_members(members.iter().map(|member| &**member))
}

fn read_hash(kind: u8, reader: &mut Reader<'_>, decoding: Decoding<'_>) -> Result<Hash, BadFormat> {
    let blob;
    let packed = match kind {
        kind::HASH => return read_plain_hash(reader, decoding),
        kind::HASH_LISTPACK => listpack(reader)?,
        kind::HASH_ZIPLIST => ziplist_as_listpack(&reader.string()?)?,
        _ => {
            blob = reader.string()?;
            pack(zipmap(&blob)?)?
        }
    };
    let hash = Hash::from_listpack(packed).map_err(|_| BadFormat)?;
    match decoding {
        Decoding::Natural(limits) if hash.len() > limits.hash_max_listpack_entries as usize => {
            let pairs: Vec<_> = hash.iter().map(|(f, v)| (f.to_box(), v.to_box())).collect();
            let pairs = pairs.iter().map(|(field, value)| (&**field, &**value));
            Hash::from_pairs_as_hashtable(pairs).map_err(|_| BadFormat)
        }
        _ => Ok(hash),
    }
}

fn read_plain_hash(reader: &mut Reader<'_>, decoding: Decoding<'_>) -> Result<Hash, BadFormat> {
    let count = reader.count(2)?;
    let pairs = (0..count)
        .map(|_| Ok((reader.string()?, reader.string()?)))
        .collect::<Result<Vec<_>, BadFormat>>()?;
    let borrowed = pairs.iter().map(|(field, value)| (&**field, &**value));
    let hash = match decoding {
        Decoding::Exact => {
            return Hash::from_pairs_as_hashtable(borrowed).map_err(|_| BadFormat);
        }
        Decoding::Natural(limits) if count > limits.hash_max_listpack_entries as usize => {
            return Hash::from_pairs_as_hashtable(borrowed).map_err(|_| BadFormat);
        }
        Decoding::Natural(limits) => Hash::from_pairs(borrowed, limits),
    };
    // Fields that stand there twice were merged.
    match hash.len() == count {
        true => Ok(hash),
        false => Err(BadFormat),
    }
}

fn read_zset(kind: u8, reader: &mut Reader<'_>, decoding: Decoding<'_>) -> Result<ZSet, BadFormat> {
    let mut zset = match kind {
        kind::ZSET_LISTPACK => {
            let zset = ZSet::from_listpack(listpack(reader)?).map_err(|_| BadFormat)?;
            match decoding {
                Decoding::Natural(limits)
                    if zset.len() > limits.zset_max_listpack_entries as usize =>
                {
                    let members: Vec<_> =
                        zset.iter().map(|(m, score)| (m.to_box(), score)).collect();
                    sorted_set(members.iter().map(|(member, score)| (&**member, *score)))?
                }
                _ => return Ok(zset),
            }
        }
        kind::ZSET_ZIPLIST => {
            let packed = ziplist_as_listpack(&reader.string()?)?;
            ZSet::from_listpack(packed).map_err(|_| BadFormat)?
        }
        _ => {
            let is_text = kind == kind::ZSET;
            let count = reader.count(if is_text { 2 } else { 9 })?;
            let members = (0..count)
                .map(|_| {
                    let member = reader.string()?;
                    let score = if is_text {
                        reader.text_double()?
                    } else {
                        reader.double()?
                    };
                    Ok((member, score))
                })
                .collect::<Result<Vec<_>, BadFormat>>()?;
            sorted_set(members.iter().map(|(member, score)| (&**member, *score)))?
        }
    };
    if let Decoding::Natural(limits) = decoding {
        zset.compact(limits);
    }
    Ok(zset)
}

fn sorted_set<'a>(members: impl Iterator<Item = (&'a [u8], f64)>) -> Result<ZSet, BadFormat> {
    ZSet::from_members(members).map_err(|_| BadFormat)
}

fn strings<'a>(reader: &mut Reader<'a>) -> Result<Vec<Cow<'a, [u8]>>, BadFormat> {
    let count = reader.count(1)?;
    (0..count).map(|_| reader.string()).collect()
}

fn listpack(reader: &mut Reader<'_>) -> Result<Listpack, BadFormat> {
    Listpack::from_bytes(&reader.string()?).map_err(|_| BadFormat)
}

fn ziplist_as_listpack(bytes: &[u8]) -> Result<Listpack, BadFormat> {
    pack(ziplist(bytes)?)
}

fn pack(elements: Vec<Element<'_>>) -> Result<Listpack, BadFormat> {
    let bytes = elements
        .iter()
        .map(|element| element.byte_len() + ELEMENT_OVERHEAD_MAX)
        .sum();
    if !Listpack::new().has_room_for(bytes) {
        return Err(BadFormat);
    }
    let mut packed = Listpack::with_capacity(bytes);
    for element in elements {
        packed.push_element_back(element);
    }
    Ok(packed)
}
