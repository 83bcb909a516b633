//! `/api/v1/openapi.json`: OpenAPI 3.1, generated from the table of routes.
//!
//! Authority: derived. Invariants: it holds every API route and no other; every parameter the server takes stands here,
//! because both come from the same table; every reference resolves (tested).

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::app::App;
use super::guard::{Caller, TOKEN_HEADER};
use super::params::Params;
use super::routes::{Access, Body, ROUTES, Route};
use super::schemas;

/// `GET /api/v1/openapi.json`
pub async fn document(State(app): State<App>, _: Caller, _: Params) -> Json<Value> {
    Json(build(app.port, app.auth.cookie_name()))
}

/// The whole description.
pub fn build(port: u16, cookie_name: &str) -> Value {
    let mut paths = Map::new();
    for route in ROUTES.iter().filter(|route| route.is_api()) {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Handshake Dev Command Center",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0 OR MIT"},
            "description": "Every change is a job: POST /api/v1/jobs with the name of an operation. A job that needs a person parks as awaiting_user \
                            with an approval_id. A decision first renders the approval (presentation), then echoes what was shown. \
                            The same API is served over the Unix socket (Host: localhost), to the operator's credential only.",
        },
        "servers": [{"url": format!("http://127.0.0.1:{port}")}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "credential": {"type": "http", "scheme": "bearer", "description": "The operator credential."},
                "session": {"type": "apiKey", "in": "cookie", "name": cookie_name, "description": "A signed-in browser; its own origin only."},
                "writeToken": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER, "description": "On writes of a browser, beside the cookie."},
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [noun(route.path)],
        "security": security(route),
        "responses": responses(route),
    });
    let mut parameters: Vec<Value> = path_parameters(route.path);
    parameters.extend(route.params.iter().map(|param| json!({"name": param.name, "in": "query", "schema": reference(param.schema)})));
    if route.path.ends_with("/stream") {
        parameters.push(json!({"name": "Last-Event-ID", "in": "header", "schema": reference("Seq")}));
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Body::Json(schema) = route.body {
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": reference(schema)}}});
    }
    operation
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn noun(path: &str) -> &str {
    path.split('/').nth(3).unwrap_or("")
}

/// `get_workspaces_id_diff`.
fn operation_id(route: &Route) -> String {
    let words = route.path.trim_start_matches("/api/v1/").replace(['/', '-', '.'], "_").replace(['{', '}'], "");
    format!("{}_{words}", route.method.to_ascii_lowercase())
}

fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let schema = match (noun(path), name) {
                ("wps", _) => "WpId",
                (_, "sha256") => "Sha256",
                _ => "Uuid",
            };
            json!({"name": name, "in": "path", "required": true, "schema": reference(schema)})
        })
        .collect()
}

fn security(route: &Route) -> Value {
    match (route.access, route.changes) {
        (Access::Credential, _) => json!([{"credential": []}]),
        (_, false) => json!([{"credential": []}, {"session": []}]),
        (_, true) => json!([{"credential": []}, {"session": [], "writeToken": []}]),
    }
}

fn responses(route: &Route) -> Value {
    let (status, schema) = route.reply;
    let content = match (schema, route.path) {
        ("", path) if path.ends_with("/stream") => json!({"text/event-stream": {"schema": {
            "type": "string",
            "description": "event hello {seq, instance_id}; event event with id = seq and data of EventLine; event gap {seq}: read everything again; event touch {workspace_id}, without an id: files of that workspace changed.",
        }}}),
        ("", _) => json!({"application/octet-stream": {"schema": {"type": "string"}}}),
        (schema, _) => json!({"application/json": {"schema": reference(schema)}}),
    };
    json!({
        status.to_string(): {"description": "Done", "content": content},
        "default": {"description": "A failure with its stable code", "content": {"application/problem+json": {"schema": reference("Problem")}}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|inner| references(inner, found));
            }
            Value::Array(list) => list.iter().for_each(|inner| references(inner, found)),
            _ => {}
        }
    }

    #[test]
    fn the_description_is_whole() {
        let document = build(7, "dcc_0");
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} names nothing");
        }
        let used: HashSet<&str> = found.iter().copied().collect();
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(used.contains(format!("#/components/schemas/{name}").as_str()), "{name} is used nowhere");
        }
        let ids: Vec<String> = ROUTES.iter().filter(|route| route.is_api()).map(operation_id).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
        assert_eq!(document["paths"]["/api/v1/workspaces/{id}/diff"]["get"]["operationId"], "get_workspaces_id_diff");
        assert_eq!(document["paths"]["/api/v1/jobs"]["post"]["responses"]["202"]["description"], "Done");
        let cancel = &document["paths"]["/api/v1/jobs/{id}/cancel"]["post"];
        assert_eq!(cancel["parameters"][0]["required"], true);
        assert_eq!(cancel["security"][1], json!({"session": [], "writeToken": []}));
    }
}
