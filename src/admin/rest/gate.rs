//! Who may use the operator's API: whoever knows the password; where there is none and protected mode is on, whoever is on this machine.
//! Knows no route.

use axum::extract::{Request, State};
use axum::http::header::{HeaderValue, AUTHORIZATION, CACHE_CONTROL, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, Engine};
use sha2::{Digest, Sha256};

use crate::node::loopback::is_loopback;
use crate::node::operator::{OperatorError, Refusal};

use super::failure::Failure;
use super::{caller, Node};

/// Lets a request through, or refuses it.
pub(super) async fn guard(State(node): State<Node>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = match admit(&node, &parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(failure) => failure.into_response(),
    };
    // How a cluster is now is of no use a moment later.
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

pub(super) fn admit(node: &Node, parts: &Parts) -> Result<(), Failure> {
    let live = node.settings().live();
    match live.requirepass.as_str() {
        "" if live.protected_mode => {
            let is_here = is_loopback(caller(parts)?.address.ip());
            of_this_machine(is_here, &parts.headers)
        }
        "" => Ok(()),
        password => with_password(password, &parts.headers),
    }
}

fn refused(status: StatusCode, reason: &str) -> Failure {
    Failure::new(status, OperatorError::new(Refusal::Invalid, reason))
}

/// A web page that has a browser take its own name for this machine still sends that name.
fn of_this_machine(is_here: bool, headers: &HeaderMap) -> Result<(), Failure> {
    let host = headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
    match host {
        _ if !is_here => Err(refused(
            StatusCode::FORBIDDEN,
            "no password is set, so only this machine may ask: set requirepass and send it, or ask on the node's own machine",
        )),
        Some(host) if !is_address(host) => Err(refused(
            StatusCode::FORBIDDEN,
            "no password is set, so the node is to be asked as localhost or by its address: set requirepass to ask it by a name",
        )),
        _ => Ok(()),
    }
}

/// Whether a Host header is an address or localhost, with or without a port.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

fn with_password(password: &str, headers: &HeaderMap) -> Result<(), Failure> {
    let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let Some(given) = given else {
        let reason = "the password is missing: send it as `Authorization: Bearer`, or as that of the user default";
        return Err(refused(StatusCode::UNAUTHORIZED, reason));
    };
    match password_of(given) {
        Some(given) if are_equal(&given, password.as_bytes()) => Ok(()),
        _ => Err(refused(StatusCode::UNAUTHORIZED, "the password is wrong")),
    }
}

/// The password in an Authorization header, if it is one of this API.
fn password_of(header: &[u8]) -> Option<Vec<u8>> {
    let end = header.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = (&header[..end], header[end..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let both = from_base64(rest)?;
    let end = both.iter().position(|byte| *byte == b':')?;
    let is_default = matches!(&both[..end], b"" | b"default");
    is_default.then(|| both[end + 1..].to_vec())
}

/// Takes as long wherever two texts differ: their hashes are compared, to the end.
fn are_equal(given: &[u8], expected: &[u8]) -> bool {
    let (given, expected) = (Sha256::digest(given), Sha256::digest(expected));
    let pairs = given.iter().zip(expected.iter());
    pairs.fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// RFC 4648, with or without the padding.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    LENIENT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_it_is_written() {
        for (text, expected) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg", Some("foob")),
            ("Zm9v!", None),
            ("Z", None),
            ("Zm=v", None),
            ("Zh==", None),
        ] {
            let expected = expected.map(|text: &str| text.as_bytes().to_vec());
            assert_eq!(from_base64(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_password_comes_as_that_of_the_default_user_or_as_a_token() {
        for (header, expected) in [
            ("Bearer secret", Some("secret")),
            ("bearer  secret ", Some("secret")),
            ("Basic ZGVmYXVsdDpzZWNyZXQ=", Some("secret")),
            ("Basic OnNlOmNyZXQ=", Some("se:cret")),
            // Another user.
            ("Basic Ym9iOnNlY3JldA==", None),
            ("Basic secret", None),
            ("Digest secret", None),
            ("secret", None),
        ] {
            let expected = expected.map(|text| text.as_bytes().to_vec());
            assert_eq!(password_of(header.as_bytes()), expected, "{header}");
        }
        assert!(are_equal(b"secret", b"secret"));
        assert!(!are_equal(b"secret", b"secreT") && !are_equal(b"", b"secret"));
    }

    #[test]
    fn a_host_is_an_address_or_a_name() {
        for (host, expected) in [
            ("localhost:8379", true),
            ("127.0.0.1", true),
            ("[::1]:8379", true),
            ("evil.example:8379", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_address(host), expected, "{host}");
        }
    }
}
