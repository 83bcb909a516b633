//! Every route against everybody who may not use it. The threat: any page in the person's browser, any process on this
//! machine without the credential, a name that was re-bound to the loopback address.

use super::*;
use crate::server::routes::{Access, Body as Wanted, ROUTES, Route};
use crate::server::security::CONTENT_SECURITY_POLICY;

/// The table as the authorisation tests know it. A new route fails here until somebody says who may use it.
const KNOWN: &str = "\
POST /api/v1/jobs Operator changes
GET /api/v1/jobs Operator
GET /api/v1/jobs/{id} Operator
POST /api/v1/jobs/{id}/cancel Operator changes
GET /api/v1/wps Operator
GET /api/v1/wps/{id} Operator
GET /api/v1/workspaces Operator
GET /api/v1/workspaces/{id} Operator
GET /api/v1/workspaces/{id}/status Operator
GET /api/v1/workspaces/{id}/diff Operator
GET /api/v1/workspaces/{id}/repairs Operator
GET /api/v1/workspaces/{id}/log Operator
GET /api/v1/sessions Operator
GET /api/v1/sessions/{id} Operator
GET /api/v1/sessions/{id}/terminal Operator
POST /api/v1/sessions/{id}/terminal Operator changes
GET /api/v1/sessions/{id}/terminal/state Operator
GET /api/v1/sessions/{id}/tool-calls Operator
GET /api/v1/board Operator
GET /api/v1/approvals Operator
GET /api/v1/approvals/{id} Operator
POST /api/v1/approvals/{id}/presentation Operator changes
POST /api/v1/approvals/{id}/decision Operator changes
GET /api/v1/budgets Operator
GET /api/v1/grants Operator
GET /api/v1/events Operator
GET /api/v1/events/stream Operator
GET /api/v1/events/{id} Operator
GET /api/v1/search Operator
GET /api/v1/artifacts/{sha256} Operator
GET /api/v1/anchors Operator
GET /api/v1/handoffs Operator
GET /api/v1/handoffs/{id} Operator
GET /api/v1/health Operator
POST /api/v1/recorder/verify Operator changes
GET /api/v1/project Operator
GET /api/v1/resolve Operator
GET /api/v1/openapi.json Operator
POST /api/v1/login-link Credential changes
POST /api/v1/stop Credential changes
GET / Page
GET /board Page
GET /wp/{id} Page
GET /workspaces Page
GET /ws/{id} Page
GET /ws/{id}/file Page
GET /sessions Page
GET /session/{id} Page
GET /session/{id}/terminal Page
GET /inbox Page
GET /approval/{id} Page
GET /jobs Page
GET /job/{id} Page
GET /timeline Page
GET /event/{id} Page
GET /search Page
GET /health Page
GET /login Public
POST /login Public changes
GET /assets/{name} Public
";

#[test]
fn the_table_is_the_one_these_tests_know() {
    let table: Vec<String> =
        ROUTES.iter().map(|route| format!("{} {} {:?}{}", route.method, route.path, route.access, if route.changes { " changes" } else { "" })).collect();
    assert_eq!(table, KNOWN.lines().collect::<Vec<_>>());
    for route in ROUTES {
        assert_eq!(route.changes, route.method != "GET", "{}: reading changes nothing, writing says so", route.path);
        assert_eq!(route.body == Wanted::None, route.method == "GET", "{}", route.path);
    }
}

/// A request that this route would take from its rightful sender, without credential.
fn fitting(route: &Route) -> Ask {
    let id = if route.path.contains("/wp") { "WP-0001" } else { ID };
    let path = route.path.replace("{id}", id).replace("{sha256}", &"a".repeat(64)).replace("{name}", "app.css");
    let path = match route.path {
        "/api/v1/search" => format!("{path}?q=x"),
        "/api/v1/resolve" => format!("{path}?short=ab12cd34"),
        "/ws/{id}/file" => format!("{path}?path=src/lib.rs"),
        _ => path,
    };
    let ask = ask(route.method, &path);
    match (route.body, route.path) {
        (Wanted::None, _) => ask,
        (Wanted::Form, _) => ask.with("content-type", "application/x-www-form-urlencoded").with("origin", "http://127.0.0.1:7777").body("code=x"),
        (Wanted::Json(_), path) => ask.with("content-type", "application/json").body(match path {
            "/api/v1/jobs" => r#"{"op":"locus.sync_task_board"}"#,
            "/api/v1/sessions/{id}/terminal" => r#"{"attachment":"0198c0de-0000-7000-8000-00000000000a"}"#,
            "/api/v1/approvals/{id}/decision" => r#"{"decision":"approve"}"#,
            _ => "{}",
        }),
    }
}

