//! THE table of routes: the router is built from it, the OpenAPI text is generated from it, and a test compares it with
//! the authorisation tests.
//!
//! Authority: none. Invariants: what is not in the table is not served; `changes` is false for every GET; a route that
//! touches the project is never public. (`GET /login` consumes a sign-in link, which is no state of the project.)

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use tower_http::compression::CompressionLayer;

use super::api::{approvals, artifacts, board, budgets, events, grants, health, jobs, login_link, notes, project, search, sessions, wps, workspaces};
use super::app::{App, Channel};
use super::{guard, login, openapi, pages, sse};

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Anybody who reaches the listener: the sign-in page and the files it needs.
    Public,
    /// A signed-in browser; others are sent to the sign-in page.
    Page,
    /// A signed-in browser, or the operator's credential.
    Operator,
    /// The operator's credential only.
    Credential,
}

/// What a body must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    None,
    /// JSON of the named schema.
    Json(&'static str),
    Form,
}

/// One parameter of a query string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param {
    pub name: &'static str,
    /// Schema by name (`schemas.rs`).
    pub schema: &'static str,
}

const fn param(name: &'static str, schema: &'static str) -> Param {
    Param { name, schema }
}

/// One route.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub access: Access,
    /// True when it can change state of the project or of the server.
    pub changes: bool,
    pub summary: &'static str,
    pub params: &'static [Param],
    pub body: Body,
    /// Status of success and schema of its JSON; an empty name is not JSON.
    pub reply: (u16, &'static str),
    make: fn() -> MethodRouter<App>,
}

impl Route {
    const fn read(path: &'static str, summary: &'static str, params: &'static [Param], reply: &'static str, make: fn() -> MethodRouter<App>) -> Self {
        Self { method: "GET", path, access: Access::Operator, changes: false, summary, params, body: Body::None, reply: (200, reply), make }
    }
    const fn write(path: &'static str, summary: &'static str, body: &'static str, reply: (u16, &'static str), make: fn() -> MethodRouter<App>) -> Self {
        Self { method: "POST", path, access: Access::Operator, changes: true, summary, params: &[], body: Body::Json(body), reply, make }
    }
    const fn page(path: &'static str, summary: &'static str, make: fn() -> MethodRouter<App>) -> Self {
        Self { method: "GET", path, access: Access::Page, changes: false, summary, params: &[], body: Body::None, reply: (200, ""), make }
    }
    const fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }
    const fn form(self) -> Self {
        Self { method: "POST", body: Body::Form, changes: true, reply: (303, ""), ..self }
    }

    /// True for the documented API; the rest are screens and their files.
    pub fn is_api(&self) -> bool {
        self.path.starts_with("/api/")
    }
}

const CURSOR: Param = param("cursor", "Cursor");
const LIMIT: Param = param("limit", "Limit");
const PAGING: &[Param] = &[CURSOR, LIMIT];
const WP: Param = param("wp_id", "WpId");
const MT: Param = param("mt_id", "MtId");
const SESSION: Param = param("session_id", "Uuid");
const WORKSPACE: Param = param("workspace_id", "Uuid");
const PATH: Param = param("path", "Text");
const B64: Param = param("b64", "Base64");
const DIFF: &[Param] = &[param("source", "DiffSource"), param("base", "Text"), param("oid", "Oid"), PATH, B64];
const JOBS: &[Param] = &[param("state", "JobStates"), param("op", "Op"), WP, MT, SESSION, WORKSPACE, param("root_job_id", "Uuid"), CURSOR, LIMIT];
const SESSIONS: &[Param] = &[param("state", "SessionStates"), param("role", "Role"), param("backend", "Text"), WP, param("parent_session_id", "Uuid"), param("recovery", "Flag"), CURSOR, LIMIT];
const EVENTS: &[Param] = &[
    param("after_seq", "Seq"),
    param("before_seq", "Seq"),
    WP,
    MT,
    SESSION,
    WORKSPACE,
    param("wsid", "Uuid"),
    param("job_id", "Uuid"),
    param("workflow_run_id", "Uuid"),
    param("approval_id", "Uuid"),
    param("tool_call_id", "Text"),
    param("code", "EventCodes"),
    param("actor_kind", "ActorKind"),
    param("actor_id", "Text"),
    param("principal", "Text"),
    param("trace_id", "Text"),
    param("span_id", "Text"),
    param("parent_span_id", "Text"),
    param("project_id", "Uuid"),
    param("policy_digest", "Text"),
    param("outcome", "EventOutcome"),
    param("capability_id", "Text"),
    param("text", "Text"),
    param("since", "Time"),
    param("until", "Time"),
    param("order", "Order"),
    CURSOR,
    LIMIT,
];

