//! Refusals as HTTP answers: which status each kind has. Knows no route.

use std::collections::BTreeMap;

use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::Json;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::node::operator::{OperatorAnswer, OperatorError, Refusal};

const CHALLENGE: &str = "Basic realm=\"ringfort\", charset=\"UTF-8\"";

/// A refusal and its status.
#[derive(Debug)]
pub(in crate::admin) struct Failure {
    status: StatusCode,
    error: OperatorError,
}

/// The statuses of refusals, and when they come.
const STATUSES: &[(StatusCode, &str)] = &[
    (StatusCode::BAD_REQUEST, "What is asked for cannot be: malformed, or out of bounds"),
    (StatusCode::UNAUTHORIZED, "The password is missing or wrong"),
    (StatusCode::FORBIDDEN, "No password is set, and the request comes from another machine"),
    (StatusCode::NOT_FOUND, "There is no such node or shard"),
    (StatusCode::CONFLICT, "The state of the cluster forbids it; the reason says what to do"),
    (StatusCode::PAYLOAD_TOO_LARGE, "The body is too long"),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not said to be application/json"),
    (StatusCode::SERVICE_UNAVAILABLE, "It was certainly not done: nobody leads the cluster, or the leader cannot be reached; try again"),
    (StatusCode::GATEWAY_TIMEOUT, "It may have been done: the leader was lost meanwhile; look before trying again"),
];

impl Failure {
    pub fn new(status: StatusCode, error: OperatorError) -> Self {
        Self { status, error }
    }

    #[cfg(test)]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn invalid(reason: impl Into<String>) -> Self {
        OperatorError::new(Refusal::Invalid, reason).into()
    }

    pub fn internal(reason: &str) -> Self {
        tracing::error!("a request of an operator: {reason}");
        let error = OperatorError::new(Refusal::Unavailable, reason);
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    /// The node has answered another question than was asked.
    pub fn other(answer: &OperatorAnswer) -> Self {
        tracing::debug!("an answer that does not fit its question: {answer:?}");
        Self::internal("the answer of the cluster's leader does not fit the question: do all nodes run the same version?")
    }
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        let status = match error.kind {
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::Invalid => StatusCode::BAD_REQUEST,
            Refusal::Conflict => StatusCode::CONFLICT,
            Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Unknown => StatusCode::GATEWAY_TIMEOUT,
        };
        Self { status, error }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.error)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(CHALLENGE);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl IntoResponses for Failure {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let response = |(status, when): &(StatusCode, &str)| {
            let schema = Ref::from_schema_name(OperatorError::name());
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let response = ResponseBuilder::new().description(*when);
            let response = response.content("application/json", content).build();
            (status.as_str().to_string(), RefOr::T(response))
        };
        STATUSES.iter().map(response).collect()
    }
}
