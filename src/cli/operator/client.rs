//! Asks nodes over HTTP, one after the other until one answers. What comes back is bounded in size and time and is trusted in nothing.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use base64::Engine;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{header, Method, Request, Response};
use ureq::{Agent, AsSendBody, Body, Timeout};

use super::failure::Failure;
use super::target::Target;
use super::text::clean;
use crate::admin::api::{OperatorError, Refusal};

/// A larger answer is none of a ringfort node: 8,192 shards with all their copies are some 5 MiB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const ANSWER_HEADER_BYTES_MAX: usize = 64 << 10;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) connect: Duration,
    /// For an answer to a question.
    pub(super) question: Duration,
    /// For an order to be carried out.
    pub(super) order: Duration,
    /// For a cluster that nobody leads at the moment to be led again.
    pub(super) election: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            question: Duration::from_secs(10),
            order: Duration::from_secs(30),
            election: Duration::from_secs(5),
        }
    }
}

const PAUSE_IN_ELECTION: Duration = Duration::from_millis(500);

/// An answer, and its body as it came.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) value: T,
    pub(super) body: String,
}

/// Whoever answers for the cluster.
pub(super) struct Client {
    agent: Agent,
    addresses: Vec<String>,
    /// The one that answered last.
    current: AtomicUsize,
    authorization: Option<String>,
    patience: Patience,
}

/// One thing to ask.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    body: Option<String>,
    within: Duration,
}

impl Ask<'_> {
    /// May be asked again without harm when nobody knows what became of it.
    fn is_question(&self) -> bool {
        self.method == Method::GET
    }
}

/// What became of one attempt at one address.
enum Attempt {
    Answered(String),
    /// Certainly not done; another node may know better.
    Next(String),
    /// Nobody leads; certainly not done, and worth another try in a moment.
    Leaderless(String),
    Failed(Failure),
}

impl Client {
    pub(super) fn new(target: &Target, patience: Patience) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // Nodes are asked directly, whatever HTTP_PROXY says of the world outside.
            .proxy(None)
            // A connection that has been idle may be gone, and then nobody knows whether an order on it arrived.
            .max_idle_connections(0)
            .max_response_header_size(ANSWER_HEADER_BYTES_MAX)
            .timeout_connect(Some(patience.connect))
            .user_agent(concat!("ringfort/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .build();
        let authorization = target.password.as_ref().map(|password| {
            let both = [b"default:", password.as_slice()].concat();
            format!(
                "Basic {}",
                base64::engine::general_purpose::STANDARD.encode(both)
            )
        });
        Self {
            agent: config.new_agent(),
            addresses: target.addresses.clone(),
            current: AtomicUsize::new(0),
            authorization,
            patience,
        }
    }

    /// One that does not wait for a leader itself: its user asks again anyway.
    pub(super) fn for_polling(target: &Target) -> Self {
        let patience = Patience {
            election: Duration::ZERO,
            ..Patience::default()
        };
        Self::new(target, patience)
    }

    /// Asks for a state of things.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Failure> {
        self.ask(&Ask {
            method: Method::GET,
            path,
            body: None,
            within: self.patience.question,
        })
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<Answer<T>, Failure> {
        self.post_within(path, body, self.patience.order)
    }

    /// Gives an order that may take long.
    pub(super) fn post_within<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        within: Duration,
    ) -> Result<Answer<T>, Failure> {
        self.ask(&Ask {
            method: Method::POST,
            path,
            body: Some(body.to_string()),
            within,
        })
    }

    pub(super) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Failure> {
        self.ask(&Ask {
            method: Method::DELETE,
            path,
            body: None,
            within: self.patience.order,
        })
    }

    fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<Answer<T>, Failure> {
        let began = Instant::now();
        let body = loop {
            match self.ask_all(ask)? {
                Ok(body) => break body,
                Err(reason) if began.elapsed() + PAUSE_IN_ELECTION > self.patience.election => {
                    return Err(Failure::Unreachable(reason));
                }
                Err(_) => std::thread::sleep(PAUSE_IN_ELECTION),
            }
        };
        match serde_json::from_str(&body) {
            Ok(value) => Ok(Answer { value, body }),
            Err(_) => Err(self.senseless(ask, "its answer is not what a ringfort node says")),
        }
    }

    /// Asks one address after the other. The inner error: nobody leads the cluster, says a node.
    fn ask_all(&self, ask: &Ask) -> Result<Result<String, String>, Failure> {
        let first = self.current.load(Relaxed);
        let mut silent = Vec::new();
        let mut leaderless = None;
        for step in 0..self.addresses.len() {
            let at = (first + step) % self.addresses.len();
            let address = &self.addresses[at];
            let attempt = self.attempt(address, ask);
            if !matches!(attempt, Attempt::Next(_)) {
                self.current.store(at, Relaxed);
            }
            match attempt {
                Attempt::Answered(body) => return Ok(Ok(body)),
                Attempt::Failed(failure) => return Err(failure),
                Attempt::Leaderless(reason) => leaderless = Some(reason),
                Attempt::Next(reason) => silent.push(format!("{address}: {reason}")),
            }
        }
        match leaderless {
            Some(reason) => Ok(Err(reason)),
            None => Err(Failure::Unreachable(unreachable(&silent))),
        }
    }

