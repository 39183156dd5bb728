//! The HTTP port: health, readiness, metrics, and the operator's API. Runs on a thread of its own and knows the node alone.

mod guard;
mod metrics;
mod rest;
mod series;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::extract::State as Shared;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::Router;
use tokio::sync::watch;

pub use crate::node::operator as api;
use crate::node::report::{NodeHandle, State};
use crate::settings::BindAddress;
use guard::{Caller, GuardedListener};

/// A running HTTP port; ends when dropped.
pub struct AdminServer {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Serves on these sockets until the server is dropped.
    pub fn start(listeners: Vec<TcpListener>, node: Arc<dyn NodeHandle>) -> io::Result<Self> {
        let addresses = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<io::Result<Vec<_>>>()?;
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("http".into())
            .spawn(move || runtime.block_on(serve(listeners, node, stopped)))?;
        Ok(Self {
            addresses,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Opens a socket for each address; one marked as optional may fail.
pub fn bind(addresses: &[BindAddress], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let socket = SocketAddr::new(address.ip, port);
        match TcpListener::bind(socket) {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.optional => {
                tracing::info!(%socket, %error, "not listening for HTTP here");
            }
            Err(error) => {
                let text = format!("cannot listen for HTTP on {socket}: {error}");
                return Err(io::Error::new(error.kind(), text));
            }
        }
    }
    Ok(listeners)
}

async fn serve(
    listeners: Vec<TcpListener>,
    node: Arc<dyn NodeHandle>,
    stopped: watch::Receiver<bool>,
) {
    let places = guard::places();
    let mut servers = Vec::new();
    for listener in listeners {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => GuardedListener::new(listener, places.clone(), guard::PATIENCE),
            Err(error) => {
                tracing::error!(%error, "an HTTP socket cannot be served");
                continue;
            }
        };
        let app = router(node.clone());
        servers.push(tokio::spawn(async move {
            // `axum::serve` ends by being dropped only: its errors concern single connections.
            let app = app.into_make_service_with_connect_info::<Caller>();
            let _ = axum::serve(listener, app).await;
        }));
    }
    let mut stopped = stopped;
    // An error means that the server was dropped, which is the same order.
    let _ = stopped.wait_for(|stop| *stop).await;
    servers.iter().for_each(|server| server.abort());
}

fn router(node: Arc<dyn NodeHandle>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .method_not_allowed_fallback(rest::wrong_method)
        .merge(rest::routes_of(&node))
        .fallback(rest::no_route)
        .with_state(node)
}

async fn index() -> String {
    let probes = "\
/healthz                    the process is alive
/readyz                     the node serves reads and writes
/metrics                    for Prometheus
";
    format!("ringfort\n\n{probes}{}", rest::INDEX)
}

async fn healthz() -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], "ok\n")
}

async fn readyz(Shared(node): Shared<Arc<dyn NodeHandle>>) -> Response {
    let (status, text) = match node.state() {
        State::Ready => (StatusCode::OK, "ready\n".to_string()),
        State::Waiting(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        State::Loading => (
            StatusCode::SERVICE_UNAVAILABLE,
            "loading: reading snapshot and log from disk\n".to_string(),
        ),
        State::WritesRefused(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("writes are refused: {reason}\n"),
        ),
        State::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_string()),
    };
    (status, [(CACHE_CONTROL, "no-store")], text).into_response()
}

async fn metrics_page(Shared(node): Shared<Arc<dyn NodeHandle>>, headers: HeaderMap) -> Response {
    let content_type = metrics::content_type(headers.get(ACCEPT).map(|value| value.as_bytes()));
    match metrics::page(node.report(), node.settings()) {
        Ok(page) => ([(CONTENT_TYPE, content_type)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics page cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
