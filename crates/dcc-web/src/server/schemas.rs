//! The shapes that travel, by name, for the OpenAPI text.
//!
//! Authority: derived; written by hand beside the types of the core, closed lists taken from them.

use serde_json::{Map, Value, json};

use dcc_api::door::SearchKind;
use dcc_core::event::EventCode;
use dcc_core::failure::Code;
use dcc_core::job::JobState;
use dcc_core::session::SessionState;
use dcc_core::limits::{COMMIT_PATHS_MAX, LINE_BYTES_MAX, PAGE_MAX, SEARCH_HITS_MAX, TERMINAL_COLUMNS_MAX, TERMINAL_ROWS_MAX, TEXT_BYTES_MAX};
use dcc_core::locus::WpStatus;
use dcc_core::op::Op;

/// A reference to a schema by its name.
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn words<'a>(list: impl IntoIterator<Item = &'a str>) -> Value {
    json!({"type": "string", "enum": list.into_iter().collect::<Vec<_>>()})
}

/// Every schema.
pub fn all() -> Map<String, Value> {
    let mut map = Map::new();
    for (name, schema) in scalars().into_iter().chain(lists()).chain(requests()).chain(answers()) {
        map.insert(name.to_owned(), schema);
    }
    map.extend(PARAMS_OF.iter().filter_map(|op| Some((params_name(*op), params_of(*op)?))));
    map
}

/// Operations whose parameters are written down here: those that are asked for over MCP too.
const PARAMS_OF: [Op; 7] = [Op::VersionCommit, Op::SandboxRunRecipe, Op::HandoffWrite, Op::LocusAddNote, Op::LocusStartMt, Op::LocusBlockMt, Op::SessionSpawn];

fn params_name(op: Op) -> String {
    format!("params.{op}")
}

/// The parameters of an operation; none when they are not written down, or the operation is not built.
pub fn params_of(op: Op) -> Option<Value> {
    let (properties, required) = match op {
        Op::VersionCommit => (
            json!({
                "paths": {"type": "array", "minItems": 1, "maxItems": COMMIT_PATHS_MAX, "items": reference("RepoPath"), "description": "Exactly what the commit takes in, relative to the worktree"},
                "message": {"type": "string", "minLength": 1, "maxLength": TEXT_BYTES_MAX},
                "expected": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Path to the blob id that is meant, or \"deleted\": another content is refused"},
            }),
            json!(["paths", "message"]),
        ),
        Op::SandboxRunRecipe => (json!({"recipe": {"type": "string", "description": "Its name in the operator's configuration"}}), json!(["recipe"])),
        Op::LocusAddNote => (
            json!({
                "body": {"type": "string", "minLength": 1, "maxLength": TEXT_BYTES_MAX},
                "note_type": words(["user", "system", "gate", "plan", "blocker", "handoff", "review", "decision"]),
            }),
            json!(["body"]),
        ),
        Op::HandoffWrite => {
            let points = |what: &str| json!({"type": "array", "items": {"type": "string", "minLength": 1}, "description": what});
            let evidence = json!({"type": "object", "required": ["kind", "ref"], "additionalProperties": false, "properties": {
                "kind": words(["diff", "commit", "artifact", "job"]), "ref": {"type": "string", "minLength": 1},
            }});
            let handoff = json!({"type": "object", "additionalProperties": false, "description": "Says what is done or what remains", "properties": {
                "done": points("What is done"), "remaining": points("What remains"), "decisions": points("What was decided, and why"),
                "uncertainties": points("What is not known"), "blockers": points("What stands in the way"), "evidence": {"type": "array", "items": evidence},
            }});
            (json!({"handoff": handoff}), json!(["handoff"]))
        }
        Op::LocusStartMt => (json!({}), json!([])),
        Op::SessionSpawn => (spawn(), json!([])),
        Op::LocusBlockMt => (json!({"reason": {"type": "string", "minLength": 1, "maxLength": LINE_BYTES_MAX}}), json!(["reason"])),
        _ => return None,
    };
    Some(json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false}))
}

