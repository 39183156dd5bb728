//! Routes about shards, their leaders and their copies.

use axum::Json;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::node::operator::{Done, OperatorAnswer, OperatorQuestion, ShardView, VerifyView};

use super::failure::Failure;
use super::intake::{Body, Name};
use super::nodes::{order, NoBody};
use super::Asker;

/// Who is to lead a shard.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferBody {
    /// Id of 40 hexadecimal digits, its beginning, or host:port.
    to: String,
}

/// Which shards to compare.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct VerifyBody {
    /// All of them if there is none.
    shard: Option<u32>,
}

/// All shards, where their copies are and how these are.
#[utoipa::path(get, path = "/v1/shards", tag = "shards",
    responses((status = 200, description = "The shards in order", body = Vec<ShardView>), Failure))]
pub(super) async fn shards(asker: Asker) -> Result<Json<Vec<ShardView>>, Failure> {
    match asker.ask(OperatorQuestion::Shards).await? {
        OperatorAnswer::Shards(shards) => Ok(Json(shards)),
        other => Err(Failure::other(&other)),
    }
}

/// One shard.
#[utoipa::path(get, path = "/v1/shards/{shard}", tag = "shards",
    params(("shard" = u32, Path, description = "Its number, from 0")),
    responses((status = 200, description = "The shard", body = ShardView), Failure))]
pub(super) async fn shard(asker: Asker, name: Name) -> Result<Json<ShardView>, Failure> {
    let shard = name.shard()?;
    match asker.ask(OperatorQuestion::Shard { shard }).await? {
        OperatorAnswer::Shards(mut shards) if shards.len() == 1 => Ok(Json(shards.remove(0))),
        other => Err(Failure::other(&other)),
    }
}

/// Another node is to lead the shard: one that has a copy which votes and has caught up.
#[utoipa::path(post, path = "/v1/shards/{shard}/transfer", tag = "shards", request_body = TransferBody,
    params(("shard" = u32, Path, description = "Its number, from 0")),
    responses((status = 200, description = "It leads the shard", body = Done), Failure))]
pub(super) async fn transfer(
    asker: Asker,
    name: Name,
    Body(TransferBody { to }): Body<TransferBody>,
) -> Result<Json<Done>, Failure> {
    let shard = name.shard()?;
    order(&asker, OperatorQuestion::Transfer { shard, to }).await
}

/// Leaders and copies are spread evenly again, beyond what the placement would do by itself.
#[utoipa::path(post, path = "/v1/rebalance", tag = "cluster", request_body = NoBody,
    responses((status = 200, description = "What is to move is decided", body = Done), Failure))]
pub(super) async fn rebalance(
    asker: Asker,
    Body(NoBody {}): Body<NoBody>,
) -> Result<Json<Done>, Failure> {
    order(&asker, OperatorQuestion::Rebalance).await
}

/// Compares the digests of all copies of each shard at one entry. Takes its time: as long as reading all data does.
#[utoipa::path(post, path = "/v1/verify", tag = "shards", request_body = VerifyBody,
    responses((status = 200, description = "What was found", body = VerifyView), Failure))]
pub(super) async fn verify(
    asker: Asker,
    Body(VerifyBody { shard }): Body<VerifyBody>,
) -> Result<Json<VerifyView>, Failure> {
    match asker.ask(OperatorQuestion::Verify { shard }).await? {
        OperatorAnswer::Verify(view) => Ok(Json(view)),
        other => Err(Failure::other(&other)),
    }
}