/// True for the stream, whose good answer has no end.
fn endless(route: &Route) -> bool {
    route.path.ends_with("/stream")
}

fn guarded() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| route.access != Access::Public)
}

/// Routes that a browser session may use.
fn of_browser() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| matches!(route.access, Access::Page | Access::Operator))
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

/// No state of the project in an answer, and nothing asked of the door.
fn assert_refused(site: &Site, route: &Route, reply: &Reply, status: u16) {
    assert_eq!(reply.status.as_u16(), status, "{}: {}", name(route), reply.text());
    assert!(!reply.text().contains("demo"), "{} shows the project", name(route));
    assert_eq!(site.fake.take(), [], "{} reached the door", name(route));
    assert_eq!(reply.header("content-security-policy"), CONTENT_SECURITY_POLICY);
    assert_eq!(reply.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn nobody_without_a_credential_gets_in() {
    let site = Site::new();
    let wrong = format!("Bearer {}", CREDENTIAL.replace('0', "1"));
    for route in guarded() {
        let expect = if route.access == Access::Page { 303 } else { 401 };
        for ask in [
            fitting(route),
            fitting(route).with("cookie", &format!("{}={}", site.app.auth.cookie_name(), "a".repeat(64))).with("origin", "http://127.0.0.1:7777"),
            fitting(route).with("cookie", "dcc_00000000=x"),
            fitting(route).with("authorization", &wrong),
            fitting(route).with("authorization", CREDENTIAL),
            fitting(route).with("authorization", "Bearer "),
            fitting(route).bearer().also("authorization", &wrong),
        ] {
            let reply = site.send(ask).await;
            assert_refused(&site, route, &reply, expect);
            if expect == 303 {
                assert_eq!(reply.header("location"), "/login");
            } else {
                assert_eq!(reply.problem().1, "HSK-401-UNAUTHENTICATED");
                assert!(reply.header("www-authenticate").starts_with("Bearer"));
            }
        }
    }
}

#[tokio::test]
async fn a_foreign_host_reads_nothing_at_all() {
    let site = Site::new();
    let browser = site.browser();
    let hosts = ["evil.test", "evil.test:7777", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:7777.evil.test", "localhost.:7777", "0.0.0.0:7777", "[::1]", "2130706433:7777", ""];
    for route in ROUTES {
        for host in hosts {
            let own = format!("http://{host}");
            for ask in [fitting(route), fitting(route).bearer(), fitting(route).by(&browser).with("origin", &own)] {
                let reply = site.send(ask.with("host", host)).await;
                assert_refused(&site, route, &reply, 403);
                assert_eq!(reply.problem().1, "HSK-403-ORIGIN");
            }
        }
        assert_refused(&site, route, &site.send(fitting(route).bearer().also("host", HOST)).await, 403);
    }
    // Before routing as well: an address that names nothing, a method that does not fit.
    for ask in [get("/nowhere"), get("/api/v1/nowhere"), ask("DELETE", "/api/v1/jobs"), ask("OPTIONS", "/api/v1/jobs")] {
        assert_eq!(site.send(ask.with("host", "evil.test")).await.problem(), (403, "HSK-403-ORIGIN".into()));
    }
    assert_eq!(site.send(get("http://evil.test:7777/api/v1/board").bearer()).await.problem().0, 403);
}

#[tokio::test]
async fn our_own_hosts_are_served() {
    let site = Site::new();
    for host in ["127.0.0.1:7777", "localhost:7777", "LocalHost:7777", "[::1]:7777"] {
        assert_eq!(site.send(get("/api/v1/board").bearer().with("host", host)).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_cookie_borrowed_by_another_page_does_nothing() {
    let site = Site::new();
    let browser = site.browser();
    for route in of_browser() {
        let asks = [
            ("null origin", fitting(route).by(&browser).with("origin", "null")),
            ("foreign origin", fitting(route).by(&browser).with("origin", "http://evil.test")),
            ("other port", fitting(route).by(&browser).with("origin", "http://127.0.0.1:8888")),
            ("other name of ours", fitting(route).by(&browser).with("origin", "http://localhost:7777")),
            ("other scheme", fitting(route).by(&browser).with("origin", "https://127.0.0.1:7777")),
            ("cross-site", fitting(route).by(&browser).with("sec-fetch-site", "cross-site")),
            ("same-site", fitting(route).by(&browser).with("sec-fetch-site", "same-site")),
            ("unknown site", fitting(route).by(&browser).with("sec-fetch-site", "SAME-ORIGIN")),
            ("two sites", fitting(route).by(&browser).also("sec-fetch-site", "cross-site")),
        ];
        for (what, ask) in asks {
            let reply = site.send(ask).await;
            assert_refused(&site, route, &reply, 403);
            if route.access == Access::Page {
                assert!(reply.text().contains("HSK-403-ORIGIN"), "{what}: {}", reply.text());
            } else {
                assert_eq!(reply.problem().1, "HSK-403-ORIGIN", "{what} {}", name(route));
            }
        }
    }
}

#[tokio::test]
async fn writes_of_a_browser_need_origin_and_token() {
    let site = Site::new();
    let (browser, other) = (site.browser(), site.browser());
    for route in of_browser().filter(|route| route.changes) {
        for ask in [
            fitting(route).by(&browser).with("x-dcc-token", ""),
            fitting(route).by(&browser).with("x-dcc-token", "x"),
            fitting(route).by(&browser).with("x-dcc-token", &other.token),
            fitting(route).by(&browser).with("x-dcc-token", &browser.cookie),
            fitting(route).by(&browser).with("origin", ""),
        ] {
            let reply = site.send(ask).await;
            assert_refused(&site, route, &reply, 403);
            assert_eq!(reply.problem().1, "HSK-403-ORIGIN", "{}", name(route));
        }
    }
}

#[tokio::test]
async fn a_browser_session_is_not_the_credential_and_the_two_do_not_mix() {
    let site = Site::new();
    let browser = site.browser();
    for route in guarded().filter(|route| route.access != Access::Page) {
        assert_refused(&site, route, &site.send(fitting(route).by(&browser).bearer()).await, 401);
        assert_refused(&site, route, &site.send(fitting(route).bearer().with("origin", "http://evil.test")).await, 403);
        if route.access == Access::Credential {
            assert_refused(&site, route, &site.send(fitting(route).by(&browser)).await, 401);
        }
    }
}

#[tokio::test]
async fn bodies_are_json_and_forms_are_not() {
    let site = Site::new();
    let browser = site.browser();
    for route in guarded().filter(|route| route.changes) {
        for media in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", "text/json"] {
            assert_refused(&site, route, &site.send(fitting(route).bearer().with("content-type", media)).await, 415);
            if route.access == Access::Operator {
                assert_refused(&site, route, &site.send(fitting(route).by(&browser).with("content-type", media)).await, 415);
            }
        }
    }
}

fn assert_hardened(route: &Route, reply: &Reply) {
    for (header, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("access-control-allow-origin", ""),
    ] {
        assert_eq!(reply.header(header), value, "{}", name(route));
    }
    assert_eq!(reply.header("cache-control") == "no-store", !route.path.starts_with("/assets/"), "{}", name(route));
}

#[tokio::test]
async fn rightful_senders_are_served_and_reading_writes_nothing() {
    let site = Site::new();
    let browser = site.browser();
    for route in ROUTES.iter().filter(|route| !endless(route)) {
        let asks = match route.access {
            Access::Public => vec![fitting(route)],
            Access::Page => vec![fitting(route).by(&browser)],
            Access::Operator => vec![fitting(route).by(&browser), fitting(route).bearer()],
            Access::Credential => vec![fitting(route).bearer()],
        };
        for ask in asks {
            let reply = site.send(ask).await;
            let is_expected = match route.path {
                // The code was wrong, and there is no such approval: both got as far as they should.
                "/login" if route.changes => reply.status == 401,
                "/api/v1/approvals/{id}/presentation" => reply.problem() == (404, "HSK-404-APPROVAL".into()),
                "/" => reply.status == 303,
                _ => reply.status.is_success(),
            };
            assert!(is_expected, "{}: {} {}", name(route), reply.status, reply.text());
            assert_hardened(route, &reply);
            let calls = site.fake.take();
            assert_eq!(calls.iter().any(Call::is_writing), route.changes && route.access == Access::Operator, "{}: {calls:?}", name(route));
        }
    }
}

#[tokio::test]
async fn the_unix_socket_serves_the_api_to_the_credential_alone() {
    let site = Site::new();
    let browser = site.browser();
    for route in ROUTES.iter().filter(|route| !endless(route)) {
        let local = |ask: Ask| ask.with("host", "localhost");
        let reply = site.send_unix(local(fitting(route).bearer().with("origin", ""))).await;
        if route.is_api() {
            assert!(!matches!(reply.status.as_u16(), 401 | 403 | 405), "{}: {}", name(route), reply.text());
            site.fake.take();
            assert_refused(&site, route, &site.send_unix(local(fitting(route))).await, 401);
            assert_refused(&site, route, &site.send_unix(fitting(route).bearer()).await, 403);
            let cookied = local(fitting(route).by(&browser)).with("origin", "http://localhost");
            assert_refused(&site, route, &site.send_unix(cookied).await, 401);
        } else {
            assert!(matches!(reply.status.as_u16(), 303 | 404), "{}: {}", name(route), reply.status);
            assert_eq!(site.fake.take(), []);
        }
    }
}
