//! The HTTP side of WHIP (RFC 9725): POST an offer, get an answer, DELETE what the Location names.

use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, LOCATION};
use hyper::{Method, StatusCode, Uri};

use crate::http::{self, HttpError, Target};

const TIMEOUT: Duration = Duration::from_secs(15);

/// Why signalling failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WhipError {
    /// The URL can't be used.
    #[error("the URL {url:?} can't be used: {why}")]
    Url {
        /// As it was given.
        url: String,
        /// The problem.
        why: String,
    },
    /// There is no connection to the server.
    #[error("cannot connect to {address}: {why}")]
    Connect {
        /// Host and port.
        address: String,
        /// The system's error.
        why: String,
    },
    /// 401: the token is missing, wrong or expired.
    #[error("401 Unauthorized: the server doesn't take the token ({reason})")]
    Unauthorized {
        /// The server's answer.
        reason: String,
    },
    /// 403: the token doesn't allow this.
    #[error("403 Forbidden: the token doesn't allow this ({reason})")]
    Forbidden {
        /// The server's answer.
        reason: String,
    },
    /// Another status than 201.
    #[error("the server answered {status} ({reason})")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The server's answer.
        reason: String,
    },
    /// It isn't HTTP, or not WHIP.
    #[error("the server's response isn't WHIP: {0}")]
    Protocol(String),
    /// The server hung up.
    #[error("the server closed the connection without a response")]
    HungUp,
    /// The server takes too long.
    #[error("no response in {} s", TIMEOUT.as_secs())]
    Timeout,
}

impl WhipError {
    /// Would every other peer fail the same way?
    pub fn is_for_everyone(&self) -> bool {
        match self {
            WhipError::Url { .. } | WhipError::Connect { .. } => true,
            WhipError::Unauthorized { .. } | WhipError::Forbidden { .. } => true,
            WhipError::Status { status, .. } => matches!(status, 404 | 405 | 415),
            WhipError::Protocol(_) | WhipError::HungUp | WhipError::Timeout => false,
        }
    }
}

/// A session that the server opened for us.
#[derive(Clone, Debug)]
pub struct Session {
    /// The SDP answer.
    pub answer: String,
    /// The URL to DELETE.
    pub location: Uri,
    /// The servers that we may use for ICE (RFC 9725, section 4.6).
    pub ice_servers: Vec<IceServer>,
}

/// A STUN or TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// Like `turn:192.0.2.1:3478?transport=udp` (RFC 7065).
    pub url: String,
    /// For TURN.
    pub username: Option<String>,
    /// Its password.
    pub credential: Option<String>,
}

impl IceServer {
    /// Those of a `Link` header (RFC 8288) whose relation is `ice-server`.
    fn of_link(link: &str) -> Vec<IceServer> {
        let servers = split_outside_quotes(link, ',').into_iter().filter_map(|value| {
            let parts = split_outside_quotes(value, ';');
            let (first, parameters) = parts.split_first()?;
            let url = first.trim().strip_prefix('<')?.strip_suffix('>')?;
            let of = |name: &str| {
                let mut values = parameters
                    .iter()
                    .filter_map(|parameter| parameter.trim().split_once('='));
                values.find(|(key, _)| *key == name).map(|(_, value)| unquoted(value))
            };
            (of("rel")? == "ice-server").then(|| IceServer {
                url: url.to_owned(),
                username: of("username"),
                credential: of("credential"),
            })
        });
        servers.collect()
    }
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let split = text.split(move |c: char| {
        let ends = c == separator && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    split.collect()
}

/// A quoted string of HTTP (RFC 9110, section 5.6.4), or a token.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut escaped = false;
    let kept = |c: &char| {
        escaped = *c == '\\' && !escaped;
        !escaped
    };
    inner.chars().filter(kept).collect()
}

/// A WHIP endpoint.
#[derive(Clone, Debug)]
pub struct Whip {
    url: Uri,
    authority: String,
    address: String,
    bearer: Option<HeaderValue>,
}

impl Whip {
    /// Checks the URL and the token; nothing is sent.
    pub fn new(url: &str, token: Option<&str>) -> Result<Whip, WhipError> {
        let bad = |why: &str| WhipError::Url {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let uri: Uri = url
            .parse()
            .map_err(|e: hyper::http::uri::InvalidUri| bad(&e.to_string()))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(bad("only http is spoken here; talk to the server behind its TLS proxy")),
            _ => return Err(bad("it must be like http://127.0.0.1:4000/whip/ROOM")),
        }
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
        let bearer = match token {
            Some(token) => Some(
                HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| bad("the token has forbidden bytes"))?,
            ),
            None => None,
        };
        Ok(Whip {
            authority: authority.to_string(),
            address: format!("{host}:{port}"),
            url: uri,
            bearer,
        })
    }

