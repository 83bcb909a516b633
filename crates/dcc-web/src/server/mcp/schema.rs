//! What the tools take, as JSON Schema, made from the same schemas and route parameters as the OpenAPI text.
//!
//! Authority: derived. Invariants: a field that a tool shares with HTTP has the very schema of HTTP, with references
//! written out, because agents get no second document; what DCC fills in itself (workspace, session, packet) is no field.

use serde_json::{Map, Value, json};

use dcc_api::agent_door::AgentTool;
use dcc_core::limits;
use dcc_core::ports::sessions::SideEffect;

use crate::server::routes::ROUTES;
use crate::server::schemas;

/// One tool as it is listed.
pub fn described(tool: AgentTool) -> Value {
    json!({
        "name": tool.name(), "operation": tool.operation(), "description": tool.what(),
        "reads_only": tool.side_effect() == SideEffect::Read, "input_schema": input(tool),
    })
}

/// The arguments of a tool.
pub fn input(tool: AgentTool) -> Value {
    let wait_ms = json!({"type": "integer", "minimum": 0, "maximum": limits::AGENT_TOOL_WAIT_MS_MAX, "default": limits::AGENT_TOOL_WAIT_MS,
        "description": "How long to wait for the end of the job, in milliseconds"});
    let mut schema = match tool {
        AgentTool::GetWp | AgentTool::Status => object(&[], &[]),
        AgentTool::Search => of_route("/api/v1/search", &["q", "regex", "limit"], &["q"]),
        AgentTool::Diff => of_route("/api/v1/workspaces/{id}/diff", &["source", "base", "oid", "path", "b64"], &[]),
        AgentTool::OpenRef => object(
            &[
                ("path", json!({"type": "string", "description": "Relative to the worktree, or absolute inside it"})),
                ("line", json!({"type": "integer", "minimum": 1, "maximum": u32::MAX, "description": "The first line, from 1"})),
                ("limit", json!({"type": "integer", "minimum": 1, "maximum": u32::MAX, "description": "How many lines"})),
            ],
            &["path"],
        ),
        AgentTool::GetJob => object(&[("job_id", schemas::reference("Uuid"))], &["job_id"]),
        AgentTool::RequestCapability => object(
            &[
                ("what", json!({"type": "string", "minLength": 1, "maxLength": limits::LINE_BYTES_MAX, "description": "What you ask for and why, in your own words"})),
                ("command", json!({"type": "string", "minLength": 1, "maxLength": 4000, "description": "The command, when you ask to run one inside your sandbox"})),
                ("paths", json!({"type": "array", "maxItems": 100, "items": {"type": "string"}, "description": "The paths that it is about"})),
            ],
            &["what"],
        ),
        AgentTool::Spawn => narrowed(&of_operation(tool), &["agent", "prompt", "purpose", "role", "paths"], &["agent", "prompt"]),
        AgentTool::Commit | AgentTool::RunRecipe | AgentTool::WriteHandoff | AgentTool::AddNote | AgentTool::StartMt | AgentTool::BlockMt | AgentTool::Restore => of_operation(tool),
    };
    let fields = &mut schema["properties"];
    if matches!(tool, AgentTool::StartMt | AgentTool::BlockMt | AgentTool::Spawn) {
        fields["mt_id"] = schemas::reference("MtId");
    }
    if tool == AgentTool::AddNote {
        // The other types speak for a person, a gate or DCC.
        fields["note_type"] = json!({"type": "string", "enum": ["plan", "blocker", "handoff", "review"], "default": "plan"});
    }
    if tool.op().is_some() || tool == AgentTool::GetJob {
        fields["wait_ms"] = wait_ms;
    }
    written_out(&schema, &schemas::all())
}

