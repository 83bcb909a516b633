//! The content of `workspace.json`: version 1.0, the upgrade from version 0, and what a found file is.
//!
//! Authority: derived. Invariants: no key beyond DATA 7's; optional parts are left out when empty; field order is the
//! order in the file.

use dcc_core::ports::JsonBefore;
use dcc_core::workspace::Workspace;
use dcc_core::{Oid, ProjectId, SessionId, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::remote;
use crate::project::v1_role;

/// Version 1.0 of the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceFile {
    pub schema_version: String,
    pub workspace_id: WorkspaceId,
    pub project_id: ProjectId,
    /// human, coder, validator.
    pub role: String,
    pub git: GitPart,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linkage: Option<Linkage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<PathHints>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_opened_at: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitPart {
    /// Null on a detached head.
    pub branch: Option<String>,
    pub base_branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_rev_hint: Option<Oid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_origin_url_hint: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linkage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_wp_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_mt_id: Option<String>,
    #[serde(default)]
    pub anchor_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_execution_session_id: Option<SessionId>,
}

/// Absolute paths with the lossless escape of `dcc_core::workspace::escape_path`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathHints {
    pub worktree_path_hint: String,
    pub repo_root_path_hint: String,
    pub git_common_dir_hint: String,
}

impl WorkspaceFile {
    /// The file of a workspace as its record, the repository and the sessions say.
    pub(super) fn of(workspace: &Workspace, head: Option<&Oid>, last_session: Option<SessionId>) -> Self {
        let linked_wp_id = workspace.wp_id.as_ref().or(workspace.hinted_wp_id.as_ref());
        let linked = linked_wp_id.is_some() || workspace.mt_id.is_some() || last_session.is_some();
        Self {
            schema_version: super::SCHEMA_VERSION.to_owned(),
            workspace_id: workspace.workspace_id,
            project_id: workspace.project_id,
            role: v1_role(workspace.role).to_owned(),
            git: GitPart {
                branch: workspace.branch.clone(),
                base_branch: workspace.base_branch.clone(),
                head_rev_hint: head.cloned(),
                remote_origin_url_hint: remote::origin_url(&workspace.binding.common_dir()),
            },
            linkage: linked.then(|| Linkage {
                linked_wp_id: linked_wp_id.map(ToString::to_string),
                linked_mt_id: workspace.mt_id.as_ref().map(ToString::to_string),
                anchor_ids: Vec::new(),
                last_execution_session_id: last_session,
            }),
            paths: Some(PathHints {
                worktree_path_hint: workspace.binding.worktree_path.clone(),
                repo_root_path_hint: super::repo_root(&workspace.binding),
                git_common_dir_hint: workspace.binding.common_dir.clone(),
            }),
            created_at: workspace.created_at,
            updated_at: workspace.updated_at,
            last_opened_at: workspace.last_opened_at,
        }
    }

    /// Indented JSON in field order with a final line feed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("the file holds only JSON-safe values");
        bytes.push(b'\n');
        bytes
    }
}

/// What a found file is.
pub(super) enum Standing {
    Ours,
    VersionZero,
    /// A version this program does not know, as it is written there.
    Future(String),
    Malformed(String),
}

pub(super) fn standing(bytes: &[u8]) -> Standing {
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return Standing::Malformed(error.to_string()),
    };
    let Value::Object(map) = &value else { return Standing::Malformed("it is not a JSON object".into()) };
    match map.get("schema_version") {
        Some(Value::String(version)) if version == super::SCHEMA_VERSION => Standing::Ours,
        Some(Value::String(version)) => Standing::Future(version.chars().take(80).collect()),
        Some(_) => Standing::Malformed("its schema_version is not text".into()),
        None if read_v0(&value).is_some() => Standing::VersionZero,
        None => Standing::Malformed("it has no schema_version and is not a version 0 file".into()),
    }
}

/// Version 0: no schema_version, flat.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionZero {
    workspace_id: WorkspaceId,
    project_id: ProjectId,
    #[serde(default)]
    branch: Option<String>,
    /// The record's and git's to say; known here so that the file is.
    #[serde(default, rename = "base_branch")]
    _base_branch: Option<String>,
    #[serde(default)]
    linked_wp_id: Option<String>,
}

fn read_v0(value: &Value) -> Option<VersionZero> {
    serde_json::from_value(value.clone()).ok()
}

/// What a version 0 file says; none when the bytes are not one. Nothing in it is trusted for a decision.
pub(super) fn before(bytes: &[u8], modified_at: Timestamp) -> Option<JsonBefore> {
    let old = read_v0(&serde_json::from_slice(bytes).ok()?)?;
    Some(JsonBefore { workspace_id: old.workspace_id, project_id: old.project_id, branch: old.branch, linked_wp_id: old.linked_wp_id, modified_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V0: &str = r#"{"workspace_id":"00000000-0000-7000-8000-000000000001","project_id":"00000000-0000-7000-8000-000000000002","branch":"dcc/WP-1-x","base_branch":"main","linked_wp_id":"WP-1"}"#;

    #[test]
    fn a_found_file_is_one_of_four_things() {
        assert!(matches!(standing(V0.as_bytes()), Standing::VersionZero));
        assert!(matches!(standing(br#"{"schema_version":"hsk.devcc.workspace@1.0","more":1}"#), Standing::Ours));
        assert!(matches!(standing(br#"{"schema_version":"hsk.devcc.workspace@2.0"}"#), Standing::Future(v) if v.ends_with("@2.0")));
        for bad in [&b""[..], b"{", b"[]", b"null", b"{}", br#"{"schema_version":2}"#, br#"{"my":"own file"}"#, b"\xff\xfe"] {
            assert!(matches!(standing(bad), Standing::Malformed(_)), "{bad:?}");
        }
    }
}