    /// Sends an offer.
    pub async fn post(&self, offer: &str) -> Result<Session, WhipError> {
        let (status, headers, body) = self.request(Method::POST, &self.url, offer).await?;
        if status != StatusCode::CREATED {
            return Err(refusal(status, &body));
        }
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let location = location.ok_or_else(|| WhipError::Protocol("201 without a Location".into()))?;
        let links = headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
        Ok(Session {
            answer: body,
            location: self.resolve(location)?,
            ice_servers: links.flat_map(IceServer::of_link).collect(),
        })
    }

    /// Ends a session.
    pub async fn delete(&self, session: &Session) -> Result<(), WhipError> {
        let (status, _, body) = self.request(Method::DELETE, &session.location, "").await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(refusal(status, &body))
        }
    }

    /// A Location may be a whole URL or a path.
    fn resolve(&self, location: &str) -> Result<Uri, WhipError> {
        let text = if location.starts_with("http://") {
            location.to_owned()
        } else if location.starts_with('/') {
            format!("http://{}{location}", self.authority)
        } else {
            let folder = self.url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("http://{}{folder}/{location}", self.authority)
        };
        text.parse()
            .map_err(|_| WhipError::Protocol(format!("the Location {location:?} isn't a URL")))
    }

    async fn request(
        &self,
        method: Method,
        uri: &Uri,
        body: &str,
    ) -> Result<(StatusCode, HeaderMap, String), WhipError> {
        let target = Target {
            address: &self.address,
            authority: &self.authority,
            timeout: TIMEOUT,
        };
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
        }
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let reply = http::request(&target, method, path, headers, body)
            .await
            .map_err(|error| match error {
                HttpError::Connect(why) => WhipError::Connect {
                    address: self.address.clone(),
                    why,
                },
                HttpError::Protocol(why) => WhipError::Protocol(why),
                HttpError::HungUp => WhipError::HungUp,
                HttpError::Timeout => WhipError::Timeout,
            })?;
        Ok((reply.status, reply.headers, reply.body))
    }
}

fn refusal(status: StatusCode, body: &str) -> WhipError {
    let reason: String = body.trim().chars().take(200).collect();
    let reason = if reason.is_empty() {
        "no reason given".to_owned()
    } else {
        reason
    };
    match status {
        StatusCode::UNAUTHORIZED => WhipError::Unauthorized { reason },
        StatusCode::FORBIDDEN => WhipError::Forbidden { reason },
        other => WhipError::Status {
            status: other.as_u16(),
            reason,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_url() {
        for (url, word) in [
            ("https://x/whip/r", "only http"),
            ("x", "it must be like"),
            ("", "empty"),
            ("ftp://x/", "it must be like"),
        ] {
            let error = Whip::new(url, None).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert!(error.is_for_everyone());
        }
        assert!(Whip::new("http://x/", Some("a\nb")).is_err());
    }

    #[test]
    fn reads_ice_servers() {
        let link = r#"<turn:h:1?transport=udp>; rel="ice-server"; username="1:a,b;c"; credential="p\"\\w"; credential-type="password", </x>; rel="next", <stun:h>; rel=ice-server"#;
        let server = |url: &str, username: Option<&str>, credential: Option<&str>| IceServer {
            url: url.to_owned(),
            username: username.map(str::to_owned),
            credential: credential.map(str::to_owned),
        };
        let expected = [
            server("turn:h:1?transport=udp", Some("1:a,b;c"), Some(r#"p"\w"#)),
            server("stun:h", None, None),
        ];
        assert_eq!(IceServer::of_link(link), expected);
        for nothing in ["", ",", "x", "<a>", "<a; rel=ice-server", "\"\\"] {
            assert_eq!(IceServer::of_link(nothing), [], "{nothing}");
        }
    }

    #[test]
    fn resolves_locations() {
        let whip = Whip::new("http://h:4000/whip/room", None).unwrap();
        for (location, uri) in [
            ("/whip/room/1", "http://h:4000/whip/room/1"),
            ("http://other/2", "http://other/2"),
            ("3", "http://h:4000/whip/3"),
        ] {
            assert_eq!(whip.resolve(location).unwrap().to_string(), uri);
        }
        assert!(whip.resolve("/a b").is_err());
    }
}
