//! Pages outside a screen: sign-in, problem, not found.
//!
//! Authority: derived. Invariant: a problem names what, cause and next step, and its stable code.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use dcc_api::view::{LoginView, ProblemView, Shell};

use super::components::{Pip, icon, job_link, st};
use super::shell::{Place, head, page};
use crate::assets;
use crate::safe_text::t;

/// Sign-in: shown without a session. The link itself is opened by the server; this page explains.
#[must_use]
pub fn login(view: &LoginView) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Sign in · DCC", None))
            body {
                (PreEscaped(assets::icons()))
                div.gate {
                    main.stack id="login" {
                        div.row { span.logo { (icon("mark")) } span.sr { "Handshake DCC" } h1 { "Sign this browser in" } }
                        div.rulebox.stack {
                            @if let Some(failure) = &view.failure {
                                p role="alert" { (st(Pip::Failed, "not signed in")) }
                                p { (t(&failure.message)) @if let Some(hint) = &failure.hint { " " (t(hint)) } " " span.m.mut { (t(&failure.code)) } }
                            } @else {
                                p { "A sign-in link opens once, within 60 seconds of being printed." }
                            }
                            dl.kv { dt { "Server" } dd.m { (t(&view.server)) } }
                            div {
                                p.lab { "Get a new link: in a terminal" @if view.command.starts_with("dcc up") { ", in the folder of your project" } }
                                div.code.row { code.wrap-any { (t(&view.command)) } button.btn.flat.sm.push type="button" data-copy-text=(t(&view.command)) { (icon("copy")) " Copy" } }
                            }
                            form method="post" action="/login" {
                                label.lab for="tok" { "or paste the link it prints" }
                                div.row {
                                    input.field.m id="tok" name="code" autocomplete="one-time-code" spellcheck="false" required;
                                    button.btn.go type="submit" { "Sign in" }
                                }
                            }
                        }
                        p.lab { "No account, no password, no network. The cookie ends with the server." }
                    }
                }
            }
        }
    }
}

/// A problem inside the frame.
#[must_use]
pub fn problem(shell: &Shell, view: &ProblemView, now_ms: i64) -> Markup {
    let body = html! {
        div.solo.stack {
            h1.hero { (t(&view.title)) }
            p { (st(Pip::Failed, &view.status.to_string())) " " span.m { (t(&view.code)) } }
            dl.kv {
                @if let Some(cause) = &view.cause { dt { "Cause" } dd { (t(cause)) } }
                @if let Some(hint) = &view.hint { dt { "Next step" } dd { (t(hint)) } }
                @if let Some(job) = &view.job_id { dt { "Job" } dd { (job_link(job)) } }
            }
            div.row { a.btn.go href="/board" { "Board" } a.btn href="/health" { "Health" } a.btn href="/jobs?state=failed" { "Failed jobs" } }
        }
    };
    page(shell, Place { title: "Problem", screen: "problem", ..Place::default() }, now_ms, &body)
}

/// An address that names nothing.
#[must_use]
pub fn not_found(shell: &Shell, path: &str, now_ms: i64) -> Markup {
    let view = ProblemView {
        status: 404,
        code: "HSK-404-NOT-FOUND".to_owned(),
        title: "Nothing stands at this address".to_owned(),
        cause: Some(format!("{path} names no screen and no object of this project.")),
        hint: Some("Ids change with the project: check which one this server serves, or search for the object.".to_owned()),
        job_id: None,
    };
    problem(shell, &view, now_ms)
}
