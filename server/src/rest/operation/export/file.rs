//! A file of an export, part by part. <https://hl7.org/fhir/uv/bulkdata/STU2/export.html#bulk-data-output-file-request>
//!
//! A file is there once its export is done, never before, and is asked for with the same rights as its status. (LK-33)

use actix_web::body::SizedStream;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures::stream::{self, Stream, StreamExt as _};
use store::Store;
use store::bulk::{self, File};
use store::jobs::State;

use super::{deflate, status, unknown};
use crate::app::App;
use crate::caller::Caller;
use crate::compression::{Coding, accepts};
use crate::error::Error;
use crate::rest::request;

/// The media type of files.
const NDJSON: &str = "application/fhir+ndjson";

/// `GET` of a file.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    request::only(request.query_string(), &[])?;
    let (id, name) = (request::segment(&request, "id"), request::segment(&request, "file"));
    let found = status::find(&app, &caller, id).await?;
    if found.state != State::Done {
        return Err(unknown());
    }
    if status::answer(&caller, &found.answer)?.get("status").and_then(|it| it.as_number()) != Some("200") {
        return Err(unknown());
    }
    let file = bulk::file(&app.store, id, name).await?.ok_or_else(unknown)?;
    caller.trail.note(|noted| {
        noted.query = Some(format!("_type={}&_count={}", file.resource_type, file.resources));
    });
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, NDJSON)).insert_header((header::CACHE_CONTROL, "no-store"));
    let length = u64::try_from(file.bytes).map_err(Error::internal)?;
    if accepts(request.headers(), Coding::Gzip) {
        response.insert_header((header::CONTENT_ENCODING, HeaderValue::from_static(Coding::Gzip.name())));
        let (head, tail) = (Bytes::from_static(&deflate::HEAD), Bytes::from(deflate::tail(file.crc, file.bytes)));
        let whole = stream::iter([Ok(head)]).chain(parts(app.store.clone(), file)).chain(stream::iter([Ok(tail)]));
        return Ok(response.streaming(whole));
    }
    let plain = parts(app.store.clone(), file).then(|part| async move {
        let part = part?;
        let inflated =
            tokio::task::spawn_blocking(move || deflate::inflate(&part)).await.map_err(std::io::Error::other)?;
        inflated.map(Bytes::from)
    });
    Ok(response.body(SizedStream::new(length, plain)))
}

/// The parts as they are stored; an error, which breaks the connection, where one was removed meanwhile.
fn parts(store: Store, file: File) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    stream::iter(0..file.chunks).then(move |number| {
        let (store, name) = (store.clone(), file.name.clone());
        async move {
            let part = bulk::chunk(&store, &name, number).await.map_err(std::io::Error::other)?;
            part.map(Bytes::from).ok_or_else(|| std::io::Error::other("the export is gone"))
        }
    })
}
