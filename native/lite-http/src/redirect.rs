//! The answer to plain HTTP on a port that speaks TLS: a redirect to the same page by HTTPS. Knows nothing of the BEAM.

use std::convert::Infallible;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HOST, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Answers one request with a redirection, or 400 where it can't be told where to.
pub async fn to_https<S: AsyncRead + AsyncWrite + Unpin>(stream: S, builder: &http1::Builder) {
    let service = service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request)) });
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        log::debug!("plain HTTP on a TLS port: {error}");
    }
}

fn answer<B>(request: &Request<B>) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = host
        .filter(|host| !host.is_empty() && path.starts_with('/'))
        .and_then(|host| HeaderValue::from_str(&format!("https://{host}{path}")).ok());
    *response.status_mut() = match location {
        Some(location) => {
            response.headers_mut().insert(LOCATION, location);
            // 308 keeps the method and the body.
            StatusCode::PERMANENT_REDIRECT
        }
        None => StatusCode::BAD_REQUEST,
    };
    // The next request comes by TLS, so not on this connection.
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(host: Option<&str>, target: &str) -> Option<String> {
        let mut request = Request::builder().uri(target);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let response = answer(&request.body(()).unwrap());
        let location = response.headers().get(LOCATION)?;
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        Some(location.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_same_address_with_another_scheme() {
        assert_eq!(
            location(Some("192.0.2.7:4443"), "/rooms/standup?name=Ada"),
            Some("https://192.0.2.7:4443/rooms/standup?name=Ada".into())
        );
    }

    #[test]
    fn nowhere_without_a_host() {
        assert_eq!(location(None, "/"), None);
        assert_eq!(location(Some(""), "/"), None);
    }
}
