//! Routes about the cluster and its nodes, and what would move if nodes came or one went.

use axum::Json;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::node::operator::{
    ClusterView, Done, NodeView, OperatorAnswer, OperatorQuestion, PlanView,
};

use super::failure::Failure;
use super::intake::{Body, Name, Query};
use super::Asker;

/// How a node is to be emptied.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DrainBody {
    /// Also where fewer nodes are left than each shard is to have copies.
    force: bool,
}

/// Nothing to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

/// The cluster as the leader of its meta group sees it: nodes, what moves, what is wrong.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster",
    responses((status = 200, description = "The cluster now", body = ClusterView), Failure))]
pub(super) async fn cluster(asker: Asker) -> Result<Json<ClusterView>, Failure> {
    match asker.ask(OperatorQuestion::Cluster).await? {
        OperatorAnswer::Cluster(view) => Ok(Json(*view)),
        other => Err(Failure::other(&other)),
    }
}

/// All nodes of the cluster.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes",
    responses((status = 200, description = "The nodes, by their ids", body = Vec<NodeView>), Failure))]
pub(super) async fn nodes(asker: Asker) -> Result<Json<Vec<NodeView>>, Failure> {
    let Json(cluster) = cluster(asker).await?;
    Ok(Json(cluster.nodes))
}

/// One node.
#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "Id of 40 hexadecimal digits, its beginning, or host:port")),
    responses((status = 200, description = "The node", body = NodeView), Failure))]
pub(super) async fn node(asker: Asker, Name(node): Name) -> Result<Json<NodeView>, Failure> {
    match asker.ask(OperatorQuestion::Node { node }).await? {
        OperatorAnswer::Node(view) => Ok(Json(*view)),
        other => Err(Failure::other(&other)),
    }
}

/// The node is to hold nothing any more: its leaders move first, then its copies. It goes on serving clients.
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", tag = "nodes", request_body = DrainBody,
    params(("node" = String, Path, description = "Id of 40 hexadecimal digits, its beginning, or host:port")),
    responses((status = 200, description = "It drains from now on", body = Done), Failure))]
pub(super) async fn drain(
    asker: Asker,
    Name(node): Name,
    Body(DrainBody { force }): Body<DrainBody>,
) -> Result<Json<Done>, Failure> {
    order(&asker, OperatorQuestion::Drain { node, force }).await
}

/// Takes a drain back.
#[utoipa::path(post, path = "/v1/nodes/{node}/undrain", tag = "nodes", request_body = NoBody,
    params(("node" = String, Path, description = "Id of 40 hexadecimal digits, its beginning, or host:port")),
    responses((status = 200, description = "The node stays", body = Done), Failure))]
pub(super) async fn undrain(
    asker: Asker,
    Name(node): Name,
    Body(NoBody {}): Body<NoBody>,
) -> Result<Json<Done>, Failure> {
    order(&asker, OperatorQuestion::Undrain { node }).await
}

/// Forgets a node that was drained and holds nothing. It is never let in again.
#[utoipa::path(delete, path = "/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "Id of 40 hexadecimal digits, its beginning, or host:port")),
    responses((status = 200, description = "The node is no part of the cluster", body = Done), Failure))]
pub(super) async fn remove(asker: Asker, Name(node): Name) -> Result<Json<Done>, Failure> {
    order(&asker, OperatorQuestion::Remove { node }).await
}

/// What would move if nodes came. Nothing does.
#[utoipa::path(get, path = "/v1/plan/add", tag = "plans",
    params(
        ("count" = Option<u16>, Query, description = "How many nodes; 1 unless it is given"),
        ("weight" = Option<u16>, Query, description = "The weight of each; 100 unless it is given"),
        ("zone" = Option<String>, Query, description = "The zone of all; none unless it is given"),
    ),
    responses((status = 200, description = "What would move", body = PlanView), Failure))]
pub(super) async fn plan_add(asker: Asker, query: Query) -> Result<Json<PlanView>, Failure> {
    query.only(&["count", "weight", "zone"])?;
    let question = OperatorQuestion::PlanAdd {
        count: query.number("count", 1)?,
        weight: query.number("weight", 100)?,
        zone: query.text("zone").unwrap_or_default().to_string(),
    };
    plan(&asker, question).await
}

/// What would move if a node left. Nothing does.
#[utoipa::path(get, path = "/v1/plan/remove/{node}", tag = "plans",
    params(
        ("node" = String, Path, description = "Id of 40 hexadecimal digits, its beginning, or host:port"),
        ("force" = Option<bool>, Query, description = "As a drain with force would do it"),
    ),
    responses((status = 200, description = "What would move", body = PlanView), Failure))]
pub(super) async fn plan_remove(
    asker: Asker,
    Name(node): Name,
    query: Query,
) -> Result<Json<PlanView>, Failure> {
    query.only(&["force"])?;
    let force = query.flag("force")?;
    plan(&asker, OperatorQuestion::PlanRemove { node, force }).await
}

async fn plan(asker: &Asker, question: OperatorQuestion) -> Result<Json<PlanView>, Failure> {
    match asker.ask(question).await? {
        OperatorAnswer::Plan(plan) => Ok(Json(plan)),
        other => Err(Failure::other(&other)),
    }
}

/// An order, answered when it is carried out.
pub(super) async fn order(asker: &Asker, order: OperatorQuestion) -> Result<Json<Done>, Failure> {
    match asker.ask(order).await? {
        OperatorAnswer::Done(done) => Ok(Json(done)),
        other => Err(Failure::other(&other)),
    }
}
