//! The screens: an address becomes a page query, the door's view model becomes HTML.
//!
//! Authority: derived. Invariants: only a signed-in browser gets a screen; the write token goes into the page of the
//! session it belongs to; a fragment request gets the live parts alone, with the same ids.
//! Failure: the problem page inside the frame, with the failure's status, code and next step.

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::Markup;

use dcc_api::door::{Page, PageQuery, Screens, SearchKind};
use dcc_api::view::{CallsFilter, JobsFilter, ProblemView, SessionsFilter, Shell, TimelineFilter};
use dcc_core::{Code, Failure, Outcome};

use super::app::App;
use super::guard::{self, Caller, FRAGMENT_HEADER};
use super::login::login_page;
use super::params::Params;
use super::problem::Problem;
use crate::{assets, ui};

/// How much of a screen is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// The live parts, for a page that is there already.
    Live,
    /// The short form beside a list.
    Peek,
    /// What a terminal shows, alone.
    Screen,
}

impl Part {
    fn of(headers: &HeaderMap) -> Self {
        match headers.get(FRAGMENT_HEADER) {
            None => Self::Whole,
            Some(value) if value == "peek" => Self::Peek,
            Some(value) if value == "screen" => Self::Screen,
            Some(_) => Self::Live,
        }
    }
}

/// One request for a screen.
pub struct Visit {
    app: App,
    caller: Caller,
    part: Part,
    /// The id in the path, empty where there is none.
    id: String,
    params: Outcome<Params>,
}

impl FromRequestParts<App> for Visit {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self {
            app: app.clone(),
            caller: Caller::from_request_parts(parts, app).await?,
            part: Part::of(&parts.headers),
            id: Path::<String>::from_request_parts(parts, app).await.map_or_else(|_| String::new(), |Path(id)| id),
            params: Params::parse(parts.uri.query().unwrap_or("")),
        })
    }
}

impl Visit {
    async fn show(self, ask: impl FnOnce(&Params, &str) -> Outcome<PageQuery>) -> Response {
        let query = self.params.and_then(|params| ask(&params, &self.id));
        let (caller, part) = (self.caller, self.part);
        draw(&self.app, caller, part != Part::Whole, move |door, shell, actor, now_ms| match query.and_then(|query| door.page(actor, query)) {
            Ok(page) if part == Part::Peek => (StatusCode::OK, peek(door, actor, &page, now_ms)),
            Ok(Page::Terminal(view)) if part == Part::Screen => (StatusCode::OK, ui::terminal_screen(&view)),
            Ok(page) => (StatusCode::OK, render(shell, &page, now_ms)),
            Err(failure) => {
                let view = problem_view(failure);
                (StatusCode::from_u16(view.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), ui::problem(shell, &view, now_ms))
            }
        })
        .await
    }
}

/// Puts a screen into its frame, on a thread for blocking work: reading and rendering both take time.
async fn draw(
    app: &App,
    caller: Caller,
    fragment: bool,
    screen: impl FnOnce(&dyn Screens, &Shell, dcc_core::principal::Actor, i64) -> (StatusCode, Markup) + Send + 'static,
) -> Response {
    let drawn = app
        .run(move |door| {
            let mut shell = door.shell();
            shell.token = caller.token.unwrap_or_default();
            shell.fragment = fragment;
            let (status, markup) = screen(door, &shell, caller.actor, now_ms());
            Ok((status, Html(markup.into_string())))
        })
        .await;
    drawn.into_response()
}