/// Every address of the server.
pub static ROUTES: &[Route] = &[
    Route::write("/api/v1/jobs", "Ask for an operation", "JobRequest", (202, "Job"), || post(jobs::submit)),
    Route::read("/api/v1/jobs", "Jobs, newest first", JOBS, "List", || get(jobs::list)),
    Route::read("/api/v1/jobs/{id}", "One job", &[], "Job", || get(jobs::one)),
    Route::write("/api/v1/jobs/{id}/cancel", "Ask a job to end", "Cancel", (202, "Job"), || post(jobs::cancel)),
    Route::read("/api/v1/wps", "Work packets", &[param("status", "WpStatus"), param("ready", "Flag"), param("all", "Flag"), CURSOR, LIMIT], "List", || get(wps::list)),
    Route::read("/api/v1/wps/{id}", "One work packet with its micro-tasks", &[], "Thing", || get(wps::one)),
    Route::read("/api/v1/workspaces", "Workspaces", PAGING, "List", || get(workspaces::list)),
    Route::read("/api/v1/workspaces/{id}", "One workspace", &[], "Thing", || get(workspaces::one)),
    Route::read("/api/v1/workspaces/{id}/status", "Changed paths of the worktree", &[], "Thing", || get(workspaces::status)),
    Route::read("/api/v1/workspaces/{id}/diff", "Changed files; the lines of one when path names it", DIFF, "Thing", || get(workspaces::diff)),
    Route::read("/api/v1/workspaces/{id}/repairs", "What is wrong with the workspace's own files, and the repair for each", &[], "List", || get(workspaces::repairs)),
    Route::read("/api/v1/workspaces/{id}/log", "Commits of the branch, newest first", &[PATH, B64, LIMIT], "List", || get(workspaces::log)),
    Route::read("/api/v1/sessions", "Sessions", SESSIONS, "List", || get(sessions::list)),
    Route::read("/api/v1/sessions/{id}", "One session", &[], "Thing", || get(sessions::one)),
    Route::read("/api/v1/sessions/{id}/terminal", "What its terminal shows from a place on; waits a while for more", &[param("from", "Seq"), param("rows", "Seq"), param("columns", "Seq")], "Thing", || get(sessions::terminal)),
    Route::write("/api/v1/sessions/{id}/terminal", "Keys for its terminal, from the attachment that session.attach began", "TerminalInput", (200, "Empty"), || post(sessions::type_in)),
    Route::read("/api/v1/sessions/{id}/terminal/state", "What draws its terminal's screen anew", &[], "Thing", || get(sessions::terminal_state)),
    Route::read("/api/v1/sessions/{id}/tool-calls", "Tool calls of a session, oldest first", &[param("after_seq", "Seq"), LIMIT], "List", || get(sessions::tool_calls)),
    Route::read("/api/v1/board", "Packets by lane", &[], "Thing", || get(board::board)),
    Route::read("/api/v1/approvals", "Approvals, newest first", &[param("status", "ApprovalStatus"), CURSOR, LIMIT], "List", || get(approvals::list)),
    Route::read("/api/v1/approvals/{id}", "One approval", &[], "Thing", || get(approvals::one)),
    Route::write("/api/v1/approvals/{id}/presentation", "Render for a decision; records it, hands out the one-time nonce", "Empty", (200, "Presentation"), || post(approvals::present)),
    Route::write("/api/v1/approvals/{id}/decision", "Decide", "Decision", (200, "Decided"), || post(approvals::decide)),
    Route::read("/api/v1/budgets", "Limits and totals", PAGING, "List", || get(budgets::list)),
    Route::read("/api/v1/grants", "Standing grants", PAGING, "List", || get(grants::list)),
    Route::read("/api/v1/events", "A slice of the Flight Recorder", EVENTS, "List", || get(events::list)),
    Route::read("/api/v1/events/stream", "Live events (SSE), resumable by Last-Event-ID", &[param("after", "Seq")], "", || get(sse::stream)),
    Route::read("/api/v1/events/{id}", "One event", &[], "Thing", || get(events::one)),
    Route::read("/api/v1/search", "Search", &[param("q", "Text"), param("scope", "SearchKind"), WORKSPACE, param("regex", "Flag"), param("limit", "HitLimit")], "Thing", || get(search::search)),
    Route::read("/api/v1/artifacts/{sha256}", "Bytes of an artifact", &[], "", || get(artifacts::bytes)),
    Route::read("/api/v1/anchors", "Objective anchors (advisory)", PAGING, "List", || get(notes::anchors)),
    Route::read("/api/v1/handoffs", "Handoffs (advisory)", PAGING, "List", || get(notes::handoffs)),
    Route::read("/api/v1/handoffs/{id}", "One handoff (advisory)", &[], "Thing", || get(notes::handoff)),
    Route::read("/api/v1/health", "Checks with evidence", &[], "Thing", || get(health::health)),
    Route::write("/api/v1/recorder/verify", "Walk the whole hash chain now; the answer says how far it holds", "Empty", (200, "Thing"), || post(health::verify)),
    Route::read("/api/v1/project", "Which project this server serves", &[], "Project", || get(project::project)),
    Route::read("/api/v1/resolve", "What a short id stands for", &[param("short", "Text")], "List", || get(search::resolve)),
    Route::read("/api/v1/openapi.json", "This description", &[], "Thing", || get(openapi::document)),
    Route::write("/api/v1/login-link", "A sign-in link for a browser: 60 seconds, once", "Empty", (200, "LoginLink"), || post(login_link::issue)).access(Access::Credential),
    Route::write("/api/v1/stop", "End this server", "Empty", (202, "Stopping"), || post(project::stop)).access(Access::Credential),
    Route::page("/", "The board", || get(pages::home)),
    Route::page("/board", "Board", || get(pages::board)),
    Route::page("/wp/{id}", "Work packet", || get(pages::packet)),
    Route::page("/workspaces", "Workspaces", || get(pages::workspaces)),
    Route::page("/ws/{id}", "Workspace review", || get(pages::review)),
    Route::page("/ws/{id}/file", "The lines of one file", || get(pages::review_file)),
    Route::page("/sessions", "Sessions", || get(pages::sessions)),
    Route::page("/session/{id}", "One session", || get(pages::session)),
    Route::page("/session/{id}/terminal", "The screen of its terminal", || get(pages::terminal)),
    Route::page("/inbox", "Approval inbox", || get(pages::inbox)),
    Route::page("/approval/{id}", "One approval", || get(pages::approval)),
    Route::page("/jobs", "Jobs", || get(pages::jobs)),
    Route::page("/job/{id}", "One job", || get(pages::job)),
    Route::page("/timeline", "Timeline", || get(pages::timeline)),
    Route::page("/event/{id}", "One event", || get(pages::event)),
    Route::page("/search", "Search", || get(pages::search)),
    Route::page("/health", "Health", || get(pages::health)),
    Route::page("/login", "Sign-in page; opens a one-time link", || get(login::login)).access(Access::Public),
    Route::page("/login", "Sign in with a pasted code", || post(login::login_form)).access(Access::Public).form(),
    Route::page("/assets/{name}", "Style and script", || get(pages::asset)).access(Access::Public),
];

/// The router of one channel: the socket serves the API alone, since no browser comes that way.
pub fn router(app: &App) -> Router {
    let served = ROUTES.iter().filter(|route| app.channel != Channel::Unix || route.is_api());
    let router = served.fold(Router::new(), |router, route| {
        router.route(route.path, (route.make)().route_layer(from_fn_with_state((app.clone(), route), guard::inner)))
    });
    router
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::wrong_method)
        .layer(from_fn_with_state(app.clone(), guard::outer))
        // Leaves event streams and small answers as they are.
        .layer(CompressionLayer::new().gzip(true))
        .with_state(app.clone())
}
