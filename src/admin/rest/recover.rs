//! The route by which an operator says that nodes are gone for ever.

use axum::Json;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::node::operator::{OperatorAnswer, OperatorQuestion, RecoverView};

use super::failure::Failure;
use super::intake::Body;
use super::Asker;

/// Which nodes are gone, and the operator's word.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecoverBody {
    /// Each by its id, the beginning of that, or host:port. None of them may come back with its data.
    lost: Vec<String>,
    /// What only these nodes had is gone. Without this word nothing is changed, and the answer tells what would be.
    #[serde(default)]
    accept_data_loss: bool,
}

/// A cluster that lost its majority for good goes on with what is left. The node that is asked carries it out.
#[utoipa::path(post, path = "/v1/recover", tag = "cluster", request_body = RecoverBody,
    responses((status = 200, description = "What was done, or, without the operator's word, would be", body = RecoverView), Failure))]
pub(super) async fn recover(
    asker: Asker,
    Body(body): Body<RecoverBody>,
) -> Result<Json<RecoverView>, Failure> {
    let question = OperatorQuestion::Recover {
        lost: body.lost,
        accept_data_loss: body.accept_data_loss,
    };
    match asker.ask(question).await? {
        OperatorAnswer::Recover(view) => Ok(Json(*view)),
        other => Err(Failure::other(&other)),
    }
}