fn now_ms() -> i64 {
    // A clock before 1970 shows ages as unknown; nothing is decided by it.
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn problem_view(failure: Failure) -> ProblemView {
    ProblemView {
        status: failure.code.http_status(),
        code: failure.code.to_string(),
        title: failure.code.title().to_owned(),
        cause: Some(failure.message),
        hint: failure.hint,
        job_id: None,
    }
}

fn render(shell: &Shell, page: &Page, now_ms: i64) -> Markup {
    match page {
        Page::Board(view) => ui::board(shell, view, now_ms),
        Page::Packet(view) => ui::packet(shell, view, now_ms),
        Page::Workspaces(view) => ui::workspaces(shell, view, now_ms),
        Page::Review(view) => ui::review(shell, view, now_ms),
        Page::ReviewFile(diff) => ui::file_fragment(diff),
        Page::Sessions(view) => ui::sessions(shell, view, now_ms),
        Page::Session(view) => ui::session(shell, view, now_ms),
        Page::Terminal(view) => ui::terminal(shell, view, now_ms),
        Page::Inbox(view) => ui::inbox(shell, view, now_ms),
        Page::Approval(card) => ui::approval_page(shell, card, now_ms),
        Page::Jobs(view) => ui::jobs(shell, view, now_ms),
        Page::Job(view) => ui::job_page(shell, view, now_ms),
        Page::Timeline(view) => ui::timeline(shell, view, now_ms),
        Page::Event(view) => ui::event_page(shell, view, now_ms),
        Page::Search(view) => ui::search(shell, view, now_ms),
        Page::Health(view) => ui::health(shell, view, now_ms),
    }
}

/// The short form; what waits for a decision is decided there, so its card comes along.
fn peek(door: &dyn Screens, actor: dcc_core::principal::Actor, page: &Page, now_ms: i64) -> Markup {
    let waiting = match page {
        Page::Packet(view) => view.approvals.first(),
        _ => None,
    };
    let card = waiting.and_then(|row| id(&row.approval_id).ok()).and_then(|approval_id| match door.page(actor, PageQuery::Approval { approval_id }) {
        Ok(Page::Approval(card)) => Some(card),
        _ => None,
    });
    ui::peek(page, card.as_deref(), now_ms)
}

/// An id of an address; what cannot be an id names nothing.
fn id<T: std::str::FromStr<Err = Failure>>(text: &str) -> Outcome<T> {
    text.parse().map_err(|failure: Failure| Failure::new(Code::NotFound, failure.message).hint("ids stand in full in an address; search for the object"))
}

fn or(params: &Params, name: &str, default: &str) -> String {
    params.text(name).unwrap_or(default).to_owned()
}

pub async fn home() -> Redirect {
    Redirect::to("/board")
}

pub async fn board(visit: Visit) -> Response {
    visit
        .show(|params, _| Ok(PageQuery::Board { layout: or(params, "layout", "lanes"), filter: or(params, "filter", "all"), q: or(params, "q", "") }))
        .await
}

pub async fn packet(visit: Visit) -> Response {
    visit.show(|_, wp| Ok(PageQuery::Packet { wp_id: id(wp)? })).await
}

pub async fn workspaces(visit: Visit) -> Response {
    visit.show(|params, _| Ok(PageQuery::Workspaces { archived: params.flag("archived")? })).await
}

pub async fn review(visit: Visit) -> Response {
    visit.show(|params, ws| Ok(PageQuery::Review { workspace_id: id(ws)?, source: params.diff_source()?, file: params.repo_path()? })).await
}

pub async fn review_file(visit: Visit) -> Response {
    visit
        .show(|params, ws| {
            let path = params.repo_path()?.ok_or_else(|| Failure::invalid("the address names no file"))?;
            Ok(PageQuery::ReviewFile { workspace_id: id(ws)?, source: params.diff_source()?, path })
        })
        .await
}

pub async fn sessions(visit: Visit) -> Response {
    visit
        .show(|params, _| {
            let filter = SessionsFilter { state: or(params, "filter", "open"), role: params.owned("role"), backend: params.owned("backend") };
            Ok(PageQuery::Sessions { group: or(params, "group", "wp"), filter, cursor: params.owned("cursor") })
        })
        .await
}

pub async fn session(visit: Visit) -> Response {
    visit
        .show(|params, session| {
            let calls = CallsFilter { effect: params.owned("effect"), status: params.owned("status"), known: params.owned("known") };
            Ok(PageQuery::Session { session_id: id(session)?, tab: or(params, "tab", ""), calls })
        })
        .await
}

pub async fn terminal(visit: Visit) -> Response {
    visit.show(|_, session| Ok(PageQuery::Terminal { session_id: id(session)? })).await
}

pub async fn inbox(visit: Visit) -> Response {
    visit
        .show(|params, _| Ok(PageQuery::Inbox { tab: or(params, "tab", "open"), selected: params.text("a").map(id).transpose()? }))
        .await
}

pub async fn approval(visit: Visit) -> Response {
    visit.show(|_, approval| Ok(PageQuery::Approval { approval_id: id(approval)? })).await
}

pub async fn jobs(visit: Visit) -> Response {
    visit
        .show(|params, _| {
            let filter = JobsFilter {
                state: params.owned("state"),
                op: params.owned("op"),
                wp_id: params.any(&["wp", "wp_id"]),
                mt_id: params.any(&["mt", "mt_id"]),
                session_id: params.any(&["session", "session_id"]),
                workspace_id: params.any(&["ws", "workspace_id"]),
            };
            Ok(PageQuery::Jobs { filter, cursor: params.owned("cursor") })
        })
        .await
}

pub async fn job(visit: Visit) -> Response {
    visit.show(|_, job| Ok(PageQuery::Job { job_id: id(job)? })).await
}

pub async fn timeline(visit: Visit) -> Response {
    visit
        .show(|params, _| {
            let filter = TimelineFilter {
                wp: params.owned("wp"),
                mt: params.owned("mt"),
                session: params.owned("session"),
                ws: params.owned("ws"),
                job: params.owned("job"),
                approval: params.owned("approval"),
                code: params.owned("code"),
                q: params.owned("q"),
            };
            Ok(PageQuery::Timeline { filter, layout: or(params, "layout", "list"), cursor: params.owned("cursor") })
        })
        .await
}

pub async fn event(visit: Visit) -> Response {
    visit.show(|_, event| Ok(PageQuery::Event { event_id: id(event)? })).await
}

pub async fn search(visit: Visit) -> Response {
    visit
        .show(|params, _| {
            let scope = match params.text("scope") {
                None => SearchKind::default(),
                Some(text) => SearchKind::parse(text).ok_or_else(|| Failure::invalid(format!("{text:?} is not something to search in")))?,
            };
            Ok(PageQuery::Search { q: or(params, "q", ""), scope, workspace_id: params.parsed("ws")?, regex: params.flag("regex")? })
        })
        .await
}

pub async fn health(visit: Visit) -> Response {
    visit.show(|_, _| Ok(PageQuery::Health)).await
}

/// Style and script. Under its hash a file never changes; without one the browser asks again each time.
pub async fn asset(Path(name): Path<String>, params: Params) -> Response {
    let Some(asset) = assets::find(&name) else {
        return Problem::from(Failure::new(Code::NotFound, "no file of that name belongs to the pages")).into_response();
    };
    let cache = if params.text("v") == Some(asset.hash.as_str()) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)), (header::CACHE_CONTROL, HeaderValue::from_static(cache))];
    (headers, bytes::Bytes::from_static(&asset.bytes)).into_response()
}

/// An address that is not in the table.
pub async fn not_found(State(app): State<App>, method: Method, headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if path.starts_with("/api/") || method != Method::GET {
        return Problem::from(Failure::new(Code::NotFound, format!("nothing stands at {path}")).hint("the addresses stand at /api/v1/openapi.json")).into_response();
    }
    let caller = match guard::by_cookie(&app, &method, &headers) {
        Ok(caller) => caller,
        // Whoever is not signed in does not learn which addresses exist.
        Err(failure) if failure.code == Code::Unauthenticated => return Redirect::to("/login").into_response(),
        Err(failure) => return login_page(&app, Some(&failure), StatusCode::FORBIDDEN),
    };
    let fragment = headers.contains_key(FRAGMENT_HEADER);
    draw(&app, caller, fragment, move |_, shell, _, now_ms| (StatusCode::NOT_FOUND, ui::not_found(shell, &path, now_ms))).await
}

/// An address that is in the table, asked in another way.
pub async fn wrong_method(method: Method) -> Problem {
    Problem::with_status(Failure::invalid(format!("this address does not take {method}")).hint("the addresses stand at /api/v1/openapi.json"), StatusCode::METHOD_NOT_ALLOWED)
}
