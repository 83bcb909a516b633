CREATE TABLE projects (
    project_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    root_path TEXT NOT NULL UNIQUE,
    repo_kind TEXT NOT NULL CHECK (repo_kind = 'git'),
    default_base_branch TEXT,
    last_open_workspace_id TEXT,
    ui_state_json TEXT NOT NULL,
    policy_json TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE workspaces (
    workspace_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (project_id),
    kind TEXT NOT NULL CHECK (kind IN ('root', 'worktree')),
    role TEXT NOT NULL CHECK (role IN ('human', 'coder', 'validator')),
    status TEXT NOT NULL CHECK (status IN ('active', 'paused', 'archived')),
    worktree_path TEXT NOT NULL,
    repo_root_path TEXT NOT NULL,
    branch TEXT,
    base_branch TEXT,
    head_rev TEXT,
    linked_wp_id TEXT,
    linked_mt_id TEXT,
    workspace_json_relpath TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    last_opened_at TEXT,
    UNIQUE (project_id, worktree_path)
) STRICT;

CREATE TABLE approval_tokens (
    token_id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    scope_json TEXT NOT NULL,
    granted_capabilities_json TEXT NOT NULL,
    consent_receipt_ref TEXT
) STRICT;

CREATE TABLE execution_sessions (
    execution_session_id TEXT PRIMARY KEY,
    workspace_id TEXT,
    agent_type TEXT NOT NULL CHECK (agent_type IN ('worker', 'validator', 'human')),
    agent_name TEXT NOT NULL,
    model_role TEXT,
    model_id TEXT,
    bound_wp_id TEXT,
    bound_mt_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('running', 'waiting_approval', 'paused', 'interrupted', 'closed')),
    started_at TEXT,
    ended_at TEXT,
    handoff_required INTEGER NOT NULL,
    last_handoff_id TEXT
) STRICT;

CREATE TABLE session_capability_grants (
    execution_session_id TEXT NOT NULL,
    capability_id TEXT NOT NULL,
    token_id TEXT,
    grant_ref TEXT NOT NULL,
    expires_at TEXT,
    PRIMARY KEY (execution_session_id, capability_id, grant_ref)
) STRICT;

CREATE TABLE objective_anchors (
    anchor_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    title TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('stub', 'ready', 'in_progress', 'blocked', 'in_review', 'done', 'cancelled')),
    description_ref TEXT,
    acceptance_criteria_json TEXT NOT NULL,
    linked_wp_id TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE anchor_mt_links (
    anchor_id TEXT NOT NULL REFERENCES objective_anchors (anchor_id),
    mt_id TEXT NOT NULL,
    PRIMARY KEY (anchor_id, mt_id)
) STRICT;

CREATE TABLE anchor_dependencies (
    anchor_id TEXT NOT NULL REFERENCES objective_anchors (anchor_id),
    dep_kind TEXT NOT NULL CHECK (dep_kind IN ('anchor', 'wp')),
    dep_id TEXT NOT NULL,
    PRIMARY KEY (anchor_id, dep_kind, dep_id)
) STRICT;

CREATE TABLE anchor_links (
    anchor_id TEXT NOT NULL REFERENCES objective_anchors (anchor_id),
    link_kind TEXT NOT NULL CHECK (link_kind IN ('workspace', 'session', 'commit', 'artifact')),
    link_id TEXT NOT NULL,
    PRIMARY KEY (anchor_id, link_kind, link_id)
) STRICT;

CREATE TABLE anchor_notes (
    note_id TEXT PRIMARY KEY,
    anchor_id TEXT NOT NULL REFERENCES objective_anchors (anchor_id),
    ts TEXT NOT NULL,
    author TEXT NOT NULL CHECK (author IN ('human', 'agent')),
    note_ref TEXT NOT NULL
) STRICT;

CREATE TABLE handoffs (
    handoff_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    workspace_id TEXT,
    execution_session_id TEXT,
    anchor_id TEXT,
    wp_id TEXT,
    mt_id TEXT,
    summary_done_ref TEXT,
    summary_remaining_ref TEXT,
    decisions_json TEXT NOT NULL,
    uncertainties_json TEXT NOT NULL,
    blockers_json TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE handoff_evidence (
    handoff_id TEXT NOT NULL REFERENCES handoffs (handoff_id),
    kind TEXT NOT NULL CHECK (kind IN ('diff', 'commit', 'artifact')),
    ref TEXT NOT NULL,
    PRIMARY KEY (handoff_id, kind, ref)
) STRICT;

CREATE TABLE pending_approvals (
    approval_id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    workspace_id TEXT,
    execution_session_id TEXT,
    requested_capabilities_json TEXT NOT NULL,
    operation_preview_json TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'expired')),
    decided_by TEXT CHECK (decided_by IN ('human', 'session')),
    decided_at TEXT,
    decision_reason TEXT,
    token_id TEXT
) STRICT;

CREATE TABLE conversation_sessions (
    conversation_id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    source_locator TEXT,
    project_id TEXT NOT NULL,
    workspace_id TEXT,
    execution_session_id TEXT,
    started_at TEXT,
    ended_at TEXT,
    tokens_in INTEGER,
    tokens_out INTEGER,
    cost_currency TEXT,
    cost_amount TEXT,
    transcript_ref TEXT,
    messages_index_ref TEXT
) STRICT;

CREATE TABLE session_conversations (
    execution_session_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL REFERENCES conversation_sessions (conversation_id),
    PRIMARY KEY (execution_session_id, conversation_id)
) STRICT;
