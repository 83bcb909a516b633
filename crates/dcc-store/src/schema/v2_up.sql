-- seq columns hold the recorder sequence of the event that made the row: the only order there is.
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    op TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    wp_id TEXT COLLATE NOCASE,
    mt_id TEXT,
    session_id TEXT,
    workspace_id TEXT,
    parent_job_id TEXT,
    root_job_id TEXT NOT NULL,
    approval_id TEXT,
    plan_digest TEXT,
    idempotency_key TEXT,
    failure_code TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    record_json TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX jobs_by_seq ON jobs (seq);
CREATE INDEX jobs_by_state ON jobs (state, seq);
CREATE INDEX jobs_by_op ON jobs (op, seq);
CREATE INDEX jobs_by_packet ON jobs (wp_id, seq) WHERE wp_id IS NOT NULL;
CREATE INDEX jobs_by_session ON jobs (session_id, seq) WHERE session_id IS NOT NULL;
CREATE INDEX jobs_by_workspace ON jobs (workspace_id, seq) WHERE workspace_id IS NOT NULL;
CREATE INDEX jobs_by_root ON jobs (root_job_id, seq);

CREATE TABLE attempts (
    job_id TEXT NOT NULL REFERENCES jobs (job_id) DEFERRABLE INITIALLY DEFERRED,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    failure_code TEXT,
    failure_message TEXT,
    PRIMARY KEY (job_id, attempt)
) STRICT;

CREATE TABLE gates (
    seq INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (job_id) DEFERRABLE INITIALLY DEFERRED,
    ts TEXT NOT NULL,
    gate TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    code TEXT
) STRICT;
CREATE INDEX gates_by_job ON gates (job_id, seq);

CREATE TABLE approvals (
    approval_id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    job_id TEXT NOT NULL,
    root_job_id TEXT NOT NULL,
    status TEXT NOT NULL,
    tier TEXT NOT NULL,
    session_id TEXT,
    workspace_id TEXT,
    wp_id TEXT COLLATE NOCASE,
    requested_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    record_json TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX approvals_by_seq ON approvals (seq);
CREATE INDEX approvals_by_status ON approvals (status, seq);
CREATE INDEX approvals_by_job ON approvals (job_id);

CREATE TABLE grants (
    grant_id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    approval_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    session_id TEXT,
    workspace_id TEXT,
    revoked INTEGER NOT NULL,
    revoked_at TEXT,
    expires_at TEXT NOT NULL,
    record_json TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX grants_by_seq ON grants (seq);
CREATE UNIQUE INDEX grants_by_approval ON grants (approval_id);

CREATE TABLE session_records (
    session_id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    state_reason TEXT NOT NULL,
    workspace_id TEXT,
    wp_id TEXT COLLATE NOCASE,
    title TEXT NOT NULL,
    search_text TEXT NOT NULL,
    record_json TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX session_records_by_seq ON session_records (seq);
CREATE INDEX session_records_by_workspace ON session_records (workspace_id, seq);

CREATE TABLE workspace_records (
    workspace_id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    status TEXT NOT NULL,
    worktree_path TEXT NOT NULL,
    wp_id TEXT COLLATE NOCASE,
    title TEXT NOT NULL,
    search_text TEXT NOT NULL,
    record_json TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX workspace_records_by_seq ON workspace_records (seq);
CREATE INDEX workspace_records_by_path ON workspace_records (worktree_path, seq);

-- session_id is '' for a call outside any session.
CREATE TABLE tool_calls (
    session_id TEXT NOT NULL,
    tool_call_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    status TEXT NOT NULL,
    observed TEXT NOT NULL,
    workspace_id TEXT,
    wp_id TEXT COLLATE NOCASE,
    job_id TEXT,
    approval_id TEXT,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    record_json TEXT NOT NULL,
    PRIMARY KEY (session_id, tool_call_id)
) STRICT;
CREATE UNIQUE INDEX tool_calls_by_seq ON tool_calls (seq);
CREATE INDEX tool_calls_by_session ON tool_calls (session_id, seq);

CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    role TEXT NOT NULL,
    text TEXT NOT NULL,
    text_ref TEXT,
    ts TEXT NOT NULL,
    job_id TEXT
) STRICT;
CREATE INDEX messages_by_session ON messages (session_id, seq);

CREATE TABLE work_packets (
    wp_id TEXT PRIMARY KEY COLLATE NOCASE,
    version INTEGER NOT NULL,
    status TEXT NOT NULL,
    priority INTEGER NOT NULL,
    wp_type TEXT NOT NULL,
    title TEXT NOT NULL,
    tombstone TEXT,
    updated_at TEXT NOT NULL,
    search_text TEXT NOT NULL,
    record_json TEXT NOT NULL
) STRICT;
CREATE INDEX work_packets_by_status ON work_packets (status, priority, wp_id);

CREATE TABLE micro_tasks (
    wp_id TEXT NOT NULL COLLATE NOCASE,
    mt_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT NOT NULL,
    name TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    search_text TEXT NOT NULL,
    record_json TEXT NOT NULL,
    PRIMARY KEY (wp_id, mt_id)
) STRICT;
CREATE INDEX micro_tasks_by_status ON micro_tasks (status, wp_id, mt_id);

CREATE TABLE board_state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL,
    code TEXT NOT NULL,
    ts TEXT NOT NULL,
    mirror_state TEXT,
    written_sha256 TEXT,
    written_seq INTEGER,
    written_at TEXT
) STRICT;

CREATE TABLE projection_cursor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;

CREATE TABLE store_meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