    fn attempt(&self, address: &str, ask: &Ask) -> Attempt {
        match self.send(address, ask) {
            Ok((status, body)) => self.judge(address, ask, status, body),
            Err(error) if was_not_sent(&error) => Attempt::Next(cause(&error)),
            // It may have been done, but it does not matter.
            Err(error) if ask.is_question() => Attempt::Next(cause(&error)),
            Err(error) => Attempt::Failed(Failure::Unknown(format!(
                "{address}: {}. It may have been done or not: look with `ringfort status`, and repeat the command if it was not",
                cause(&error)
            ))),
        }
    }

    fn send(&self, address: &str, ask: &Ask) -> Result<(u16, String), ureq::Error> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(format!("http://{address}{}", ask.path));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        match &ask.body {
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.run(request.body(body.as_str())?, ask.within)
            }
            None => self.run(request.body(())?, ask.within),
        }
    }

    fn run(
        &self,
        request: Request<impl AsSendBody>,
        within: Duration,
    ) -> Result<(u16, String), ureq::Error> {
        let request = self.agent.configure_request(request);
        read(
            self.agent
                .run(request.timeout_global(Some(within)).build())?,
        )
    }

    /// What an answer means.
    fn judge(&self, address: &str, ask: &Ask, status: u16, body: String) -> Attempt {
        if (200..300).contains(&status) {
            return Attempt::Answered(body);
        }
        let said = serde_json::from_str::<OperatorError>(&body).ok();
        match (status, said) {
            (401, _) if self.authorization.is_some() => Attempt::Failed(Failure::refused(format!("{address} does not take this password"))),
            (401, _) => Attempt::Failed(Failure::refused(format!(
                "{address} asks for a password: give it with --password-file FILE or in RINGFORT_PASSWORD"
            ))),
            (_, Some(error)) => refusal(error),
            (403, None) => Attempt::Failed(Failure::refused(format!("{address} refuses: {}", first_line(&body)))),
            (503, None) => Attempt::Leaderless(format!("{address} is not ready: {}", first_line(&body))),
            (500.., None) => Attempt::Failed(self.senseless(ask, &format!("{address} answers with HTTP status {status}"))),
            (_, None) => Attempt::Next(format!("answers with HTTP status {status}: no HTTP port of a ringfort node, or of one that is too old")),
        }
    }

    /// An answer that no ringfort node gives.
    fn senseless(&self, ask: &Ask, what: &str) -> Failure {
        let address = &self.addresses[self.current.load(Relaxed) % self.addresses.len()];
        let text = format!("{address}: {what}. Is this the HTTP port of a node (8379 unless --http-port says otherwise)?");
        match ask.is_question() {
            true => Failure::Unreachable(text),
            false => Failure::Unknown(format!(
                "{text} The order may have been carried out or not: look with `ringfort status`"
            )),
        }
    }
}

/// A node's own word.
fn refusal(error: OperatorError) -> Attempt {
    let reason = clean(&error.reason);
    match error.kind {
        Refusal::Unavailable => Attempt::Leaderless(reason),
        Refusal::Unknown => Attempt::Failed(Failure::Unknown(reason)),
        kind => Attempt::Failed(Failure::Refused { kind, reason }),
    }
}

fn read(response: Response<Body>) -> Result<(u16, String), ureq::Error> {
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .into_with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_vec()?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// It failed before a byte of the request was sent.
fn was_not_sent(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable,
    };
    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::BadUri(_)
        | ureq::Error::Http(_) => true,
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            AddrNotAvailable
                | ConnectionRefused
                | HostUnreachable
                | NetworkDown
                | NetworkUnreachable
        ),
        _ => false,
    }
}

fn cause(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "there is no such host".into(),
        ureq::Error::Timeout(Timeout::Resolve) => "the name is not resolved in time".into(),
        ureq::Error::Timeout(Timeout::Connect) => "no connection in time".into(),
        ureq::Error::Timeout(_) => "no answer in time".into(),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "nobody listens there".into()
        }
        ureq::Error::Io(error) => clean(&error.to_string()),
        ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => {
            "its answer is too large for a ringfort node's; is this the HTTP port of one?".into()
        }
        ureq::Error::Protocol(_) => {
            "it does not speak HTTP; is this the HTTP port of a node?".into()
        }
        error => clean(&error.to_string()),
    }
}

fn first_line(body: &str) -> String {
    const CHARS_MAX: usize = 200;
    let line = clean(body.trim().lines().next().unwrap_or_default());
    line.chars().take(CHARS_MAX).collect()
}

fn unreachable(silent: &[String]) -> String {
    format!(
        "the cluster cannot be reached\n  {}\nName the HTTP port of a node that runs with --http HOST:PORT or RINGFORT_HTTP; several, \
         separated by commas, are tried in turn.",
        silent.join("\n  ")
    )
}

/// One part of a path, with whatever has a meaning there escaped.
pub(super) fn segment(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                path.push(char::from(byte))
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
