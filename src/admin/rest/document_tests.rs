//! The OpenAPI document holds every route that is served, with what it takes and how it can fail.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// What the API serves, by hand: a route that comes or goes is to be noticed here too.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/v1/cluster"),
    ("get", "/v1/nodes"),
    ("get", "/v1/nodes/{node}"),
    ("delete", "/v1/nodes/{node}"),
    ("post", "/v1/nodes/{node}/drain"),
    ("post", "/v1/nodes/{node}/undrain"),
    ("get", "/v1/plan/add"),
    ("get", "/v1/plan/remove/{node}"),
    ("post", "/v1/rebalance"),
    ("post", "/v1/recover"),
    ("get", "/v1/shards"),
    ("get", "/v1/shards/{shard}"),
    ("post", "/v1/shards/{shard}/transfer"),
    ("post", "/v1/verify"),
    ("get", "/v1/openapi.json"),
];

fn document() -> Value {
    serde_json::to_value(api().into_openapi()).unwrap()
}

/// Every route of the document: method, path, and what is said of it.
fn described(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap();
        methods
            .iter()
            .map(move |(method, operation)| (method.clone(), path.clone(), operation))
    });
    operations.collect()
}

#[test]
fn every_route_that_is_served_is_described_and_no_other() {
    let document = document();
    let described: BTreeSet<(String, String)> = described(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    let served = ROUTES
        .iter()
        .map(|(method, path)| (method.to_string(), path.to_string()));
    assert_eq!(described, served.collect());
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn every_route_says_what_it_does_what_it_takes_and_how_it_fails() {
    let document = document();
    for (method, path, operation) in described(&document) {
        let at = format!("{method} {path}");
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|text| text.len() > 8),
            "{at}"
        );
        let content = &operation["responses"]["200"]["content"]["application/json"];
        assert!(content["schema"].is_object(), "{at}");
        for status in [
            "400", "401", "403", "404", "409", "413", "415", "503", "504",
        ] {
            let schema = &operation["responses"][status]["content"]["application/json"]["schema"];
            assert_eq!(
                schema["$ref"], "#/components/schemas/OperatorError",
                "{at} {status}"
            );
        }
        if method == "post" {
            assert!(
                operation["requestBody"]["content"]["application/json"].is_object(),
                "{at}"
            );
        }
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let name = name.trim_end_matches('}');
            let mut parameters = operation["parameters"].as_array().unwrap().iter();
            let described = parameters.find(|parameter| parameter["name"] == name);
            assert!(
                described.is_some_and(|found| found["description"].is_string()),
                "{at}"
            );
        }
    }
}

/// All names of schemas that are referred to.
fn referred(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let ("$ref", Some(path)) = (name.as_str(), field.as_str()) {
                    found.extend(
                        path.strip_prefix("#/components/schemas/")
                            .map(str::to_string),
                    );
                }
                referred(field, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| referred(item, found)),
        _ => {}
    }
}

#[test]
fn every_schema_that_is_named_is_there() {
    let document = document();
    let mut names = BTreeSet::new();
    referred(&document, &mut names);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let there: BTreeSet<String> = schemas.keys().cloned().collect();
    assert!(names.is_subset(&there), "{:?}", names.difference(&there));
    for name in [
        "ClusterView",
        "NodeView",
        "ShardView",
        "PlanView",
        "VerifyView",
        "RecoverView",
        "OperatorError",
        "Refusal",
    ] {
        assert!(there.contains(name), "{name}");
    }
    let secured = document["components"]["securitySchemes"]
        .as_object()
        .unwrap();
    assert!(secured.contains_key("basic") && secured.contains_key("bearer"));
}
