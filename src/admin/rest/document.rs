//! The OpenAPI document: what the routes say of themselves, and what holds for all of them.

use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::node::operator::OperatorError;

use super::failure::Failure;

/// Without the routes, which bring their own descriptions.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "ringfort",
        description = "The operator's plane of a ringfort cluster. Every node answers: what only the leader of the cluster's meta group knows or decides is passed on to it.",
    ),
    components(schemas(OperatorError)),
    modifiers(&Passwords),
    tags(
        (name = "cluster", description = "The cluster as a whole"),
        (name = "nodes", description = "Its nodes: how they are, and how they leave"),
        (name = "shards", description = "Its shards: who leads them, where their copies are"),
        (name = "plans", description = "What would move, before anything does"),
        (name = "document", description = "This document"),
    )
)]
pub(super) struct Document;

/// How the password is given, where one is set.
struct Passwords;

impl Modify for Passwords {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let schemes = [
            ("basic", HttpAuthScheme::Basic),
            ("bearer", HttpAuthScheme::Bearer),
        ];
        let components = openapi.components.get_or_insert_default();
        for (name, scheme) in schemes {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
        // Any of these is enough; the last one stands for none, where no password is set.
        let none: [&str; 0] = [];
        openapi.security = Some(vec![
            SecurityRequirement::new("basic", none),
            SecurityRequirement::new("bearer", none),
            SecurityRequirement::default(),
        ]);
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "document",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), Failure))]
pub(super) async fn openapi() -> Result<Response, Failure> {
    static TEXT: OnceLock<Option<String>> = OnceLock::new();
    let text = TEXT.get_or_init(|| super::api().into_openapi().to_json().ok());
    let text = text.as_deref();
    let text = text.ok_or_else(|| Failure::internal("the document cannot be written"))?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}
