//! Bodies: of requests, read in pieces that the process asks for, and of responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// A request body that is read on demand: nothing is taken from the socket before the process asks.
pub struct RequestBody {
    incoming: Option<Incoming>,
    rest: Bytes,
}

/// The outcome of a read.
pub enum Read {
    /// The body's end was reached.
    End(Bytes),
    /// As much as was asked for, and there may be more.
    More(Bytes),
    /// The client was too slow.
    Timeout,
    /// The connection broke, or the body isn't well-formed.
    Broken,
}

impl RequestBody {
    /// A body as hyper gives it.
    pub fn new(incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            rest: Bytes::new(),
        }
    }

    /// Reads until `length` bytes, the end, or `timeout`.
    pub async fn read(&mut self, length: usize, timeout: Duration) -> Read {
        let deadline = Instant::now() + timeout;
        let mut read = BytesMut::new();
        loop {
            let wanted = length - read.len();
            let piece = self.rest.split_to(self.rest.len().min(wanted));
            read.extend_from_slice(&piece);
            if read.len() == length {
                return if self.at_end() {
                    Read::End(read.freeze())
                } else {
                    Read::More(read.freeze())
                };
            }
            let Some(incoming) = self.incoming.as_mut() else {
                return Read::End(read.freeze());
            };
            match timeout_at(deadline, incoming.frame()).await {
                Err(_) => return Read::Timeout,
                Ok(None) => self.incoming = None,
                Ok(Some(Ok(frame))) => {
                    // Trailers are dropped: nothing above has a use for them.
                    if let Ok(data) = frame.into_data() {
                        self.rest = data;
                    }
                }
                Ok(Some(Err(_))) => {
                    self.incoming = None;
                    return Read::Broken;
                }
            }
        }
    }

    fn at_end(&self) -> bool {
        self.rest.is_empty() && self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }
}

/// A response body: whole, or in pieces from a process.
pub enum ResponseBody {
    /// All of it.
    Whole(Full<Bytes>),
    /// Pieces; ends when the sender is dropped.
    Pieces(mpsc::Receiver<Bytes>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Pieces(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}
