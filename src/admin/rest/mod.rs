//! The operator's REST API: routes, and what they ask of the node. Who may ask is in `gate`, what requests bring in `intake`, statuses in
//! `failure`, the document that describes it all in `document`. Knows nothing of how the node answers.

mod document;
mod failure;
mod gate;
mod intake;
mod nodes;
mod recover;
mod shards;

#[cfg(test)]
mod document_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::Router;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::node::operator::{OperatorAnswer, OperatorError, OperatorQuestion, Refusal};
use crate::node::report::NodeHandle;

use super::guard::{Caller, BODY_BYTES_MAX};
use failure::Failure;

type Node = Arc<dyn NodeHandle>;

/// What the index page says of it.
pub(super) const INDEX: &str = "\
/v1/cluster                 the cluster, its nodes, what moves, what is wrong
/v1/nodes                   its nodes; /v1/nodes/{node} one of them
/v1/nodes/{node}/drain      POST: the node is to hold nothing; .../undrain takes it back
/v1/shards                  its shards and their copies; /v1/shards/{shard} one of them
/v1/shards/{shard}/transfer POST: another node is to lead the shard
/v1/plan/add                what would move if nodes came; /v1/plan/remove/{node} if one left
/v1/rebalance               POST: spread evenly what the placement leaves where it is
/v1/verify                  POST: compare all copies
/v1/recover                 POST: go on without nodes that are gone for ever
/v1/openapi.json            all of this for programs
";

/// The routes and their description.
fn api() -> OpenApiRouter<Node> {
    OpenApiRouter::with_openapi(document::Document::openapi())
        .routes(routes!(nodes::cluster))
        .routes(routes!(nodes::nodes))
        .routes(routes!(nodes::node, nodes::remove))
        .routes(routes!(nodes::drain))
        .routes(routes!(nodes::undrain))
        .routes(routes!(nodes::plan_add))
        .routes(routes!(nodes::plan_remove))
        .routes(routes!(recover::recover))
        .routes(routes!(shards::shards))
        .routes(routes!(shards::shard))
        .routes(routes!(shards::transfer))
        .routes(routes!(shards::rebalance))
        .routes(routes!(shards::verify))
        .routes(routes!(document::openapi))
}

/// For the HTTP port's router.
pub(super) fn routes_of(node: &Node) -> Router<Node> {
    let (router, _) = api().split_for_parts();
    router
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(node.clone(), gate::guard))
}

/// For what no route serves.
pub(super) async fn no_route() -> Failure {
    let reason = "there is nothing here: see / for what there is";
    let error = OperatorError::new(Refusal::NotFound, reason);
    Failure::new(StatusCode::NOT_FOUND, error)
}

/// For a route that is asked by another method than it has.
pub(super) async fn wrong_method() -> Failure {
    let reason = "not by this method: see /v1/openapi.json";
    let error = OperatorError::new(Refusal::Invalid, reason);
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
}

/// Whoever asks, and whom.
struct Asker {
    node: Node,
    caller: Caller,
}

impl FromRequestParts<Node> for Asker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, node: &Node) -> Result<Self, Failure> {
        Ok(Self {
            node: node.clone(),
            caller: caller(parts)?,
        })
    }
}

/// By which connection a request came.
fn caller(parts: &Parts) -> Result<Caller, Failure> {
    let info = parts.extensions.get::<ConnectInfo<Caller>>();
    let info = info.map(|ConnectInfo(caller)| caller.clone());
    info.ok_or_else(|| Failure::internal("a connection without an address"))
}

impl Asker {
    /// The answer, however long it takes.
    async fn ask(&self, question: OperatorQuestion) -> Result<OperatorAnswer, Failure> {
        let _answering = self.caller.answering();
        match self.node.operate(question).await {
            OperatorAnswer::Refused(error) => Err(error.into()),
            answer => Ok(answer),
        }
    }
}