fn object(fields: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// Some parameters of a route.
fn of_route(path: &str, names: &[&str], required: &[&str]) -> Value {
    let route = ROUTES.iter().find(|route| route.path == path && route.method == "GET").expect("a tool's route stands in the table");
    let fields: Vec<(&str, Value)> = names
        .iter()
        .map(|name| {
            let param = route.params.iter().find(|param| param.name == *name).expect("a tool's parameter is one of the route");
            (*name, schemas::reference(param.schema))
        })
        .collect();
    object(&fields, required)
}

/// What an agent may give of an operation's parameters.
fn narrowed(whole: &Value, names: &[&str], required: &[&str]) -> Value {
    let fields: Vec<(&str, Value)> = names.iter().map(|name| (*name, whole["properties"][*name].clone())).collect();
    object(&fields, required)
}

/// The parameters of an operation; an object of anything for one that has none written down (it is not built).
fn of_operation(tool: AgentTool) -> Value {
    tool.op().and_then(schemas::params_of).unwrap_or_else(|| json!({"type": "object", "properties": {}}))
}

/// The schema with every reference replaced by what it names.
fn written_out(schema: &Value, all: &Map<String, Value>) -> Value {
    match schema {
        Value::Object(map) => match map.get("$ref").and_then(Value::as_str).and_then(|reference| all.get(reference.rsplit('/').next()?)) {
            Some(named) => written_out(named, all),
            None => map.iter().map(|(key, value)| (key.clone(), written_out(value, all))).collect(),
        },
        Value::Array(list) => list.iter().map(|value| written_out(value, all)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::server::openapi;

    fn has_reference(value: &Value) -> bool {
        match value {
            Value::Object(map) => map.contains_key("$ref") || map.values().any(has_reference),
            Value::Array(list) => list.iter().any(has_reference),
            _ => false,
        }
    }

    #[test]
    fn every_listed_tool_has_a_strict_schema_of_its_own() {
        for tool in AgentTool::listed() {
            let schema = input(tool);
            assert_eq!((&schema["type"], &schema["additionalProperties"]), (&json!("object"), &json!(false)), "{tool:?}");
            assert!(!has_reference(&schema), "{tool:?}: {schema}");
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(schema["properties"].get(name.as_str().unwrap()).is_some(), "{tool:?}: {name}");
            }
            for never in ["workspace_id", "session_id", "wp_id", "idempotency_key"] {
                assert!(schema["properties"].get(never).is_none(), "{tool:?} takes {never}");
            }
        }
    }

    #[test]
    fn what_is_shared_with_http_is_the_same() {
        let document = openapi::build(7, "dcc_0");
        let all = document["components"]["schemas"].as_object().unwrap().clone();
        for tool in AgentTool::listed().filter(|tool| *tool != AgentTool::RequestCapability) {
            let Some(op) = tool.op() else { continue };
            let of_http = &document["components"]["schemas"]["JobRequest"]["properties"]["params"]["x-dcc-params"][op.as_str()];
            let of_http = written_out(of_http, &all);
            let mine = input(tool);
            if tool == AgentTool::Spawn {
                let names: BTreeSet<&str> = mine["properties"].as_object().unwrap().keys().map(String::as_str).collect();
                assert_eq!(Vec::from_iter(names), ["agent", "mt_id", "paths", "prompt", "purpose", "role", "wait_ms"], "no command, no limits, no lane");
                for name in ["agent", "paths", "prompt", "purpose", "role"] {
                    assert_eq!(mine["properties"][name], of_http["properties"][name], "{name}");
                }
                continue;
            }
            assert_eq!(mine["required"], of_http["required"], "{tool:?}");
            let own = ["wait_ms", "mt_id", "note_type"];
            let shared = |schema: &Value| -> Map<String, Value> {
                schema["properties"].as_object().unwrap().iter().filter(|(name, _)| !own.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect()
            };
            assert_eq!(shared(&mine), shared(&of_http), "{tool:?}");
        }
        let search = &document["paths"]["/api/v1/search"]["get"]["parameters"];
        let limit = search.as_array().unwrap().iter().find(|p| p["name"] == "limit").unwrap();
        assert_eq!(input(AgentTool::Search)["properties"]["limit"], written_out(&limit["schema"], &all));
    }
}
