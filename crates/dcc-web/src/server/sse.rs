//! The live stream: `hello`, then `event`s in order, `gap` where events were left out, `touch` where files changed,
//! `screen` where a terminal did.
//!
//! Authority: ephemeral. Invariants: an id is a recorder sequence, so a browser resumes by itself with Last-Event-ID, and a
//! touch or a screen has none; a stream holds one bounded queue and no thread; a reader that is too slow gets a gap, never an endless
//! backlog.
//! Failure: one reader too many is HSK-429-RATE-LIMIT; the end of the server ends the stream.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_core::Stream;
use serde_json::json;

use dcc_api::door::{StreamItem, Subscription};
use dcc_core::{Failure, InstanceId};

use super::app::App;
use super::guard::Caller;
use super::params::Params;
use super::problem::Problem;

/// A comment this often keeps half-open connections from looking alive.
const KEEP_ALIVE_MS: u64 = 15_000;
/// How long a browser waits before it comes again.
const RETRY_MS: u64 = 1_000;

/// `GET /api/v1/events/stream`
pub async fn stream(State(app): State<App>, _caller: Caller, params: Params, headers: HeaderMap) -> Result<Sse<axum::response::sse::KeepAliveStream<Feed>>, Problem> {
    // The header is the later knowledge: the browser sends it when it comes again to the same address.
    let after_seq = match headers.get("last-event-id") {
        Some(value) => Some(value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| Failure::invalid("Last-Event-ID is not a sequence number"))?),
        None => params.parsed("after")?,
    };
    let (subscription, instance_id) = app.run(move |door| Ok((door.subscribe(after_seq)?, door.project().instance_id))).await?;
    let mut ending = app.ending.clone();
    let feed = Feed {
        hello: Some(hello(after_seq, subscription.head_seq(), instance_id)),
        subscription,
        end: Box::pin(async move {
            let _ = ending.wait_for(|end| *end).await;
        }),
    };
    Ok(Sse::new(feed).keep_alive(KeepAlive::new().interval(Duration::from_millis(KEEP_ALIVE_MS)).text("keep-alive")))
}

/// Its id is where the stream begins, so that a reader that loses the connection before the first event resumes there.
fn hello(after_seq: Option<u64>, head: u64, instance_id: InstanceId) -> Event {
    let begins = after_seq.unwrap_or(head).min(head);
    data(Event::default().event("hello").id(begins.to_string()).retry(Duration::from_millis(RETRY_MS)), &json!({"seq": head, "instance_id": instance_id}))
}

fn data(event: Event, value: &impl serde::Serialize) -> Event {
    // Serialised first: these values have string keys only, so this cannot fail, and an empty object would say "read again".
    event.data(serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned()))
}

/// One reader.
pub struct Feed {
    hello: Option<Event>,
    subscription: Subscription,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Stream for Feed {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(Ok(hello)));
        }
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        self.subscription.poll_next(context).map(|item| {
            item.map(|item| {
                Ok(match item {
                    StreamItem::Event(line) => data(Event::default().event("event").id(line.seq.to_string()), &line),
                    StreamItem::Gap { seq } => data(Event::default().event("gap").id(seq.to_string()), &json!({"seq": seq})),
                    StreamItem::Screen { session_id } => data(Event::default().event("screen"), &json!({"session_id": session_id})),
                    StreamItem::Touch { workspace_id } => data(Event::default().event("touch"), &json!({"workspace_id": workspace_id})),
                })
            })
        })
    }
}