/// A child: named, or a command, or a person.
fn spawn() -> Value {
    let count = json!({"type": "integer", "minimum": 0});
    let budget = json!({"type": "object", "additionalProperties": false, "description": "Limits of the child alone; its parent's hold besides", "properties": {
        "max_tokens": count, "max_cost": {"type": "string", "description": "An amount such as 4.10"}, "currency": {"type": "string"}, "max_wall_ms": count,
        "soft_percent": {"type": "integer", "minimum": 1, "maximum": 99}, "on_soft": words(["warn", "pause"]),
    }});
    json!({
        "agent": {"type": "string", "minLength": 1, "description": "Its name as the operator configured it, or a preset's"},
        "command": {"type": "array", "minItems": 1, "items": {"type": "string"}, "description": "Instead of an agent: run word for word in a terminal, unobserved"},
        "prompt": {"type": "string", "minLength": 1, "maxLength": TEXT_BYTES_MAX, "description": "What it is to do"},
        "purpose": {"type": "string", "maxLength": LINE_BYTES_MAX, "description": "What it is for, in one line"},
        "role": reference("Role"),
        "lane": words(["PRIMARY", "VALIDATION", "SUBAGENT", "BACKGROUND"]),
        "paths": {"type": "array", "items": {"type": "string"}, "description": "Globs it may write inside, besides the packet's scope"},
        "budget": budget,
        "human": {"type": "boolean", "description": "A person claims the worktree; no process is started"},
    })
}

