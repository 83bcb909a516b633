//! Stored payloads by hash.

use axum::extract::State;
use axum::http::{HeaderName, header};

use dcc_core::Sha256Hex;

use crate::server::app::App;
use crate::server::guard::Caller;
use crate::server::params::{Id, Params};
use crate::server::problem::Problem;

/// `GET /api/v1/artifacts/{sha256}`. Always a download of plain bytes: what an agent wrote is never a page of ours.
pub async fn bytes(State(app): State<App>, caller: Caller, Id(sha256): Id<Sha256Hex>, _: Params) -> Result<([(HeaderName, String); 2], Vec<u8>), Problem> {
    let bytes = app.run(move |door| door.artifact(caller.actor, sha256)).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{sha256}.bin\"")),
    ];
    Ok((headers, bytes))
}
