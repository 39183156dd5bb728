//! What requests bring: names in the path, queries, bodies. Whatever is wrong with them is told as a refusal. Knows no route.

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, RawQuery, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::node::operator::{OperatorError, Refusal};

use super::super::guard::BODY_BYTES_MAX;
use super::failure::Failure;
use super::Node;

/// The one name in the path.
pub(super) struct Name(pub String);

impl FromRequestParts<Node> for Name {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, node: &Node) -> Result<Self, Failure> {
        let name = Path::<String>::from_request_parts(parts, node).await;
        let Path(name) = name.map_err(|error| Failure::invalid(error.to_string()))?;
        Ok(Self(name))
    }
}

impl Name {
    /// The number of a shard.
    pub fn shard(&self) -> Result<u32, Failure> {
        let number = self.0.parse();
        number.map_err(|_| Failure::invalid("a shard has a number: see /v1/shards"))
    }
}

/// A body of JSON; none at all stands for `{}`.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Node> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, node: &Node) -> Result<Self, Failure> {
        // A web page cannot have a browser send this to another site without that being asked first.
        if !is_json(request.headers()) {
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                OperatorError::new(
                    Refusal::Invalid,
                    "send the body with `Content-Type: application/json`",
                ),
            ));
        }
        let bytes = Bytes::from_request(request, node).await;
        let bytes = bytes.map_err(unread)?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let body = serde_json::from_slice(text);
        body.map(Self)
            .map_err(|error| Failure::invalid(format!("the body: {error}")))
    }
}

fn unread(rejection: BytesRejection) -> Failure {
    let reason = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            format!("the body is longer than {BODY_BYTES_MAX} bytes")
        }
        _ => format!("the body cannot be read: {rejection}"),
    };
    Failure::new(
        rejection.status(),
        OperatorError::new(Refusal::Invalid, reason),
    )
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// What stands behind the question mark, by name.
pub(super) struct Query(Vec<(String, String)>);

impl FromRequestParts<Node> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, node: &Node) -> Result<Self, Failure> {
        let query = RawQuery::from_request_parts(parts, node).await;
        let query = query.ok().and_then(|RawQuery(query)| query);
        Self::parse(&query.unwrap_or_default())
    }
}

impl Query {
    fn parse(text: &str) -> Result<Self, Failure> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        };
        let pairs: Option<Vec<_>> = pairs.map(pair).collect();
        let pairs = pairs.ok_or_else(|| Failure::invalid("the query cannot be read"))?;
        Ok(Self(pairs))
    }

    /// Refuses what is none of these: a name that is mistyped must not go unnoticed.
    pub fn only(&self, known: &[&str]) -> Result<(), Failure> {
        let stranger = self
            .0
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()));
        match stranger {
            None => Ok(()),
            Some(_) => Err(Failure::invalid(format!(
                "the query knows {}",
                known.join(", ")
            ))),
        }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        let found = all.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A number from 1 up, or what is usual.
    pub fn number(&self, name: &str, usual: u16) -> Result<u16, Failure> {
        let Some(text) = self.text(name) else {
            return Ok(usual);
        };
        let number = text.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| Failure::invalid(format!("{name} is a number from 1 to {}", u16::MAX)))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Failure::invalid(format!("{name} is true or false"))),
        }
    }
}

/// A part of a query with its escapes undone.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, behind @ ..]) => {
                let digit = |byte: &u8| (*byte as char).to_digit(16);
                bytes.push((digit(high)? * 16 + digit(low)?) as u8);
                rest = behind;
            }
            (b'%', _) => return None,
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_with_its_escapes() {
        let query = Query::parse("zone=a%20b+c%C3%A9&count=3&&force=true&empty")
            .ok()
            .unwrap();
        assert_eq!(query.text("zone"), Some("a b cé"));
        assert_eq!((query.text("empty"), query.text("other")), (Some(""), None));
        assert_eq!(
            (
                query.number("count", 1).ok(),
                query.number("weight", 100).ok()
            ),
            (Some(3), Some(100))
        );
        assert_eq!(
            (query.flag("force").ok(), query.flag("other").ok()),
            (Some(true), Some(false))
        );
        assert!(query.only(&["zone", "count", "force", "empty"]).is_ok());
    }

    #[test]
    fn a_query_that_makes_no_sense_is_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
        let query = Query::parse("count=0&weight=70000&force=1&cuont=2")
            .ok()
            .unwrap();
        assert!(query.number("count", 1).is_err() && query.number("weight", 1).is_err());
        assert!(query.flag("force").is_err() && query.only(&["count"]).is_err());
    }
}