fn scalars() -> Vec<(&'static str, Value)> {
    vec![
        ("Uuid", json!({"type": "string", "format": "uuid"})),
        ("WpId", json!({"type": "string", "pattern": "^WP-[A-Za-z0-9-]{1,61}$"})),
        ("MtId", json!({"type": "string", "pattern": "^MT-[0-9]{3,12}$"})),
        ("Oid", json!({"type": "string", "pattern": "^([0-9a-f]{40}|[0-9a-f]{64})$"})),
        ("Sha256", json!({"type": "string", "pattern": "^[0-9a-f]{64}$"})),
        ("Seq", json!({"type": "integer", "minimum": 0, "description": "A sequence number of the recorder"})),
        ("Cursor", json!({"type": "string", "description": "Opaque: next_cursor of the page before"})),
        ("Limit", json!({"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_MAX})),
        ("HitLimit", json!({"type": "integer", "minimum": 1, "maximum": SEARCH_HITS_MAX, "default": SEARCH_HITS_MAX})),
        ("Flag", json!({"type": "boolean"})),
        ("Text", json!({"type": "string"})),
        ("Base64", json!({"type": "string", "contentEncoding": "base64", "description": "A path whose bytes are not UTF-8; instead of path"})),
        (
            "RepoPath",
            json!({"oneOf": [{"type": "string"}, {"type": "object", "required": ["b64"], "additionalProperties": false, "properties": {"b64": reference("Base64")}}],
                "description": "A path of the repository; bytes that are not UTF-8 go as b64"}),
        ),
        ("Time", json!({"type": "string", "format": "date-time"})),
    ]
}

/// Several of a closed list, with commas between.
fn several<'a>(list: impl IntoIterator<Item = &'a str>) -> Value {
    json!({"type": "string", "description": format!("One or several, with commas between: {}", list.into_iter().collect::<Vec<_>>().join(", "))})
}

fn lists() -> Vec<(&'static str, Value)> {
    vec![
        ("Op", words(Op::ALL.iter().filter(|op| op.is_built()).map(|op| op.as_str()))),
        ("JobState", words(JobState::ALL.map(JobState::as_str))),
        ("JobStates", several(JobState::ALL.map(JobState::as_str))),
        ("SessionStates", several(SessionState::ALL.map(SessionState::as_str))),
        ("Role", words(["coder", "validator", "human", "orchestrator"])),
        ("WpStatus", words(WpStatus::ALL.iter().map(|status| status.as_str()))),
        ("ApprovalStatus", words(["pending", "approved", "denied", "expired", "stale", "cancelled", "superseded", "consumed"])),
        ("Scope", words(["once", "job", "session", "workspace"])),
        ("EventCodes", several(EventCode::ALL.iter().map(|code| code.as_str()).chain(["or a name or a front of codes, such as FR-EVT-APPR"]))),
        ("ActorKind", words(["human", "agent", "system"])),
        ("EventOutcome", words(["ok", "allow", "ask", "deny", "failed", "unknown"])),
        ("Order", words(["ascending", "descending"])),
        ("SearchKind", words(SearchKind::ALL.map(SearchKind::as_str))),
        ("DiffSource", words(["uncommitted", "branch", "commit"])),
        ("Code", words(Code::ALL.iter().map(|code| code.as_str()))),
    ]
}

/// Bodies that are sent.
fn requests() -> Vec<(&'static str, Value)> {
    vec![
        ("Empty", json!({"type": "object", "additionalProperties": false})),
        (
            "JobRequest",
            json!({"type": "object", "required": ["op"], "additionalProperties": false, "properties": {
                "op": reference("Op"),
                "params": {
                    "type": "object", "description": "The operation's own parameters; an unknown one is refused.",
                    "x-dcc-params": PARAMS_OF.iter().filter(|op| params_of(**op).is_some()).map(|op| (op.to_string(), reference(&params_name(*op)))).collect::<Map<_, _>>(),
                },
                "bindings": {"type": "object", "additionalProperties": false, "properties": {
                    "wp_id": reference("WpId"), "mt_id": reference("MtId"), "session_id": reference("Uuid"), "workspace_id": reference("Uuid"),
                }},
                "idempotency_key": {"type": ["string", "null"], "maxLength": 128, "description": "Same key, same answer, no second effect"},
            }}),
        ),
        ("Cancel", json!({"type": "object", "additionalProperties": false, "properties": {"reason": {"type": ["string", "null"]}}})),
        (
            "TerminalInput",
            json!({"type": "object", "required": ["attachment"], "additionalProperties": false, "properties": {
                "attachment": {"allOf": [reference("Uuid")], "description": "The running job session.attach"},
                "b64": {"oneOf": [reference("Base64"), {"type": "null"}], "description": "Bytes as a terminal sends them for keys"},
                "size": {"type": ["object", "null"], "additionalProperties": false, "required": ["rows", "columns"], "properties": {
                    "rows": {"type": "integer", "minimum": 1, "maximum": TERMINAL_ROWS_MAX}, "columns": {"type": "integer", "minimum": 1, "maximum": TERMINAL_COLUMNS_MAX},
                }},
                "leave": {"type": "boolean"},
            }}),
        ),
        (
            "Decision",
            json!({"type": "object", "required": ["decision"], "additionalProperties": false, "properties": {
                "decision": {"type": "string", "enum": ["approve", "deny"]}, "scope": reference("Scope"),
                "reason": {"type": ["string", "null"], "description": "Needed for a denial"},
                "nonce": {"type": ["string", "null"]}, "preview_digest": {"oneOf": [reference("Sha256"), {"type": "null"}]},
                "typed": {"type": ["string", "null"], "description": "For R3: the branch, else the short id of the request"},
            }}),
        ),
    ]
}

/// Bodies that come back.
fn answers() -> Vec<(&'static str, Value)> {
    vec![
        ("Thing", json!({"type": "object", "description": "Its ids stand under their names: wp_id, workspace_id, session_id, job_id, approval_id, event_id, ..."})),
        (
            "List",
            json!({"type": "object", "required": ["items", "next_cursor"], "properties": {
                "items": {"type": "array", "items": reference("Thing")}, "next_cursor": {"type": ["string", "null"]},
            }}),
        ),
        (
            "Failure",
            json!({"type": "object", "required": ["code", "message"], "properties": {"code": reference("Code"), "message": {"type": "string"}, "hint": {"type": "string"}}}),
        ),
        (
            "Job",
            json!({"type": "object", "required": ["job_id", "op", "state"], "description": "Flat: result ids and values stand beside these.", "properties": {
                "job_id": reference("Uuid"), "op": reference("Op"), "state": reference("JobState"), "approval_id": reference("Uuid"), "failure": reference("Failure"),
            }}),
        ),
        (
            "Presentation",
            json!({"type": "object", "required": ["approval_id", "nonce", "preview_digest", "approval"], "properties": {
                "approval_id": reference("Uuid"), "nonce": {"type": "string", "description": "Hex, once, 120 seconds"},
                "preview_digest": reference("Sha256"), "approval": reference("Thing"),
            }}),
        ),
        (
            "Decided",
            json!({"type": "object", "required": ["approval_id", "status", "job_id", "job"], "properties": {
                "approval_id": reference("Uuid"), "status": reference("ApprovalStatus"), "job_id": reference("Uuid"), "job": reference("Job"),
            }}),
        ),
        (
            "Project",
            json!({"type": "object", "required": ["name", "root_path", "project_id", "instance_id"], "properties": {
                "name": {"type": "string"}, "root_path": {"type": "string"}, "project_id": reference("Uuid"), "instance_id": reference("Uuid"),
            }}),
        ),
        ("LoginLink", json!({"type": "object", "required": ["url", "expires_in_ms"], "properties": {"url": {"type": "string"}, "expires_in_ms": {"type": "integer"}}})),
        ("Stopping", json!({"type": "object", "required": ["status"], "properties": {"status": {"const": "stopping"}}})),
        (
            "Problem",
            json!({"type": "object", "required": ["type", "title", "status", "detail", "code"], "properties": {
                "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
                "code": reference("Code"), "hint": {"type": "string"}, "job_id": reference("Uuid"),
            }}),
        ),
    ]
}
