//! A connection's stream that counts what comes in.
//!
//! If a kept connection ends, the count says whether a part of an answer had come.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first byte of a TLS alert (RFC 8446, section 5.1). A receiver with TLS sends one if it is
/// spoken to without TLS. No answer of HTTP begins like this.
const TLS_ALERT: u8 = 21;

/// What has come in on a connection. With TLS: after decryption.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: AtomicU64,
    first: AtomicU8,
}

impl Incoming {
    /// How many bytes have come.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Whether the other side speaks TLS, and this side does not.
    pub(super) fn is_tls_alert(&self) -> bool {
        self.bytes() > 0 && self.first.load(Ordering::Acquire) == TLS_ALERT
    }

    fn note(&self, read: &[u8]) {
        let Some(first) = read.first() else { return };
        if self.bytes() == 0 {
            self.first.store(*first, Ordering::Release);
        }
        self.bytes.fetch_add(read.len() as u64, Ordering::AcqRel);
    }
}

/// A stream that notes what comes in.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    incoming: Arc<Incoming>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, incoming: Arc::default() }
    }

    pub(super) fn incoming(&self) -> Arc<Incoming> {
        Arc::clone(&self.incoming)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.incoming.note(&buffer.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn counts_what_comes_in_and_nothing_else() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut watched = Watched::new(near);
        let incoming = watched.incoming();
        watched.write_all(b"request").await.expect("room");
        assert_eq!((incoming.bytes(), incoming.is_tls_alert()), (0, false));
        far.write_all(&[TLS_ALERT, 3, 3]).await.expect("room");
        let mut read = [0; 2];
        watched.read_exact(&mut read).await.expect("two bytes");
        assert_eq!((incoming.bytes(), incoming.is_tls_alert()), (2, true));
        far.write_all(b"HTTP").await.expect("room");
        watched.read_exact(&mut read).await.expect("two bytes");
        assert_eq!((incoming.bytes(), incoming.is_tls_alert()), (4, true));
    }

    #[tokio::test]
    async fn an_answer_of_http_is_no_alert() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut watched = Watched::new(near);
        far.write_all(b"HTTP/1.1 200").await.expect("room");
        watched.read_exact(&mut [0; 12]).await.expect("the bytes");
        assert!(!watched.incoming().is_tls_alert());
    }
}
